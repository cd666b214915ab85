"""One pass over a log for several partitions: what is read before its turn waits in a spool."""

from collections.abc import Iterator, Mapping

from replay.log import BATCH_ROWS, EventSource
from replay.spool import Budget, Spool
from schemas.events import Batch
from schemas.topics import ORDERFLOW


def shared_sources(reader: Iterator[Batch], rows: Mapping[int, int]) -> list[EventSource]:
    """One source for each partition of ``rows`` (partition -> its rows); read each once, in any interleaving.

    A batch that is handed on may lie in memory that ``reader`` uses again: it is good until the next batch of any of
    these sources is asked for. An engine steps it before that.
    """
    shared = _SharedPass(reader, rows)
    return [_SharedSource(shared, partition, n) for partition, n in sorted(rows.items())]


class _SharedPass:
    """The reader, and a spool for each partition."""

    def __init__(self, reader: Iterator[Batch], rows: Mapping[int, int]) -> None:
        self._reader = reader
        budget = Budget()
        self._waiting = {partition: Spool(ORDERFLOW.name, partition, budget) for partition in rows}

    def next_of(self, partition: int, rows: int) -> Iterator[Batch]:
        """The next batches of one partition, at least one unless the log has ended."""
        found = False
        for batch in self._waiting[partition].take(rows):
            found = True
            yield batch
        while not found:
            read = next(self._reader, None)
            if read is None:
                return
            if read.partition == partition:
                found = True
                for start in range(0, len(read), rows):
                    yield read[start : start + rows]
            else:
                self._waiting[read.partition].add(read)


class _SharedSource:
    """The ``EventSource`` of one partition in a shared pass."""

    def __init__(self, shared: _SharedPass, partition: int, rows: int) -> None:
        self.partition = partition
        self.rows = rows
        self._shared = shared

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """As ``EventSource``, once. Stops with the partition's last row, so that a quiet one does not read on."""
        left = self.rows
        while left > 0:
            before = left
            for batch in self._shared.next_of(self.partition, rows):
                left -= len(batch)
                yield batch
            if left == before:
                return


__all__ = ["shared_sources"]
