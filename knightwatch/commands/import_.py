"""``knightwatch import``: recorded data of others to a LOG that replay, score and tune read."""

import json
from pathlib import Path
from typing import Any

import typer

from knightwatch.commands.options import Json


def register(app: typer.Typer) -> None:
    """Add ``import``."""
    app.command("import")(import_files)


def import_files(
    kind: str = typer.Argument(metavar="FORMAT", help="lobster, bitstamp, fix or csv (docs/import.md)."),
    files: list[Path] = typer.Argument(help="Files in the order of time, plain or gzip."),
    out: Path = typer.Option(..., help="FILE.parquet or FILE.ndjson[.gz]; its account goes to FILE.import.json."),
    servers: int = typer.Option(8, min=1, max=64, help="Routers to spread orders over, where the source names none."),
    parents: bool = typer.Option(True, help="Make up a parent for each order that has none (not csv)."),
    account: str = typer.Option("", help="Account of orders that name none."),
    strategy: str = typer.Option("", help="Strategy of orders that name none."),
    stop: bool = typer.Option(False, "--stop-on-bad-line", help="Stop at the first line refused; no file is left."),
    symbol: str = typer.Option("BTCUSD", help="bitstamp: the symbol, which the files do not name."),
    lot: float = typer.Option(1e-4, min=1e-8, help="bitstamp: base currency that makes a quantity of 1."),
    whole: bool = typer.Option(False, help="bitstamp: keep the collector's opening book and closing deletes."),
    server_tag: int = typer.Option(0, min=0, help="fix: tag that names the router, as 50 or 57."),
    parent_tag: int = typer.Option(0, min=0, help="fix: tag that names the parent order, as 583 or 526."),
    strategy_tag: int = typer.Option(0, min=0, help="fix: tag that names the strategy, as 847."),
    allow_gaps: bool = typer.Option(False, help="fix: write the log although messages are missing (MsgSeqNum)."),
    mapped: list[str] = typer.Option([], "--map", help="csv: field=column; again for each field."),
    mapping: Path | None = typer.Option(None, help="csv: the mapping as a TOML file."),
    as_json: Json = False,
) -> None:
    """Read FILES of FORMAT, check every line, and write the order events to a log with an account of what was refused."""
    from producers.importers import bitstamp, columns, fix, lobster
    from producers.importers.findings import Findings
    from producers.importers.lives import Routing
    from producers.importers.output import EventFile

    routing, findings = Routing(servers, parents, account, strategy), Findings(stop)
    if kind == "lobster":
        source = lobster.read(files, routing, findings)
    elif kind == "bitstamp":
        source = bitstamp.read(files, routing, findings, bitstamp.Options(symbol, lot, whole))
    elif kind == "fix":
        source = fix.read(files, routing, findings, fix.Tags(server_tag, parent_tag, strategy_tag), allow_gaps)
    elif kind == "csv":
        source = columns.read(files, routing, findings, columns.mapping_of(mapped, mapping))
    else:
        raise ValueError(f"format {kind!r}; expected lobster, bitstamp, fix or csv")
    with EventFile(out, findings) as log:
        for where, events in source:
            log.add(where, events)
        account_of = log.finish({"format": kind, "files": [path.name for path in files]})
    typer.echo(json.dumps(account_of) if as_json else _text(out, account_of))


def _text(out: Path, document: dict[str, Any]) -> str:
    lines = [
        f"{document['events']:,} events of {document['servers']} routers from {document['lines']:,} lines to {out}"
    ]
    lines += count_lines(document)
    lines += [f"  {r['file']}: line {r['line']}: {r['reason']}: {r['text']}" for r in document["refused_first"]]
    return "\n".join(lines)


def count_lines(document: dict[str, Any]) -> list[str]:
    """A line for each kind of count that an account has any of, for people."""
    lines: list[str] = []
    for name in ("refused", "left_out", "notes"):
        counts = ", ".join(f"{count:,} {reason}" for reason, count in document[name].items())
        lines += [f"{name.replace('_', ' ')}: {counts}"] if counts else []
    return lines
