"""``knightwatch broker``: the embedded Apache Kafka in the foreground."""

import json
import signal
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add ``broker``."""
    app.command("broker")(broker)


def broker(
    port: int = typer.Option(9092, help="Port on 127.0.0.1; 0 takes any free one."),
    data: Path | None = typer.Option(None, help="Folder to keep the data in; a temporary one otherwise."),
    heap_mb: int = typer.Option(384, min=128, help="Largest heap of the Java machine, in MB."),
    secure: bool = typer.Option(
        False, "--secure", help="TLS, a user for each role of docs/security.md, and Kafka's authorizer."
    ),
    as_json: bool = typer.Option(False, "--json", help="When ready, print where it is as one JSON document."),
) -> None:
    """Run the embedded Apache Kafka in the foreground until Ctrl-C or SIGTERM.

    The first start downloads the jars (about 60 MB) into the user's cache. With --secure, DATA/security holds a
    configuration file for each user (admin.toml, router.toml, ...): go on with knightwatch topics --acls --config admin.toml
    """
    from knightwatch.broker import EmbeddedKafka

    security = None
    if secure:
        from knightwatch.broker_security import ROLES, BrokerSecurity

        security = BrokerSecurity(ROLES)
    embedded = EmbeddedKafka(port=port, data=data, heap_mb=heap_mb, security=security)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not as_json:
            typer.echo("starting Apache Kafka ...", err=True)
        with embedded as kafka:
            where: dict[str, object] = {
                "bootstrap": kafka.bootstrap,
                "cluster_id": kafka.cluster_id,
                "data": str(kafka.data),
                "log": str(kafka.log_file),
                "pid": kafka.pid,
            }
            if security is not None:
                where["configs"] = {path.stem: str(path) for path in security.write_configs(kafka.bootstrap)}
            kept = "kept" if data else "temporary"
            text = f"Apache Kafka is ready at {kafka.bootstrap}; data in {kafka.data} ({kept}). Ctrl-C stops it."
            if security is not None:
                text += f" Configurations of {', '.join(security.users)} and admin: {security.folder}/*.toml"
            typer.echo(json.dumps(where) if as_json else text)
            kafka.wait()
    except KeyboardInterrupt:
        return  # asked to stop, and stopped
