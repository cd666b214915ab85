"""Many Kafka records as one Faust message: what the batched transport delivers and what the agents take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, Protocol

import faust
import numpy as np
from numpy.typing import NDArray

from schemas.record_set import Records

_value: Final = attrgetter("value")
_offset: Final = attrgetter("offset")


class Record(Protocol):
    """One record: of ``schemas.record_set``, or as aiokafka decodes it (``DefaultRecord``, ``ConsumerRecord``)."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


@dataclass(frozen=True)
class Limits:
    """How much one batch may hold. A single record larger than ``bytes_max`` is a batch of its own."""

    records_max: int = 8192
    bytes_max: int = 4 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class RecordBatch:
    """Consecutive records of one partition.

    ``start`` is the position the consumer read from and ``end`` the position it reads next, so that consecutive
    batches touch even where compaction or a transaction left a hole between two records. ``records`` may be empty
    (nothing but transaction markers between ``start`` and ``end``).
    """

    topic: str
    partition: int
    start: int
    end: int
    records: Sequence[Record]

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError(f"batch of {self.topic}-{self.partition} covers no offset: {self.start} to {self.end}")

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def values(self) -> Sequence[bytes | None]:
        return self.records.values if isinstance(self.records, Records) else list(map(_value, self.records))

    @cached_property
    def keys(self) -> Sequence[bytes | None]:
        return self.records.keys if isinstance(self.records, Records) else [record.key for record in self.records]

    @cached_property
    def headers(self) -> list[Sequence[tuple[str, bytes | None]]]:
        return [record.headers for record in self.records]

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(n,) offset of each record."""
        if isinstance(self.records, Records):
            return self.records.offsets
        n = len(self.records)
        if not n:
            return np.empty(0, np.int64)
        first = self.records[0].offset
        if self.records[-1].offset - first == n - 1:
            return np.arange(first, first + n, dtype=np.int64)
        return np.fromiter(map(_offset, self.records), np.int64, n)

    @cached_property
    def timestamps(self) -> NDArray[np.int64]:
        """(n,) Kafka timestamp of each record, ms UTC."""
        if isinstance(self.records, Records):
            return self.records.timestamps
        return np.fromiter((record.timestamp for record in self.records), np.int64, len(self.records))

    def since(self, offset: int) -> "RecordBatch | None":
        """What of the batch lies at ``offset`` or later; None when nothing does."""
        if offset <= self.start:
            return self
        if offset >= self.end:
            return None
        cut = int(np.searchsorted(self.offsets, offset))
        return RecordBatch(self.topic, self.partition, offset, self.end, self.records[cut:])


def split(batch: RecordBatch, limits: Limits) -> list[RecordBatch]:
    """Touching batches that keep to ``limits``, in order; ``[batch]`` when it does already."""
    if isinstance(batch.records, Records):
        sizes = np.maximum(batch.records.values.lengths, 0)
    else:
        sizes = np.array([len(value) if value is not None else 0 for value in batch.values], np.int64)
    if len(sizes) <= limits.records_max and sizes.sum() <= limits.bytes_max:
        return [batch]
    ends = sizes.cumsum()
    cuts, held = [0], 0
    while (cut := _end(ends, cuts[-1], held, limits)) < len(sizes):
        held = int(ends[cut - 1])
        cuts.append(cut)
    bounds = [batch.start, *(int(batch.offsets[i]) for i in cuts[1:]), batch.end]
    cuts.append(len(sizes))
    return [
        RecordBatch(batch.topic, batch.partition, bounds[k], bounds[k + 1], batch.records[cuts[k] : cuts[k + 1]])
        for k in range(len(cuts) - 1)
    ]


def _end(ends: NDArray[np.int64], first: int, held: int, limits: Limits) -> int:
    """Where the batch ends that begins at record ``first``, before which stand ``held`` bytes. ends: (n,) bytes to each."""
    fits = int(np.searchsorted(ends, held + limits.bytes_max, side="right"))
    return max(min(fits, first + limits.records_max), first + 1)


class BatchSchema(faust.Schema):  # type: ignore[misc]
    """Hands the batch to the stream as it is: the agents decode, and refuse one event at a time."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Any]:
        """Faust calls this once per topic to get its decoding function."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, None, message)

        return decode
