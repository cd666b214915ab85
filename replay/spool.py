"""Events of one partition, kept in memory and, beyond a budget, in a temporary file without a name."""

import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from replay.log import BATCH_ROWS
from schemas.events import EVENT, Batch

BUDGET_BYTES: Final = 1 << 30
"""Memory for all partitions of one log before they move to temporary files: 1 GiB, about 4.5 million events."""
_ROW: Final[np.dtype[Any]] = np.dtype([("event", EVENT), ("offset", "<i8"), ("item", "<i4")])
_Part = NDArray[Any] | tuple[int, int]
"""Rows in memory, or (position, bytes) in the file."""


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
        rows = np.empty(len(batch), _ROW)
        rows["event"], rows["offset"], rows["item"] = batch.events, batch.offsets, batch.items
        self._rows += len(rows)
        if self._budget.left >= rows.nbytes:
            self._budget.left -= rows.nbytes
            self._parts.append(rows)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="knightwatch-spool-")  # noqa: SIM115 - lives as long as the spool
        self._file.seek(self._end)
        self._file.write(rows.tobytes())
        self._parts.append((self._end, rows.nbytes))
        self._end += rows.nbytes

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """As ``EventSource``: everything from the start; the events stay."""
        for part in self._parts:
            yield from self._cut(part, rows)

    def take(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """What is there now, oldest first; it leaves the spool."""
        while self._parts:
            part = self._parts.popleft()
            if not isinstance(part, tuple):
                self._budget.left += part.nbytes
            yield from self._cut(part, rows)

    def _cut(self, part: _Part, rows: int) -> Iterator[Batch]:
        data = self._load(*part) if isinstance(part, tuple) else part
        for start in range(0, len(data), rows):
            piece = data[start : start + rows]
            columns = (np.ascontiguousarray(piece[name]) for name in ("event", "offset", "item"))
            yield Batch(self._topic, self._partition, *columns)

    def _load(self, position: int, size: int) -> NDArray[Any]:
        assert self._file is not None
        self._file.seek(position)
        return np.frombuffer(self._file.read(size), _ROW)
