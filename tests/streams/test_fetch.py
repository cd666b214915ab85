"""Unpacking a fetch gives what aiokafka's own loop gives, in whatever pieces it is asked for."""

import struct
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams import fetch

TP = TopicPartition("t", 0)


def producer_batch(base: int, values: list[bytes], codec: int = 0) -> bytes:
    """One record batch (format v2) whose first offset is ``base``."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 20)
    for i, value in enumerate(values):
        builder.append(i, 1_700_000_000_000 + i, b"k", value, [("h", value)])
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base)
    return bytes(data)


def fetched(data: bytes, offset: int) -> Any:
    return PartitionRecords(TP, MemoryRecords(data), [], offset, None, None, True, READ_COMMITTED)


def plain(records: list[Any]) -> list[tuple[Any, ...]]:
    return [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records]


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=8), min_size=1, max_size=5), st.data())
def test_as_aiokafka(groups: list[list[bytes]], data: st.DataObject) -> None:
    base, parts, bases = 100, [], []
    for group in groups:
        base += data.draw(st.integers(0, 3))  # a hole that compaction left
        bases.append(base)
        parts.append(producer_batch(base, group, data.draw(st.sampled_from([0, 1]))))
        base += len(group)
    raw, offset = b"".join(parts), bases[0] + data.draw(st.integers(0, len(groups[0]) - 1))
    theirs = fetched(raw, offset)
    expected = plain(list(theirs))
    mine, got = fetched(raw, offset), []
    while mine._records.has_next():
        got += plain(fetch.unpack(mine, data.draw(st.integers(1, 10))))
    assert got == expected
    assert mine.next_fetch_offset == theirs.next_fetch_offset == base


def test_stops_at_the_batch_that_fills_it() -> None:
    raw = b"".join(producer_batch(10 * i, [b"x"] * 10) for i in range(5))
    mine = fetched(raw, 0)
    assert len(fetch.unpack(mine, 15)) == 20
    assert mine.next_fetch_offset == 20


def test_corrupt() -> None:
    raw = bytearray(producer_batch(0, [b"a"]) + producer_batch(1, [b"b"]))
    raw[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="offset 1"):
        fetch.unpack(fetched(bytes(raw), 0), 100)


def test_version_of_aiokafka_is_checked() -> None:
    class Old:
        _fetcher = object()

    with pytest.raises(AttributeError, match=r"Fetcher\._records.*install the pinned version"):
        fetch.check(Old())
