"""``knightwatch topics``: create the topics, and verify them; the same for permissions on them."""

import json
from typing import TYPE_CHECKING

import typer

from knightwatch.commands.options import Bootstrap, Config, Json, Prefix
from knightwatch.config import kafka_options, load

if TYPE_CHECKING:
    from halts.config import KafkaConfig


def register(app: typer.Typer) -> None:
    """Add ``topics``."""
    app.command("topics")(topics)


def topics(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    partitions: int | None = typer.Option(None, min=1, help="Partitions of orderflow, nodes and declared."),
    replication: int | None = typer.Option(None, min=1, help="Replicas of each partition."),
    config: Config = None,
    acls: bool = typer.Option(
        False, "--acls", help="Give the principals of [kafka.acls] their permissions too, and verify who has more."
    ),
    print_acls: bool = typer.Option(
        False, "--print-acls", help="Print the permissions as kafka-acls.sh commands; connect to nothing."
    ),
    timeout_s: float = typer.Option(30.0, help="How long to wait for the broker."),
    as_json: Json = False,
) -> None:
    """Create topics that are missing, then compare all with what they must be. Exits 1 when they differ.

    A topic or a permission that is already there is never changed and never taken away.
    """
    import msgspec

    loaded = load(config, bootstrap=bootstrap, prefix=prefix)
    kafka = msgspec.structs.replace(
        loaded.kafka,
        partitions=partitions or loaded.kafka.partitions,
        replication=replication or loaded.kafka.replication,
    )
    if print_acls:
        _print(kafka, as_json)
        return
    from streams.acls import create_acls, verify_acls
    from streams.admin import create_topics, verify_topics

    options = kafka_options(loaded)
    created = create_topics(kafka, timeout_s, options)
    granted = create_acls(kafka, timeout_s, options) if acls else []
    differences = verify_topics(kafka, kafka=options) + (verify_acls(kafka, kafka=options) if acls else [])
    if as_json:
        document = {
            "bootstrap": kafka.bootstrap,
            "created": created,
            "granted": [msgspec.to_builtins(p) for p in granted],
            "differences": [msgspec.to_builtins(d) for d in differences],
        }
        typer.echo(json.dumps(document))
    else:
        for name in created:
            typer.echo(f"created {name}")
        for permission in granted:
            typer.echo(f"{permission.principal} may {permission.operation} {permission.kind} {permission.name}")
        for difference in differences:
            typer.echo(str(difference), err=True)
        if not differences:
            also = " and permissions" if acls else ""
            typer.echo(f"all topics{also} at {kafka.bootstrap} are as they must be")
    if differences:
        raise typer.Exit(1)


def _print(kafka: "KafkaConfig", as_json: bool) -> None:
    import msgspec

    from streams.acls import wanted

    permissions = wanted(kafka)
    if as_json:
        typer.echo(json.dumps({"permissions": [msgspec.to_builtins(p) for p in permissions]}))
        return
    for permission in permissions:
        typer.echo(permission.command)
