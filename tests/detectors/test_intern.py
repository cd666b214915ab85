"""Interning against a plain dictionary, for any cutting of the ids into batches."""

from collections.abc import Sequence
from itertools import cycle, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.intern import IdTable, lookup, lookup_near, words

CAPACITY = 24


def oracle(ids: Sequence[int], inserts: Sequence[bool]) -> list[tuple[int, bool]]:
    """Number of each id (in order of insertion), -1 when unknown; an id is known until CAPACITY later ones came."""
    known: dict[int, int] = {}
    count, out = 0, []
    for key, insert in zip(ids, inserts, strict=True):
        number = known.get(key)
        if number is not None and number >= count - CAPACITY:
            out.append((number, False))
        elif insert:
            known[key] = count
            out.append((count, True))
            count += 1
        else:
            out.append((-1, False))
    return out


@given(
    st.lists(st.tuples(st.integers(0, 80), st.booleans()), min_size=1, max_size=300),
    st.lists(st.integers(1, CAPACITY), min_size=1, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_agrees_with_a_dictionary_for_any_cutting(events: list[tuple[int, bool]], sizes: list[int]) -> None:
    ids = [key for key, _ in events]
    inserts = np.array([insert for _, insert in events])
    column = np.array([f"ORD-{key}".encode() for key in ids], "S24")
    table, got, start, k = IdTable(CAPACITY, 3), [], 0, 0
    while start < len(ids):
        end = min(len(ids), start + sizes[k % len(sizes)])
        rows, new = table.resolve(words(column[start:end]), inserts[start:end])
        got += [(int(r) + table.dropped if r >= 0 else -1, bool(n)) for r, n in zip(rows, new, strict=True)]
        start, k = end, k + 1
    assert got == oracle(ids, inserts.tolist())


@given(
    st.lists(st.integers(0, 60), max_size=120),
    st.lists(st.tuples(st.integers(0, 65), st.integers(-3, 60)), max_size=40),
)
@settings(max_examples=150, deadline=None)
def test_where_a_row_may_be_changes_nothing(entered: list[int], asked: list[tuple[int, int]]) -> None:
    """Ids come back and are forgotten, so that the same one may stand in several rows."""
    table = IdTable(CAPACITY, 3)
    for start in range(0, len(entered), CAPACITY):
        part = np.array([f"ORD-{key}".encode() for key in entered[start : start + CAPACITY]], "S24")
        table.resolve(words(part), np.ones(len(part), bool))
    wanted = words(np.array([f"ORD-{key}".encode() for key, _ in asked] or [b""], "S24"))
    for i, (_, row) in enumerate(asked):
        assert lookup_near(table.slots, wanted, i, 0, row) == lookup(table.slots, wanted, i, 0)


@pytest.mark.parametrize("sizes", [(1_000,), (4_090, 10, 4_096), (4_096,), (3, 2_500)])
def test_columns_follow_their_ids_through_growth_and_compaction(sizes: tuple[int, ...]) -> None:
    """By how many come at once, the ids that are dropped are many or few."""
    table = IdTable(4_096, 3, {"value": "i8"})
    start = 0
    for size in islice(cycle(sizes), 40):
        column = np.array([f"{i}".encode() for i in range(start, start + size)], "S24")
        rows, new = table.resolve(words(column), np.ones(size, bool))
        assert new.all()
        assert not table.cols["value"][rows].any(), "what stood there before is gone"
        table.cols["value"][rows] = np.arange(start, start + size)
        start += size
        known = np.arange(max(0, start - 4_096), start)
        rows, _ = table.resolve(words(np.array([f"{i}".encode() for i in known], "S24")), np.zeros(len(known), bool))
        assert (table.cols["value"][rows] == known).all()
        assert table.name(int(rows[0])) == str(known[0])
    assert table.forgotten == start - 4_096


@pytest.mark.parametrize(("dtype", "width"), [("S24", 3), ("S16", 2), ("S12", 2)])
def test_words_tell_ids_apart(dtype: str, width: int) -> None:
    column = np.array([b"A", b"AA", b"B", b""], dtype)
    keys = words(column)
    assert keys.shape == (4, width)
    assert len({tuple(k) for k in keys.tolist()}) == 4


def _id_with_hash(h: int) -> int:
    """The one-word id of a given hash: each step of ``_hash`` can be undone."""
    full = (1 << 64) - 1
    h ^= h >> 32
    h = h * pow(0x165667B19E3779F9, -1, 1 << 64) & full
    h ^= (h >> 29) ^ (h >> 58)
    return h * pow(0x9E3779B97F4A7C15, -1, 1 << 64) & full


def test_equal_tags_in_the_same_cell_of_different_ids_are_told_apart() -> None:
    """Hashes with equal upper halves and equal low bits: every probe meets other ids under its own tag."""
    ids = [_id_with_hash((0xABCD1234 << 32) | (i << 20) | 77) for i in range(20)]
    keys = np.array([[ids[i % 20]] for i in range(60)], np.uint64)
    table = IdTable(64, 1)
    rows, new = table.resolve(keys, np.ones(60, bool))
    assert rows.tolist() == [i % 20 for i in range(60)]
    assert new.tolist() == [i < 20 for i in range(60)]
    assert len(set((table.slots.table[table.slots.table != 0] >> np.uint64(32)).tolist())) == 1, (
        "the tags must be equal"
    )
    rows, new = table.resolve(keys[:20], np.zeros(20, bool))
    assert rows.tolist() == list(range(20))
