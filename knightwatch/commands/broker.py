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
    as_json: bool = typer.Option(False, "--json", help="When ready, print where it is as one JSON document."),
) -> None:
    """Run the embedded Apache Kafka in the foreground until Ctrl-C or SIGTERM.

    The first start downloads the jars (about 60 MB) into the user's cache.
    """
    from knightwatch.broker import EmbeddedKafka

    embedded = EmbeddedKafka(port=port, data=data, heap_mb=heap_mb)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not as_json:
            typer.echo("starting Apache Kafka ...", err=True)
        with embedded as kafka:
            where = {
                "bootstrap": kafka.bootstrap,
                "cluster_id": kafka.cluster_id,
                "data": str(kafka.data),
                "log": str(kafka.log_file),
                "pid": kafka.pid,
            }
            kept = "kept" if data else "temporary"
            text = f"Apache Kafka is ready at {kafka.bootstrap}; data in {kafka.data} ({kept}). Ctrl-C stops it."
            typer.echo(json.dumps(where) if as_json else text)
            kafka.wait()
    except KeyboardInterrupt:
        return  # asked to stop, and stopped
