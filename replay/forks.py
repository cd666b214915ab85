"""Where the processes of a replay come from: a server that has imported what they need, and forks.

An interpreter with all that stage 1 needs takes a second to begin. The server takes it once for all processes, and when it
is started first, beside the imports of whoever wants them. It has one thread and opens no file, so that forking it is
safe; the caller, which has threads by then, is never forked.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

MODULES: Final = ("replay.ready",)
"""What the server imports."""
SERVER: Final = "KNIGHTWATCH_FORK_SERVER"
"""In the environment of the server and of nobody else."""
BYTES_MIN: Final = 10_000_000
"""Size of a Parquet file with about as many events as make several processes worth while."""


def begin() -> ForkServerContext:
    """Start the server, if it does not run; returns before it has imported anything, with what makes processes out of it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(MODULES))
    with ctrl_c_later(), _as_here():
        forkserver.ensure_running()
    return context


def processes_for(large: bool, wanted: int | None) -> int:
    """Those that the user wants; if he leaves it to us, as many as there are cores for a large log, else one."""
    if wanted is not None:
        return wanted
    return len(os.sched_getaffinity(0)) if large else 1


def begin_early(log: Path, wanted: int | None) -> None:
    """``begin``, if several processes are likely to be used for a log that nobody has looked into yet."""
    large = False
    with suppress(OSError):  # who opens the log says what is wrong with it
        large = log.is_file() and log.stat().st_size >= BYTES_MIN
    if processes_for(large, wanted) > 1 and log.suffix == ".parquet":
        begin()


def begin_for(words: Sequence[str]) -> None:
    """``begin_early`` by the words of a command line that nobody has understood yet: for a log among them, if they neither
    say how many processes nor ask for something else. A server that nobody needs after all ends with its caller."""
    if not any(word.split("=")[0] in ("--processes", "--into-kafka", "--help") for word in words):
        for word in words:
            begin_early(Path(word), None)


@contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Ctrl-C waits until the block ends. Processes and threads that are started in it never see it: what they are to do
    then, the parent's main thread says."""
    resource_tracker.ensure_running()  # whatever is started first would start it, and that lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _as_here() -> Iterator[None]:
    """Environment in which an interpreter finds the modules that this one finds, starts no threads for algebra, and knows
    that it is the server.

    By itself the server would look in its working directory first, and elsewhere than this interpreter does: what it
    imports too early is what its processes run, so it must be the same files.
    """
    wanted = {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(place) for place in sys.path),
        "PYTHONSAFEPATH": "1",
        "OPENBLAS_NUM_THREADS": "1",
        SERVER: "1",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


__all__ = ["begin", "begin_early", "begin_for", "ctrl_c_later", "processes_for"]
