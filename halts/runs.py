"""In which order inputs were taken in, as runs of consecutive ones of a topic: what ``audit`` keeps of it."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

RUNS_MAX: Final = 256
"""Runs of inputs kept before they go to ``audit``."""


class Run(Struct, array_like=True):
    """Inputs of one topic taken in one after the other: offsets ``first`` to ``last``, which grows."""

    topic: str
    partition: int
    first: int
    last: int


class Runs:
    """The runs since they last went to ``audit``. Bounded by RUNS_MAX, if who keeps them heeds ``full``."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs = list(runs)

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def full(self) -> bool:
        """Is there no room for one more?"""
        return len(self._runs) >= RUNS_MAX

    def goes_on(self, topic: str, partition: int, offset: int) -> bool:
        """Add the input to the last run, if it is of its partition; whether it is."""
        if not self._runs:
            return False
        run = self._runs[-1]
        if run.topic != topic or run.partition != partition:
            return False
        run.last = offset
        return True

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """A run of one input."""
        self._runs.append(Run(topic, partition, offset, offset))

    def listed(self) -> tuple[Run, ...]:
        """All of them; the last still grows."""
        return tuple(self._runs)
