"""``knightwatch parity``: is what was said live what the engines say now?"""

import json
from pathlib import Path
from typing import Any

import typer

from knightwatch.commands.options import Json
from knightwatch.config import load


def register(app: typer.Typer) -> None:
    """Add ``parity``."""
    app.command("parity")(parity)


def parity(
    log: Path = typer.Argument(help="A recording of a live run (folder made by `knightwatch record`)."),
    config: Path | None = typer.Option(None, help="Configuration file (TOML) of the live workers; defaults otherwise."),
    as_json: Json = False,
) -> None:
    """Run both stages again over a recorded live run and compare what they say with what was said, byte for byte.

    Crashes, rebalances and takeovers may be in it. Exit code 0 only if all is equal; otherwise the first difference of
    each part is shown with the event that caused it.
    """
    import msgspec

    from knightwatch.commands.progress import events_bar
    from knightwatch.commands.record import config_digest
    from replay.engines import live_engines
    from replay.log import LogError
    from replay.parity import compare
    from replay.recorded import RecordedLog

    settings = load(config)
    if not log.is_dir():
        raise LogError(f"{log}: not a folder; expected the recording of a live run, made by `knightwatch record`")
    opened = RecordedLog(log)
    with events_bar("parity", sum(source.rows for source in opened.sources()), as_json) as advance:
        found = compare(opened, live_engines(settings.stage1, settings.desk).stage1, settings.desk, advance)
    noted = {session.config for session in opened.manifest.sessions} - {"", config_digest(settings)}
    if noted:
        found.notes.append(
            "the recording notes another configuration than the one compared with: give it with --config"
        )
    document = {
        "equal": found.equal,
        "compared": sum(part.compared for part in found.parts),
        "repeats": sum(part.repeats for part in found.parts),
        "tail": sum(part.tail for part in found.parts),
        "parts": [msgspec.to_builtins(part) for part in found.parts],
        "notes": [*found.notes, *opened.findings.warnings],
    }
    typer.echo(json.dumps(document) if as_json else _text(document))
    if not found.equal:
        raise typer.Exit(1)


def _text(document: dict[str, Any]) -> str:
    counts = f"{document['compared']:,} records compared, {document['repeats']:,} said again, {document['tail']:,} left"
    lines = []
    for part in document["parts"]:
        state = "DIFFERENT" if part["difference"] else "equal"
        lines.append(f"{state:9} {part['name']}: {part['compared']:,} compared")
        if part["difference"]:
            lines += _difference(part["difference"])
    lines += [f"note: {note}" for note in document["notes"]]
    lines.append(f"{'equal' if document['equal'] else 'NOT EQUAL'}: {counts}")
    return "\n".join(lines)


def _difference(found: dict[str, Any]) -> list[str]:
    lines = [f"  {found['text']}"]
    for name in ("event", "live", "replay"):
        if found[name] is not None:
            lines.append(f"  {name + ':':8}{json.dumps(found[name])}")
    return lines
