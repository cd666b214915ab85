"""Stock Faust as it is installed here, in a worker of its own."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.side import Prepared, Work, numbers_at


class FaustSide:
    """One event at a time: some 7 thousand a second, hence a shorter topic."""

    name: str = "faust"
    prefix_max: int | None = 60_000
    floor: bool = False

    def prepare(self) -> Prepared:
        """Nothing to set up: Faust is what we are built on."""
        settings = {"agent": "one event at a time", "sum": "a dict, no table", "everything_else": "defaults of Faust"}
        return Prepared({"faust-streaming": version("faust-streaming")}, settings)

    def command(self, work: Work) -> Sequence[str]:
        """python -m benchmarks.peers.faust_app ..."""
        return [sys.executable, "-m", "benchmarks.peers.faust_app", *work.arguments(), *numbers_at()]


def echo_command(bootstrap: str, source: str, target: str, folder: Path) -> list[str]:
    """Stock Faust that sends each event of ``source`` on to ``target``, to measure its latency."""
    work = Work(bootstrap, source, 0, "sbe", "faust-echo", folder, folder / "none")
    return [sys.executable, "-m", "benchmarks.peers.faust_app", *work.arguments(), *numbers_at(), target]
