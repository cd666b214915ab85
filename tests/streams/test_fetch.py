"""Unpacking a fetch gives what aiokafka's own loop gives, in whatever pieces it is asked for."""

import asyncio
import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas.record_set import Body, Records, parse
from streams import fetch
from streams.raw_sets import RecordSet, Tap

TP = TopicPartition("t", 0)


def producer_batch(base: int, values: list[bytes | None], codec: int = 0) -> bytes:
    """One record batch (format v2) whose first offset is ``base``."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 20)
    for i, value in enumerate(values):
        builder.append(i, 1_700_000_000_000 + i * 999, None if i % 3 else b"k" * i, value, [("h", value)] * (i % 2))
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base)
    return bytes(data)


def fetched(data: bytes, offset: int) -> Any:
    return PartitionRecords(TP, MemoryRecords(data), [], offset, None, None, True, READ_COMMITTED)


def plain(records: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records]


VALUES = st.none() | st.binary(max_size=20) | st.binary(min_size=100, max_size=300)


@pytest.mark.parametrize("as_bytes", [False, True])
@given(st.lists(st.lists(VALUES, min_size=1, max_size=8), min_size=1, max_size=5), st.data())
def test_as_aiokafka(as_bytes: bool, groups: list[list[bytes | None]], data: st.DataObject) -> None:
    base, parts, bases = 100, [], []
    for group in groups:
        base += data.draw(st.integers(0, 3))  # a hole that compaction left
        bases.append(base)
        parts.append(producer_batch(base, group, data.draw(st.sampled_from([0, 1, 2, 3, 4]))))
        base += len(group)
    raw, offset = b"".join(parts), bases[0] + data.draw(st.integers(0, len(groups[0]) - 1))
    theirs = fetched(raw, offset)
    expected = plain(list(theirs))
    mine, got = fetched(raw, offset), []
    record_set = RecordSet(raw) if as_bytes else None
    while mine._records.has_next():
        records = fetch.unpack(mine, data.draw(st.integers(1, 10)), record_set)
        assert isinstance(records, Records) == as_bytes
        got += plain(records)
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


def test_older_formats_and_a_set_out_of_step_are_read_by_aiokafka() -> None:
    first, second = producer_batch(0, [b"a", b"b"]), producer_batch(2, [b"c"])
    mine = fetched(first + second, 0)
    other = RecordSet(producer_batch(7, [b"x", b"y"]) + second)
    assert [r.value for r in fetch.unpack(mine, 10, other)] == [b"a", b"b", b"c"]


def test_broker_time_counts_where_the_topic_says_so() -> None:
    raw = bytearray(producer_batch(0, [b"a", b"b"]))
    raw[22] |= 0x08  # attributes: LogAppendTime
    found = fetch.unpack(fetched_unchecked(bytes(raw)), 10, RecordSet(bytes(raw)))
    expected = fetch.unpack(fetched_unchecked(bytes(raw)), 10)
    assert [r.timestamp for r in found] == [r.timestamp for r in expected] == [1_700_000_000_999] * 2


def fetched_unchecked(data: bytes) -> Any:
    return PartitionRecords(TP, MemoryRecords(data), [], 0, None, None, False, READ_COMMITTED)


@given(st.binary(max_size=60), st.integers(1, 4))
def test_bytes_that_are_no_records_are_refused(data: bytes, count: int) -> None:
    try:
        found = len(parse([Body(data, count, 0, 0, False)], 0))
    except ValueError as error:
        found = count if f"the {count} records it says" in str(error) else -1
    assert found == count


class Client:
    """Answers every fetch with the same set."""

    def __init__(self, data: bytes) -> None:
        self.data, self.cluster = data, "cluster"

    async def send(self, node_id: int, request: Any) -> Any:
        return SimpleNamespace(topics=[("t", [(0, 0, 9, self.data)]), ("other", [(0, 0, 9, self.data)])])


def test_the_tap_keeps_batched_topics_only_and_a_set_once() -> None:
    tap = Tap(Client(producer_batch(0, [b"a"])), {"t"})
    asyncio.run(tap.send(0, FetchRequest(1, 1, 1, 0, [])))
    records = fetched(producer_batch(0, [b"a"]), 0)
    mine = tap.of(TP, records)
    assert mine is not None
    assert tap.of(TP, records) is mine
    assert tap.of(TopicPartition("other", 0), records) is None
    assert tap.of(TP, fetched(producer_batch(0, [b"a"]), 0)) is None
    assert tap.cluster == "cluster"


def test_headers_that_end_too_soon_are_refused_when_asked_for() -> None:
    whole = (
        b"\x10\x00\x00\x00\x01\x01\x02\x04\x02"  # a record of 8 bytes that says it has a header, whose name is cut off
    )
    record = parse([Body(whole, 1, 0, 0, False)], 0)[0]
    assert (record.key, record.value) == (None, None)
    with pytest.raises(ValueError, match="end too soon"):
        _ = record.headers
