"""What every side of the comparison is to the harness: a command that reads a topic to its end and says what it found.

The command gets ``Work`` and writes ``{"events", "seconds", "cpu_s", "sums": {server: {second: shares}}}`` to
``work.out`` (floors: ``"counts": {server: records}`` instead of sums), then exits with 0. ``seconds`` and ``cpu_s`` run
from the first record taken to the last one counted, by the clocks of the process itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from schemas.events import EVENT


class Missing(Exception):
    """A peer cannot be set up here; says what was found and what to do."""


@dataclass(frozen=True)
class Work:
    """What is to be read: the whole of ``topic``, which holds ``events`` records in ``codec``. ``run`` is a name that no
    other run has (for consumer groups)."""

    bootstrap: str
    topic: str
    events: int
    codec: str
    run: str
    folder: Path
    out: Path

    def arguments(self) -> list[str]:
        """As every command takes them, in this order."""
        return [self.bootstrap, self.topic, str(self.events), self.codec, self.run, str(self.folder), str(self.out)]


def numbers_at() -> list[str]:
    """Byte offsets of ``qty`` and ``ts`` in an SBE message: all that a sum needs."""
    fields: Mapping[str, Any] = EVENT.fields or {}
    return [str(fields[name][1]) for name in ("qty", "ts")]


@dataclass(frozen=True)
class Prepared:
    """A peer that is ready. versions and settings go to the results."""

    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


class Side(Protocol):
    """name: in results. prefix_max: by default it is given a topic of that many events at most (None: all). floor: counts
    records, and sums nothing."""

    name: str
    prefix_max: int | None
    floor: bool

    def prepare(self) -> Prepared:
        """Set up, from nothing; Missing if that cannot be done."""
        ...

    def command(self, work: Work) -> Sequence[str]:
        """What to run."""
        ...
