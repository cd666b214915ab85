"""``knightwatch score``: halts against ground truth, for one configuration or two side by side."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from knightwatch.commands.options import Config, Json
from knightwatch.config import load


def register(app: typer.Typer) -> None:
    """Add ``score``."""
    app.command("score")(score)


def score(
    logs: list[Path] = typer.Argument(help="Labelled logs; FILE.labels.json stands beside each."),
    labels: Path | None = typer.Option(None, help="The labels, if they stand elsewhere (one log only)."),
    config: Config = None,
    against: Path | None = typer.Option(None, help="A second configuration to compare with."),
    as_json: Json = False,
) -> None:
    """Time to halt, bad orders and money before it, false halts per router-day with its 95 % interval, warnings."""
    import msgspec

    from replay.score import totals

    if labels is not None and len(logs) > 1:
        raise ValueError(f"--labels belongs to one log; found {len(logs)} logs")
    names = {"config": config} | ({"against": against} if against is not None else {})
    found = {name: _rows(logs, labels, path, as_json) for name, path in names.items()}
    document = {
        name: {
            "file": str(names[name]) if names[name] else "defaults",
            "totals": msgspec.to_builtins(totals(rows)),
            "rows": [msgspec.to_builtins(row) for row in rows],
        }
        for name, rows in found.items()
    }
    typer.echo(json.dumps(document)) if as_json else _print(document)


def _rows(logs: list[Path], labels: Path | None, config: Path | None, quiet: bool) -> list[Any]:
    from knightwatch.commands.progress import events_bar
    from replay.open import open_log
    from replay.score import labels_of, score

    settings = load(config)
    truths = [labels_of(log, labels) for log in logs]
    rows = []
    with events_bar("score", sum(truth.events for truth in truths), quiet) as advance:
        for log, truth in zip(logs, truths, strict=True):

            def opened(log: Path = log) -> Any:
                return open_log(log, settings.kafka.partitions)

            rows.append(score(str(log), opened, truth, settings.stage1, settings.desk, advance))
    return rows


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    for found in document.values():
        table = Table(title=f"configuration: {found['file']}")
        for heading in ("log", "halt", "after ms", "bad orders", "loss USD", "unhalted USD", "false halts", "warnings"):
            table.add_column(heading, justify="left" if heading in ("log", "halt") else "right")
        for row in found["rows"]:
            what = f"{row['scope']} ({', '.join(row['detectors'])})" if row["detected"] else "none"
            time = f"{row['time_to_halt_ms']:,.0f}" if row["detected"] else ""
            money = (
                [f"{row['loss_usd']:,.0f}", f"{row['loss_usd_unhalted']:,.0f}"] if row["halt_expected"] else ["", ""]
            )
            false = str(len(row["false_halts"]))
            warned = f"{row['warnings']} ({row['false_warnings']} false)"
            name = f"{Path(row['log']).name}: {row['scenario']} {row['seed']}"
            table.add_row(name, what, time, f"{row['bad_orders_before_halt']:,}", *money, false, warned)
        console.print(table)
    _print_totals(console, document)


def _print_totals(console: Any, document: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="all logs")
    table.add_column("")
    for found in document.values():
        table.add_column(found["file"], justify="right")
    lines = [found["totals"] for found in document.values()]
    table.add_row("incidents halted", *(f"{t['detected']} of {t['incidents']}" for t in lines))
    table.add_row("median time to halt, ms", *(f"{t['time_to_halt_ms_median']:,.0f}" for t in lines))
    table.add_row("bad orders before", *(f"{t['bad_orders_before_halt']:,}" for t in lines))
    table.add_row("loss before, USD", *(f"{t['loss_usd']:,.0f}" for t in lines))
    table.add_row("loss if not halted, USD", *(f"{t['loss_usd_unhalted']:,.0f}" for t in lines))
    table.add_row("router-days without trouble", *(f"{t['router_days']:,.3f}" for t in lines))
    table.add_row("false halts", *(str(t["false_halts"]) for t in lines))
    table.add_row("a router-day, 95 %", *(f"{t['interval'][0]:.3g} to {t['interval'][1]:.3g}" for t in lines))
    table.add_row("warnings (false)", *(f"{t['warnings']} ({t['false_warnings']})" for t in lines))
    console.print(table)
