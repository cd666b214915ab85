"""``knightwatch report``: a replay as one HTML page."""

import json
from pathlib import Path
from typing import Any

import typer

from knightwatch.commands.options import Config, Json
from knightwatch.config import load


def register(app: typer.Typer) -> None:
    """Add ``report``."""
    app.command("report")(report)


def report(
    log: Path = typer.Argument(help="A recording (folder), FILE.parquet, or FILE.ndjson[.gz]."),
    out: Path = typer.Option(Path("report.html"), help="The page to write."),
    config: Config = None,
    approved: Path | None = typer.Option(None, help="The configuration approved last: the page shows what changed."),
    tuned: Path | None = typer.Option(None, help="Folder of `knightwatch tune`: the page shows the Pareto front."),
    labels: Path | None = typer.Option(None, help="Ground truth, if it does not stand beside the log."),
    as_json: Json = False,
) -> None:
    """Flow, scores, halts and money over time, what each detector contributed, what changed: one self-contained page."""
    import msgspec

    from knightwatch.commands.progress import events_bar
    from replay.engines import live_engines
    from replay.open import open_log
    from replay.report import Content, render, title_of
    from replay.report_data import Gathered
    from replay.runner import Observers, Run

    settings = load(config)
    # a file of events was recorded without gates: what nobody acknowledges must not widen
    desk = settings.desk if log.is_dir() else msgspec.structs.replace(settings.desk, ack_timeout_ms=0)
    opened = open_log(log, settings.kafka.partitions)
    gathered = Gathered()
    with events_bar("report", sum(source.rows for source in opened.sources()), as_json) as advance:
        observers = gathered.observers(Observers(events=advance))
        result = Run(opened, live_engines(settings.stage1, desk), observers=observers).run()
    content = Content(
        title=title_of(log.name, str(config) if config else "the defaults"),
        result=result,
        gathered=gathered,
        score=_score(log, labels, settings),
        evidence=_evidence(tuned),
        changes=_changes(settings, approved),
    )
    partial = out.with_name(f".{out.name}.partial")
    partial.write_text(render(content), encoding="utf-8")
    partial.replace(out)
    size = out.stat().st_size
    document = {"report": str(out), "bytes": size, "events": result.events, "halts": len(result.halts)}
    typer.echo(json.dumps(document) if as_json else f"{out}: {size / 1e6:.1f} MB, {result.events:,} events")


def _score(log: Path, labels: Path | None, settings: Any) -> Any:
    """The score where there are labels."""
    from replay.log import LogError
    from replay.open import open_log
    from replay.score import labels_of, score

    try:
        truth = labels_of(log, labels)
    except LogError:
        if labels is not None:
            raise
        return None
    return score(log.name, lambda: open_log(log, settings.kafka.partitions), truth, settings.stage1, settings.desk)


def _evidence(tuned: Path | None) -> Any:
    if tuned is None:
        return None
    path = tuned / "evidence.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected a folder written by `knightwatch tune`")
    return json.loads(path.read_text(encoding="utf-8"))


def _changes(settings: Any, approved: Path | None) -> Any:
    if approved is None:
        return None
    from replay.settings import differences

    return differences(settings, load(approved))
