"""``knightwatch replay``: a log through the same engines, without Kafka, or back into Kafka."""

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from knightwatch.commands.options import Config, Json


def register(app: typer.Typer) -> None:
    """Add ``replay``."""
    app.command("replay")(replay)


def replay(
    log: Path = typer.Argument(help="A recording (folder), FILE.parquet, or FILE.ndjson[.gz]."),
    speed: float = typer.Option(0.0, help="Into Kafka: how many times as fast as recorded; 0 is as fast as it goes."),
    into_kafka: bool = typer.Option(False, "--into-kafka", help="Publish the log instead of running the engines here."),
    bootstrap: str | None = typer.Option(None, help="Kafka as HOST:PORT, with --into-kafka."),
    prefix: str | None = typer.Option(None, help="Put before the name of every topic, with --into-kafka."),
    config: Config = None,
    begin: str | None = typer.Option(None, "--from", help="Leave out events before this time (ISO 8601, or ns UTC)."),
    end: str | None = typer.Option(None, "--to", help="Leave out events from this time on."),
    server: list[str] = typer.Option([], help="Only these servers; may be given several times."),
    symbol: list[str] = typer.Option([], help="Only these symbols; may be given several times."),
    stop_on_bad_line: bool = typer.Option(False, help="Stop at the first line that cannot be used."),
    timeline: bool = typer.Option(
        True, help="Of a recording, keep the moments, acks and commands of the day (--no-timeline: events only)."
    ),
    processes: int | None = typer.Option(
        None, min=1, help="For stage 1 of a Parquet file; otherwise as many as there are cores, 1 for a small file."
    ),
    out: Path | None = typer.Option(None, help="Folder to write verdicts.ndjson, halts.ndjson, audit.ndjson to."),
    as_json: Json = False,
) -> None:
    """Replay LOG offline at full speed and print its halts; the same log gives the same halts, byte for byte.

    `seconds` is the time it took. `digest` covers every breach, halt and audit record: equal digests, equal runs.
    """
    from replay import forks

    if not into_kafka:  # unless ``cli`` has begun; before our own imports, which take as long as the server's
        forks.begin_early(log, processes)
    from knightwatch.config import load
    from replay.log import Selection
    from replay.open import open_log

    settings = load(config, bootstrap=bootstrap, prefix=prefix)
    chosen = Selection(time_ns(begin), time_ns(end), frozenset(server), frozenset(symbol))
    opened = open_log(log, settings.kafka.partitions, stop_on_bad_line)
    if into_kafka:
        _into_kafka(opened, settings, speed, chosen, as_json)
        return
    document = _offline(opened, settings, chosen, timeline, processes, out, as_json)
    typer.echo(json.dumps(document) if as_json else _text(document))


def time_ns(text: str | None) -> int | None:
    """ns UTC from digits or an ISO 8601 time (without a zone it is UTC). ValueError says what was found."""
    if text is None:
        return None
    if text.isdigit():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"time {text!r}; expected ISO 8601 (2012-08-01T13:30:00Z) or nanoseconds since 1970"
        ) from error
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(found.timestamp()) * 1_000_000_000 + found.microsecond * 1_000


def _into_kafka(opened: Any, settings: Any, speed: float, chosen: Any, as_json: bool) -> None:
    from knightwatch.commands.progress import events_bar
    from knightwatch.config import kafka_options
    from replay.feed import feed

    if chosen:
        raise ValueError("--from, --to, --server and --symbol select events of an offline replay; leave them out here")
    kafka = settings.kafka
    with events_bar("into Kafka", sum(source.rows for source in opened.sources()), as_json) as advance:
        sent = feed(opened, kafka.bootstrap, kafka.prefix, speed, advance, kafka_options(settings))
    typer.echo(json.dumps({"records": sent}) if as_json else f"{sent:,} records into {kafka.bootstrap}")


def _offline(
    opened: Any, settings: Any, chosen: Any, timeline: bool, processes: int | None, out: Path | None, quiet: bool
) -> dict[str, Any]:
    begun = time.perf_counter()
    import msgspec

    from knightwatch.commands.progress import events_bar
    from replay.engines import live_engines
    from replay.output import OutputFiles
    from replay.processes import Streams, stage1_elsewhere, useful
    from replay.runner import Observers, Run
    from schemas import collector

    collector.calm()
    with ExitStack() as stack:
        used = useful(opened, processes)
        elsewhere: Streams | None = None
        if used > 1:
            elsewhere = stack.enter_context(stage1_elsewhere(opened, settings.stage1, chosen, used))
        total = sum(source.rows for source in opened.sources())
        observers = Observers(events=stack.enter_context(events_bar("replay", total, quiet)))
        if out is not None:
            observers = stack.enter_context(OutputFiles(out)).observers(observers)
        engines = live_engines(settings.stage1, settings.desk)
        result = Run(opened, engines, chosen, observers, timeline=timeline, elsewhere=elsewhere).run()
    findings = opened.findings
    return {
        "events": result.events,
        "seconds": round(time.perf_counter() - begun, 3),
        "halts": [msgspec.to_builtins(h) for h in result.halts],
        "verdicts": dict(sorted(result.verdicts.items())),
        "digest": result.digest,
        "refused": dict(findings.refused),
        "bad_lines": findings.bad_lines,
        "bad_lines_first": [{"number": line.number, "reason": line.reason} for line in findings.bad_lines_first],
        "warnings": [*findings.warnings, *result.warnings],
    }


def _text(document: dict[str, Any]) -> str:
    rate = document["events"] / max(document["seconds"], 1e-9)
    lines = [f"{document['events']:,} events in {document['seconds']:.2f} s ({rate:,.0f} a second)"]
    lines += [f"refused: {count} {reason}" for reason, count in document["refused"].items()]
    lines += [f"line {line['number']}: {line['reason']}" for line in document["bad_lines_first"]]
    if (more := document["bad_lines"] - len(document["bad_lines_first"])) > 0:
        lines.append(f"... and {more} more bad lines")
    lines += [f"{h['state']:8} {h['scope']:14} epoch {h['epoch']}  {h['text']}" for h in document["halts"]]
    lines += [f"warning: {w}" for w in document["warnings"]]
    if not document["halts"]:
        lines.append("no halts")
    return "\n".join(lines)
