"""``knightwatch replay``: a log through the same engines, without Kafka, or back into Kafka."""

import json
import time
from pathlib import Path
from typing import Any

import typer

from knightwatch.config import load


def register(app: typer.Typer) -> None:
    """Add ``replay``."""
    app.command("replay")(replay)


def replay(
    log: Path = typer.Argument(help="A recording (folder), FILE.parquet, or FILE.ndjson[.gz]."),
    speed: float = typer.Option(0.0, help="Into Kafka: how many times as fast as recorded; 0 is as fast as it goes."),
    into_kafka: bool = typer.Option(False, "--into-kafka", help="Publish the log instead of running the engines here."),
    bootstrap: str | None = typer.Option(None, help="Kafka as HOST:PORT, with --into-kafka."),
    prefix: str | None = typer.Option(None, help="Put before the name of every topic, with --into-kafka."),
    config: Path | None = typer.Option(None, help="Configuration file (TOML); defaults otherwise."),
    begin: int | None = typer.Option(None, "--from", help="Leave out events before this time (ns UTC)."),
    end: int | None = typer.Option(None, "--to", help="Leave out events from this time on (ns UTC)."),
    server: list[str] = typer.Option([], help="Only these servers; may be given several times."),
    symbol: list[str] = typer.Option([], help="Only these symbols; may be given several times."),
    stop_on_bad_line: bool = typer.Option(False, help="Stop at the first line that cannot be used."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Replay LOG offline at full speed and print its halts; the same log gives the same output, byte for byte."""
    from replay.log import Selection
    from replay.open import open_log

    settings = load(config, bootstrap=bootstrap, prefix=prefix)
    chosen = Selection(begin, end, frozenset(server), frozenset(symbol))
    opened = open_log(log, settings.kafka.partitions, stop_on_bad_line)
    if into_kafka:
        from replay.feed import feed

        sent = feed(opened, settings.kafka.bootstrap, settings.kafka.prefix, speed)
        typer.echo(json.dumps({"records": sent}) if as_json else f"{sent:,} records into {settings.kafka.bootstrap}")
        return
    document = _offline(opened, settings, chosen, as_json)
    typer.echo(json.dumps(document) if as_json else _text(document))


def _offline(opened: Any, settings: Any, chosen: Any, quiet: bool) -> dict[str, Any]:
    import msgspec
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from detectors.bank import Stage1
    from halts.desk import Desk, DeskInput
    from replay.runner import Engines, Observers, Run
    from schemas.topics import ORDERFLOW

    engines = Engines(
        stage1=lambda partition: Stage1(settings.stage1, ORDERFLOW.name, partition),
        desk=lambda generation: Desk(settings.desk, generation),
        desk_input=DeskInput,
    )
    columns = ("replay", BarColumn(), MofNCompleteColumn(), "events", TimeRemainingColumn())
    begun = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("replay", total=sum(source.rows for source in opened.sources()))
        run = Run(opened, engines, chosen, Observers(events=lambda n: bar.advance(task, n)))
        result = run.run()
    findings = opened.findings
    return {
        "events": result.events,
        "seconds": round(time.perf_counter() - begun, 3),
        "halts": [msgspec.to_builtins(h) for h in result.halts],
        "verdicts": dict(sorted(result.verdicts.items())),
        "digest": result.digest,
        "refused": dict(findings.refused),
        "bad_lines": findings.bad_lines,
        "bad_lines_first": [msgspec.to_builtins(line) for line in findings.bad_lines_first],
        "warnings": [*findings.warnings, *result.warnings],
    }


def _text(document: dict[str, Any]) -> str:
    rate = document["events"] / max(document["seconds"], 1e-9)
    lines = [f"{document['events']:,} events in {document['seconds']:.2f} s ({rate:,.0f} a second)"]
    lines += [f"refused: {count} {reason}" for reason, count in document["refused"].items()]
    lines += [f"line {line['number']}: {line['reason']}" for line in document["bad_lines_first"]]
    lines += [f"{h['state']:8} {h['scope']:14} epoch {h['epoch']}  {h['text']}" for h in document["halts"]]
    lines += [f"warning: {w}" for w in document["warnings"]]
    if not document["halts"]:
        lines.append("no halts")
    return "\n".join(lines)
