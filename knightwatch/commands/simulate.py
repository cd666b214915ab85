"""``knightwatch simulate``: seeded order flow with ground truth, to a file or to Kafka."""

import json
import time
from pathlib import Path
from typing import Any

import typer

from knightwatch.commands.options import Prefix


def register(app: typer.Typer) -> None:
    """Add ``simulate``."""
    app.command("simulate")(simulate)


def simulate(
    scenario: str = typer.Argument(help="Name of the scenario, as power-peg or calm."),
    seed: int = typer.Option(0, min=0, help="The same seed gives the same flow."),
    servers: int = typer.Option(8, min=1, max=64, help="Router nodes."),
    minutes: float | None = typer.Option(None, help="Length in minutes of event time; the scenario's own otherwise."),
    incident_at: float | None = typer.Option(None, min=0, help="Seconds of calm first; the scenario's own otherwise."),
    speed: float = typer.Option(1.0, help="To Kafka: event time passes so many times as fast as the clock."),
    out: Path | None = typer.Option(None, help="FILE.ndjson[.gz] or FILE.parquet; to Kafka otherwise."),
    bootstrap: str | None = typer.Option(None, help="Kafka as HOST:PORT."),
    prefix: Prefix = None,
    config: Path | None = typer.Option(None, help="Configuration file (TOML)."),
    codec: str = typer.Option("sbe", help="Encoding of order events on Kafka: sbe or json."),
    gates: bool = typer.Option(
        True, help="To Kafka: routers ask their gates (--no-gates: they send whatever happens)."
    ),
    metrics_port: int | None = typer.Option(
        None, help="To Kafka: serve the gates' and publisher's Prometheus metrics on this port; 0 takes any free one."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the labels as one JSON document."),
) -> None:
    """Make the order flow of SCENARIO. Labels stand beside the file as FILE.labels.json."""
    from producers import scenarios

    start_ns = None
    if not out:
        from producers.gateway import soon_ns

        start_ns = soon_ns()
    made = scenarios.build(
        scenario,
        seed,
        servers,
        minutes,
        start_ns,
        incident_s=incident_at,
        first_seq=1 if out else time.time_ns() // 1_000_000,
    )
    if out:
        labels = _to_file(made, out, as_json)
    else:
        labels = _to_kafka(made, bootstrap, prefix, config, codec, gates, speed, metrics_port)
    if as_json:
        typer.echo(json.dumps(labels))
    else:
        where = str(out) if out else "Kafka"
        typer.echo(
            f"{labels['events']:,} events of {scenario} (seed {seed}) to {where}; first bad: {labels['first_bad']}"
        )


def _to_file(scenario: Any, out: Path, quiet: bool) -> dict[str, Any]:
    import msgspec
    from rich.console import Console
    from rich.progress import Progress

    from producers.files import write

    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task(out.name, total=1.0)
        labels = write(scenario, out, lambda events, share: bar.update(task, completed=share))
    found: dict[str, Any] = msgspec.to_builtins(labels)
    return found


def _to_kafka(
    scenario: Any, bootstrap: str | None, prefix: str | None, config: Path | None, codec: str, gated: bool,
    speed: float, metrics_port: int | None,
) -> dict[str, Any]:  # fmt: skip
    import msgspec

    from halts.config import trust_of
    from knightwatch.config import kafka_options, load
    from producers.gateway import LiveGates, LiveRun
    from producers.metrics import RouterCollector, serve
    from producers.publish import Codec, Publisher

    wire: Codec | None = "sbe" if codec == "sbe" else "json" if codec == "json" else None
    if wire is None:
        raise ValueError(f"--codec {codec!r}; expected sbe or json")
    settings = load(config, bootstrap=bootstrap, prefix=prefix)
    kafka, after_ms, options = settings.kafka, settings.gate.fail_closed_after_ms, kafka_options(settings)
    with Publisher(kafka.bootstrap, prefix=kafka.prefix, codec=wire, kafka=options) as publisher:
        if gated:
            gates = LiveGates(
                kafka.bootstrap,
                scenario.servers,
                prefix=kafka.prefix,
                fail_closed_after_ms=after_ms,
                kafka=options,
                trust=trust_of(settings),
            )
            with gates:
                run = LiveRun(scenario, publisher, gates, speed)
                if metrics_port is not None:
                    port = serve(RouterCollector(gates.gates, run.stats, publisher), metrics_port)
                    typer.echo(f"metrics at http://127.0.0.1:{port}/metrics", err=True)
                run.run()
        else:
            run = LiveRun(scenario, publisher, None, speed)
            run.run()
        publisher.flush()
    found: dict[str, Any] = msgspec.to_builtins(scenario.labels(run.simulation, scenario.loss_unhalted()))
    return found
