"""``knightwatch topics``: create the topics, and verify them."""

import json

import typer

from knightwatch.commands.options import Bootstrap, Config, Json, Prefix
from knightwatch.config import load


def register(app: typer.Typer) -> None:
    """Add ``topics``."""
    app.command("topics")(topics)


def topics(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    partitions: int | None = typer.Option(None, min=1, help="Partitions of orderflow, nodes and declared."),
    replication: int | None = typer.Option(None, min=1, help="Replicas of each partition."),
    config: Config = None,
    timeout_s: float = typer.Option(30.0, help="How long to wait for the broker."),
    as_json: Json = False,
) -> None:
    """Create topics that are missing, then compare all with what they must be. Exits 1 when they differ."""
    import msgspec

    from streams.admin import create_topics, verify_topics

    kafka = load(config, bootstrap=bootstrap, prefix=prefix).kafka
    kafka = msgspec.structs.replace(
        kafka, partitions=partitions or kafka.partitions, replication=replication or kafka.replication
    )
    created = create_topics(kafka, timeout_s)
    differences = verify_topics(kafka)
    if as_json:
        found = [msgspec.to_builtins(d) for d in differences]
        typer.echo(json.dumps({"bootstrap": kafka.bootstrap, "created": created, "differences": found}))
    else:
        for name in created:
            typer.echo(f"created {name}")
        for difference in differences:
            typer.echo(str(difference), err=True)
        if not differences:
            typer.echo(f"all topics at {kafka.bootstrap} are as they must be")
    if differences:
        raise typer.Exit(1)
