"""Events of one partition, kept in memory and, beyond a budget, in a temporary file without a name."""

import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np

from replay.log import BATCH_ROWS
from schemas.events import EVENT, Batch

BUDGET_BYTES: Final = 1 << 30
"""Memory for all partitions of one log before they move to temporary files: 1 GiB, about 4.5 million events."""
_KINDS: Final[tuple[np.dtype[Any], ...]] = (EVENT, np.dtype("<i8"), np.dtype("<i4"))
ROW_BYTES: Final = sum(kind.itemsize for kind in _KINDS)
"""An event with its offset and item."""
_Part = Batch | tuple[int, int]
"""Rows in memory, or (position, rows) in the file: all events, then all offsets, then all items."""


@dataclass
class Budget:
    """Bytes that the spools of one log may still keep in memory."""

    left: int = BUDGET_BYTES


class Spool:
    """A growing list of the events of one partition."""

    def __init__(self, topic: str, partition: int, budget: Budget) -> None:
        self._topic = topic
        self._partition = partition
        self._budget = budget
        self._rows = 0
        self._parts: deque[_Part] = deque()
        self._file: IO[bytes] | None = None
        self._end = 0

    @property
    def partition(self) -> int:
        return self._partition

    @property
    def rows(self) -> int:
        """Events added so far."""
        return self._rows

    def add(self, batch: Batch) -> None:
        """Append events (copied)."""
        rows = len(batch)
        self._rows += rows
        # as words: copying fields is seven times as slow
        events = np.ascontiguousarray(batch.events, EVENT).view("<u8")
        if self._budget.left >= rows * ROW_BYTES:
            self._budget.left -= rows * ROW_BYTES
            kept = events.copy().view(EVENT), batch.offsets.copy(), batch.items.copy()
            self._parts.append(Batch(self._topic, self._partition, *kept))
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="knightwatch-spool-")  # noqa: SIM115 - lives as long as the spool
        self._file.seek(self._end)
        for column in (events, batch.offsets, batch.items):
            self._file.write(column.tobytes())
        self._parts.append((self._end, rows))
        self._end += rows * ROW_BYTES

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """As ``EventSource``: everything from the start; the events stay."""
        for part in self._parts:
            yield from self._cut(part, rows)

    def take(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """What is there now, oldest first; it leaves the spool."""
        while self._parts:
            part = self._parts.popleft()
            if isinstance(part, Batch):
                self._budget.left += len(part) * ROW_BYTES
            yield from self._cut(part, rows)

    def _cut(self, part: _Part, rows: int) -> Iterator[Batch]:
        whole = part if isinstance(part, Batch) else self._load(*part)
        for start in range(0, len(whole), rows):
            yield whole[start : start + rows]

    def _load(self, position: int, rows: int) -> Batch:
        assert self._file is not None
        self._file.seek(position)
        columns = (np.frombuffer(self._file.read(rows * kind.itemsize), kind) for kind in _KINDS)
        return Batch(self._topic, self._partition, *columns)
