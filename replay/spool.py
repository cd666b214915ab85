"""Events of one partition, kept in memory and, beyond a budget, in a temporary file without a name."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np

from replay.log import BATCH_ROWS
from schemas.events import EVENT, Batch

BUDGET_BYTES: Final = 1 << 30
"""Memory for all partitions of one log before they move to temporary files: 1 GiB, about 4.5 million events."""
_ROW: Final[np.dtype[Any]] = np.dtype([("event", EVENT), ("offset", "<i8"), ("item", "<i4")])


@dataclass
class Budget:
    """Bytes that the spools of one log may still keep in memory."""

    left: int = BUDGET_BYTES


class Spool:
    """An ``EventSource`` that is filled first and read after, as often as wanted."""

    def __init__(self, topic: str, partition: int, budget: Budget) -> None:
        self._topic = topic
        self._partition = partition
        self._budget = budget
        self._rows = 0
        self._memory: list[np.ndarray[Any, Any]] = []
        self._file: IO[bytes] | None = None

    @property
    def partition(self) -> int:
        return self._partition

    @property
    def rows(self) -> int:
        return self._rows

    def add(self, batch: Batch) -> None:
        """Append events (copied)."""
        rows = np.zeros(len(batch), _ROW)
        rows["event"], rows["offset"], rows["item"] = batch.events, batch.offsets, batch.items
        self._rows += len(rows)
        if self._file is None and self._budget.left >= rows.nbytes:
            self._budget.left -= rows.nbytes
            self._memory.append(rows)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="knightwatch-spool-")  # noqa: SIM115 - lives as long as the spool
        self._file.write(rows.tobytes())

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """As ``EventSource``. Memory comes first: it was filled first."""
        for part in self._memory:
            for start in range(0, len(part), rows):
                yield self._batch(part[start : start + rows])
        if self._file is None:
            return
        position = 0
        while True:
            self._file.seek(position)
            data = self._file.read(rows * _ROW.itemsize)
            if not data:
                return
            position += len(data)
            yield self._batch(np.frombuffer(data, _ROW))

    def _batch(self, part: np.ndarray[Any, Any]) -> Batch:
        columns = (np.ascontiguousarray(part[name]) for name in ("event", "offset", "item"))
        return Batch(self._topic, self._partition, *columns)
