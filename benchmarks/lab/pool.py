"""Jobs of a long benchmark, in this process or in several that give way to others."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, parent_process
from typing import Any, Final

from schemas import collector

NICE: Final = 5
"""Of the processes."""
Job = Callable[[], dict[str, Any]]


def _call(job: Job) -> dict[str, Any]:
    return job()


def _begin() -> None:
    os.nice(NICE)
    collector.calm()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """When the parent is killed: a job may have hours to go, and nobody is left who takes its result."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def results(jobs: Sequence[Job], processes: int, in_order: bool = True) -> Iterator[dict[str, Any]]:
    """What each job returns, in order, or as it comes. In this process if ``processes`` is 1; else jobs are pickled."""
    if processes == 1:
        yield from map(_call, jobs)
        return
    with get_context("spawn").Pool(processes, _begin) as pool:
        yield from (pool.imap if in_order else pool.imap_unordered)(_call, jobs)
