"""Records of Kafka's format v2, taken apart by a compiled loop instead of one Python object after another.

Source: Kafka protocol guide, "Record Batch" (KIP-98). Batch headers, checksums, transactions and compression stay with the
client library; this is the part of which there is one for every event.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from schemas.jit import Int, compiled
from schemas.packed import Bytes, Packed

I64 = NDArray[np.int64]
OFFSET, TIMESTAMP, KEY, KEY_SIZE, VALUE, VALUE_SIZE, HEADERS = range(7)
"""Rows of a table of records: Kafka offset, timestamp (ms UTC), and places and sizes (-1: null) in the bytes."""
_SEVEN, _LOW, _MORE, _ONE = np.uint64(7), np.uint64(0x7F), np.uint8(0x80), np.uint64(1)
_SHIFT_MAX = np.uint64(63)


@dataclass(frozen=True, slots=True)
class Body:
    """The records of one batch, decompressed. ``timestamp``: of its first record; of all, where ``appended``."""

    data: bytes
    count: int
    base_offset: int
    timestamp: int
    appended: bool


@dataclass(frozen=True, slots=True)
class Record:
    """One record, with the names that client libraries use."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    _data: bytes
    _headers_at: int

    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """Read when asked for. ValueError when they end too soon."""
        return _headers(self._data, self._headers_at)


class Records(Sequence[Record]):
    """Records of one partition in columns. table: (7, n) int64 as the constants above say; data: where they lie."""

    def __init__(self, data: bytes, table: I64) -> None:
        self.data = data
        self.table = table

    @property
    def offsets(self) -> I64:
        """(n,) ascending."""
        offsets: I64 = self.table[OFFSET]
        return offsets

    @property
    def timestamps(self) -> I64:
        """(n,) ms UTC."""
        timestamps: I64 = self.table[TIMESTAMP]
        return timestamps

    @cached_property
    def keys(self) -> Packed:
        return Packed(self.data, self.table[KEY], self.table[KEY_SIZE])

    @cached_property
    def values(self) -> Packed:
        return Packed(self.data, self.table[VALUE], self.table[VALUE_SIZE])

    def __len__(self) -> int:
        return int(self.table.shape[1])

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> "Records": ...
    def __getitem__(self, at: int | slice) -> "Record | Records":
        if isinstance(at, slice):
            return Records(self.data, self.table[:, at])
        column = self.table[:, at]
        return Record(
            int(column[OFFSET]), int(column[TIMESTAMP]), self.keys[at], self.values[at], self.data, int(column[HEADERS]),
        )  # fmt: skip

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))


def parse(bodies: Sequence[Body], since: int) -> Records:
    """All records of these batches whose offset is ``since`` or later.

    ValueError when the bytes are no records: with the base offset of the batch.
    """
    counts = np.array([body.count for body in bodies], np.int64)
    sizes = np.array([len(body.data) for body in bodies], np.int64)
    ends = np.cumsum(sizes)
    data = bodies[0].data if len(bodies) == 1 else b"".join([body.data for body in bodies])
    heads = np.array([(b.base_offset, b.timestamp, b.appended) for b in bodies], np.int64).reshape(-1, 3)
    table = np.empty((7, int(counts.sum())), np.int64)
    bad = _parse(np.frombuffer(data, np.uint8), ends - sizes, ends, counts, heads, table)
    if bad >= 0:
        raise ValueError(
            f"batch at offset {bodies[bad].base_offset} does not hold the {bodies[bad].count} records it says"
        )
    late = int(np.searchsorted(table[OFFSET], since))
    return Records(data, table[:, late:] if late else table)


@compiled
def _parse(data: Bytes, starts: I64, ends: I64, counts: I64, heads: I64, table: I64) -> int:
    """Fills the table; returns the number of the first batch that is no sequence of records, -1 when all are."""
    n = 0
    for b in range(len(starts)):
        at, end = starts[b], ends[b]
        for _ in range(counts[b]):
            size, at = _varint(data, at, end)
            if at < 0 or size < 1 or size > end - at:
                return b
            stop = at + size
            since_base, at = _varint(data, at + 1, stop)  # a byte of attributes stands before
            after_base, at = _varint(data, at, stop)
            key_size, at = _varint(data, at, stop)
            key = at
            if at < 0 or key_size > stop - at:
                return b
            value_size, at = _varint(data, at + max(key_size, 0), stop)
            if at < 0 or value_size > stop - at:
                return b
            table[OFFSET, n] = heads[b, 0] + after_base
            table[TIMESTAMP, n] = heads[b, 1] if heads[b, 2] != 0 else heads[b, 1] + since_base
            table[KEY, n], table[KEY_SIZE, n] = key, max(key_size, -1)
            table[VALUE, n], table[VALUE_SIZE, n] = at, max(value_size, -1)
            table[HEADERS, n] = at + max(value_size, 0)
            at = stop
            n += 1
        if at != end:
            return b
    return -1


@compiled
def _varint(data: Bytes, at: int, end: int) -> tuple[Int, Int]:
    """Zigzag number at ``at`` and the place after it; that is -1 where it does not end before ``end``."""
    raw, shift = np.uint64(0), np.uint64(0)
    while 0 <= at < end and shift <= _SHIFT_MAX:
        byte = data[at]
        at += 1
        raw |= (np.uint64(byte) & _LOW) << shift
        if byte < _MORE:
            return np.int64(raw >> _ONE) ^ -np.int64(raw & _ONE), at
        shift += _SEVEN
    return np.int64(0), -1


def _headers(data: bytes, at: int) -> tuple[tuple[str, bytes | None], ...]:
    octets = np.frombuffer(data, np.uint8)

    def number(at: int) -> tuple[int, int]:
        found, after = _varint(octets, at, len(octets))
        if after < 0:
            raise ValueError("the headers of a record end too soon")
        return int(found), int(after)

    found: list[tuple[str, bytes | None]] = []
    count, at = number(at)
    for _ in range(count):
        size, at = number(at)
        name = data[at : at + size].decode()
        size, at = number(at + size)
        found.append((name, data[at : at + size] if size >= 0 else None))
        at += max(size, 0)
    return tuple(found)
