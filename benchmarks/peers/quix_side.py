"""Quix Streams, which pins a confluent-kafka that suits nothing else here: a virtual environment in the user's cache."""

import fcntl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.side import Missing, Prepared, Work, numbers_at
from knightwatch.jars import cache_dir

VERSION: Final = "3.28.1"
ROOT: Final = Path(__file__).resolve().parents[2]
_START: Final = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from benchmarks.peers.quix_app import main; main(sys.argv[1:])"
)
INSTALL_S_MAX: Final = 300


def home() -> Path:
    """Its environment; complete when ``ready`` stands in it."""
    return cache_dir() / "peers" / f"quix-{VERSION}-py{sys.version_info[0]}{sys.version_info[1]}"


def cached() -> bool:
    """Whether the peer can be set up without a download (for tests)."""
    return (home() / "ready").is_file()


class QuixSide:
    """RocksDB state with changelog, a tumbling window of 1 s: some 20 thousand a second, hence a shorter topic."""

    name: str = "quix"
    prefix_max: int | None = 150_000
    floor: bool = False

    def prepare(self) -> Prepared:
        """Make the environment and install Quix Streams into it, once."""
        folder = home()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(folder.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not cached():
                _run([sys.executable, "-m", "venv", "--clear", str(folder)])
                pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
                _run([*pip, f"quixstreams=={VERSION}"])
                (folder / "ready").touch()
        settings = {"window": "tumbling, 1 s, current()", "state": "RocksDB, changelog",
                    "everything_else": "defaults of Quix Streams"}  # fmt: skip
        return Prepared({"quixstreams": VERSION}, settings)

    def command(self, work: Work) -> Sequence[str]:
        """Its python, our program."""
        return [str(home() / "bin" / "python"), "-c", _START, *work.arguments(), *numbers_at()]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"quixstreams {VERSION} could not be installed: {error}; check network or pip's index") from error
    if done.returncode != 0:
        raise Missing(
            f"quixstreams {VERSION} could not be installed: {done.stderr[-500:]}; check network or pip's index"
        )
