"""Batches touch, split keeps to its limits, and cutting loses nothing."""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.batches import Limits, RecordBatch, split


class Rec(NamedTuple):
    offset: int
    value: bytes | None = b"v"
    key: bytes | None = None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes | None], ...] = ()


@st.composite
def batches(draw: st.DrawFn) -> RecordBatch:
    """Offsets with holes, also before the first and after the last."""
    start = draw(st.integers(0, 1000))
    gaps = draw(st.lists(st.integers(0, 3), max_size=40))
    offsets, at = [], start
    for gap in gaps:
        at += gap
        offsets.append(at)
        at += 1
    end = at + draw(st.integers(0, 3))
    values = draw(st.lists(st.one_of(st.none(), st.binary(max_size=30)), min_size=len(offsets), max_size=len(offsets)))
    records = [Rec(offset, value) for offset, value in zip(offsets, values, strict=True)]
    return RecordBatch("t", 0, start, max(end, start + 1), records)


@given(batches(), st.integers(1, 10), st.integers(1, 60))
def test_split_keeps_everything_and_its_limits(batch: RecordBatch, records_max: int, bytes_max: int) -> None:
    parts = split(batch, Limits(records_max, bytes_max))
    assert [record for part in parts for record in part.records] == list(batch.records)
    assert (parts[0].start, parts[-1].end) == (batch.start, batch.end)
    assert all(a.end == b.start for a, b in pairwise(parts))
    for part in parts:
        assert len(part) <= records_max
        assert len(part) <= 1 or sum(len(value or b"") for value in part.values) <= bytes_max
        assert all(part.start <= record.offset < part.end for record in part.records)


@given(batches(), st.integers(-5, 1200))
def test_since(batch: RecordBatch, offset: int) -> None:
    part = batch.since(offset)
    if part is None:
        assert offset >= batch.end
        return
    assert (part.start, part.end) == (max(offset, batch.start), batch.end)
    assert list(part.records) == [record for record in batch.records if record.offset >= offset]


@given(batches())
def test_columns(batch: RecordBatch) -> None:
    assert batch.offsets.tolist() == [record.offset for record in batch.records]
    assert batch.values == [record.value for record in batch.records]
    assert len(batch.timestamps) == len(batch.keys) == len(batch.headers) == len(batch)


def test_a_batch_covers_something() -> None:
    with pytest.raises(ValueError, match="t-0 covers no offset: 5 to 5"):
        RecordBatch("t", 0, 5, 5, [])
