"""``knightwatch record``: the topics of a cluster into a folder of Parquet files."""

import json
import signal
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from knightwatch.commands.options import Bootstrap
from knightwatch.config import kafka_options, load


def register(app: typer.Typer) -> None:
    """Add ``record``."""
    app.command("record")(record)


def record(
    directory: Path = typer.Argument(help="Folder to record into: new, or a recording to go on with."),
    bootstrap: Bootstrap = None,
    prefix: str | None = typer.Option(None, help="Prefix of the topics."),
    config: Path | None = typer.Option(None, help="Configuration file (TOML) of the workers; its digest is noted."),
    duration: float | None = typer.Option(None, min=0, help="Stop after so many seconds."),
    until_idle: float | None = typer.Option(None, min=0, help="Stop when no order flow came for so many seconds."),
    roll_rows: int = typer.Option(1_000_000, min=1, help="Finish a file after so many rows."),
    roll_seconds: float = typer.Option(300.0, min=1, help="Finish a file after so many seconds."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document at the end."),
) -> None:
    """Record all topics, from their beginning or where the recording in DIRECTORY ends, until Ctrl-C.

    What is recorded can be replayed, compared (`knightwatch parity`), and read by pandas, polars and duckdb.
    """
    from streams.recorder import Recorder, RecorderSettings

    settings = load(config, bootstrap=bootstrap, prefix=prefix)
    recorder = Recorder(
        RecorderSettings(
            directory=directory,
            bootstrap=settings.kafka.bootstrap,
            prefix=settings.kafka.prefix,
            kafka=kafka_options(settings),
            roll_rows=roll_rows,
            roll_s=roll_seconds,
            build=version("knightwatch"),
            config_sha256=config_digest(settings),
        )
    )
    with _Stop() as stop, _view(as_json) as show:
        totals = recorder.run(lambda: stop.asked, until_idle, duration, show)
    document = {
        "directory": str(directory),
        "records": totals.records,
        "orderflow_records": totals.orderflow_records,
        "files": totals.files,
        "bytes": totals.bytes,
    }
    text = f"{totals.records:,} records ({totals.orderflow_records:,} of order flow) in {totals.files} files"
    typer.echo(json.dumps(document) if as_json else f"{text}, {totals.bytes / 1e6:,.1f} MB, in {directory}")


def config_digest(settings: Any) -> str:
    """SHA-256 of what decides: stage 1 and the desk. Where Kafka is does not count."""
    import msgspec

    return sha256(msgspec.json.encode((settings.stage1, settings.desk), order="deterministic")).hexdigest()


class _Stop:
    """Ctrl-C and SIGTERM ask for an orderly end: files are finished."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Stop":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt  # asked twice: at once; what is not finished is read again next time
        self.asked = True


def _view(quiet: bool) -> Any:
    """A context that gives the function to call with the totals: a status line on a terminal, or nothing."""
    from contextlib import contextmanager

    from rich.console import Console

    console = Console(stderr=True)

    @contextmanager
    def view() -> Any:
        if quiet or not console.is_terminal:
            yield lambda totals: None
            return
        with console.status("recording ...") as status:
            yield lambda totals: status.update(
                f"recording: {totals.records:,} records, {totals.files} files, {totals.bytes / 1e6:,.1f} MB  (Ctrl-C ends)"
            )

    return view()
