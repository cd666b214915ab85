"""The console script. It knows which commands there are and where they live, and imports only the one that is asked for;
typer, too, only when it runs one: what takes longer than that can begin before."""

import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

COMMANDS: Final[Mapping[str, Mapping[str, str]]] = {
    "demo": {"demo": "A runaway and its halt, live: broker, worker, eight routers with gates, a terminal view."},
    "broker": {"broker": "Run the embedded Apache Kafka in the foreground."},
    "topics": {"topics": "Create the topics, and verify that they are as they must be."},
    "worker": {"worker": "Run one Faust worker; run as many as there is load."},
    "simulate": {"simulate": "Make seeded order flow with ground-truth labels, to Kafka or to a file."},
    "import_": {"import": "Turn recorded data of others (LOBSTER, Bitstamp, FIX, CSV) into a log."},
    "accept": {"accept": "Take a live FIX drop copy session and publish its order flow to Kafka."},
    "record": {"record": "Record the topics of a cluster into a folder."},
    "replay": {"replay": "Run a recorded log through the engines, or back into Kafka."},
    "parity": {"parity": "Prove that a recorded live run and its replay say the same, byte for byte."},
    "score": {"score": "Detection delay, money lost and false halts over a labelled log."},
    "tune": {"tune": "Search detector parameters over labelled logs."},
    "report": {"report": "Write an HTML report of a replay."},
    "dashboards": {"dashboards": "Build, check and push the Grafana dashboards."},
    "desk": {
        "status": "The state of every scope.",
        "halt": "Halt a scope.",
        "resume": "Ask for a halted scope to reopen.",
        "approve": "Give the second signature to a resume.",
    },
    "drill": {"drill": "Halt a scope as an exercise, measure, and restore it."},
    "keys": {"keys": "The keys with which operators sign their commands."},
    "audit": {"audit": "Verify the hash-chained record, or export the evidence of a halt."},
    "settings": {"config": "The approved configuration: show, diff, propose, approve."},
    "web": {
        "desk": "Serve the halt desk as a live page.",
        "desk-key": "Put an operator's key into the desk's folder.",
    },
}
"""Module under knightwatch.commands -> its commands and the line that ``knightwatch --help`` shows for each."""

TRACEBACK_VARIABLE: Final = "KNIGHTWATCH_TRACEBACK"
_EXPECTED: Final = (
    ("builtins", "OSError"),
    ("builtins", "ValueError"),
    ("dashboards.check", "PrometheusError"),
    ("dashboards.push", "PushError"),
    ("halts.config", "ConfigError"),
    ("kafka.errors", "KafkaError"),
    ("replay.log", "LogError"),
    ("streams.recorder_files", "RecorderError"),
    ("aiokafka.errors", "KafkaError"),
    ("knightwatch.broker_host", "BrokerError"),
    ("knightwatch.jars", "JarError"),
    ("msgspec", "MsgspecError"),
    ("streams.admin", "TopicsError"),
)
"""Errors of the user's world, which get one line. Anything else is a defect of ours and keeps its traceback."""


def main() -> None:
    """Run the command line of this process and exit."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        if sys.argv[1:2] == ["replay"]:
            from replay import forks

            forks.begin_for(sys.argv[2:])
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before typer is there, which ends in the same way
        sys.exit(130)


def run(arguments: Sequence[str]) -> int:
    """Run ``arguments`` and return the exit code: 0 on success only, 2 for wrong usage."""
    try:
        app(arguments)(list(arguments), prog_name="knightwatch")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE) or not isinstance(error, _expected()):
            raise
        line = " ".join(str(error).split("\n")) if isinstance(error, OSError) else str(error)
        print(f"knightwatch: {line or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


def app(arguments: Sequence[str] = ()) -> "typer.Typer":
    """The application, with the commands that ``arguments`` ask for in full and a line of help for each of the others."""
    import typer

    made = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    made.callback()(_options())
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    for module, commands in COMMANDS.items():
        path = f"knightwatch.commands.{module}"
        if importlib.util.find_spec(path) is None:
            continue
        if wanted in commands:
            importlib.import_module(path).register(made)
            continue
        for name, text in commands.items():
            made.command(name, help=text)(_not_loaded)
    return made


def _not_loaded() -> None:
    raise AssertionError("this entry only stands in the list of commands; run() loads a command before it is called")


def _options() -> Callable[..., None]:
    import typer

    def show_version(asked: bool) -> None:
        if asked:
            from importlib.metadata import version

            print(version("knightwatch"))
            raise typer.Exit

    def options(
        show: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Print the version."),
    ) -> None:
        """Watches order routers for runaway flow, and halts them."""

    return options


def _expected() -> tuple[type[BaseException], ...]:
    """The classes of _EXPECTED. What was never imported was never raised."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in _EXPECTED)
    return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseException))


def _terminated(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds the stack, so that child processes and temporary folders go."""
    raise SystemExit(128 + number)
