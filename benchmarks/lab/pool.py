"""Jobs of a long benchmark, in this process or in several that give way to others."""

import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from typing import Any, Final

NICE: Final = 5
"""Of the processes."""
Job = Callable[[], dict[str, Any]]


def _call(job: Job) -> dict[str, Any]:
    return job()


def results(jobs: Sequence[Job], processes: int, in_order: bool = True) -> Iterator[dict[str, Any]]:
    """What each job returns, in order, or as it comes. In this process if ``processes`` is 1; else jobs are pickled."""
    if processes == 1:
        yield from map(_call, jobs)
        return
    with get_context("spawn").Pool(processes, os.nice, (NICE,)) as pool:
        yield from (pool.imap if in_order else pool.imap_unordered)(_call, jobs)
