"""Keyed CUSUMs against the recursion written out, one dictionary entry a key."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.keyed import ONE, VALUE, KeyedCusums, Shown, Walks, Where, hit, lead_value, number_key, show
from schemas.events import empty_events
from schemas.jit import compiled
from schemas.units import MS_NS


@compiled
def _drive(at: Where, keys: np.ndarray, walks: Walks, shown: Shown) -> None:  # type: ignore[type-arg]
    for i in range(len(keys)):
        before = lead_value(walks, at.t[i])
        hit(walks, at, i, number_key(keys[i]), 0, walks.weight[0])
        show(walks, at.t[i], i, before, shown)


def drive(cusums: KeyedCusums, keys: list[int], times_ms: list[int]) -> Shown:
    n = len(keys)
    events = empty_events(n)
    events["cl_ord_id"] = [f"o{i}".encode() for i in range(n)]
    words = np.ascontiguousarray(events).view("<u8").reshape(n, -1)
    at = Where(words, np.array(times_ms) * MS_NS, np.arange(n), np.zeros(n, np.int32))
    shown = cusums.shown(n)
    _drive(at, np.array(keys), cusums.walks, shown)
    return shown


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 400)), min_size=1, max_size=80))
@settings(max_examples=40, deadline=None)
def test_each_key_has_its_own_walk(steps: list[tuple[int, int]]) -> None:
    keys, times = [k for k, _ in steps], np.cumsum([dt for _, dt in steps]).tolist()
    cusums = KeyedCusums([(4.0, 2.0)], 64)
    drive(cusums, keys, times)
    walks: dict[int, tuple[float, int]] = {}
    for key, now in zip(keys, times, strict=True):
        value, since = walks.get(key, (0.0, now))
        walks[key] = (max(0.0, value - 2.0 / 4.0 * (now - since) / 1_000) + 0.25, now)
    found = cusums.walks
    for key, (value, since) in walks.items():
        cell = np.flatnonzero(found.key == number_key(key))
        if not len(cell):  # another key took the place of a walk that was back at zero
            assert value - 2.0 / 4.0 * (times[-1] - since) / 1_000 < 1e-4
            continue
        assert abs(found.value[cell[0]] / ONE - value) < 1e-4
    assert found.lead[VALUE] / ONE <= max(value for value, _ in walks.values()) + 1e-4


def test_a_flood_of_other_keys_does_not_push_out_the_highest() -> None:
    cusums = KeyedCusums([(4.0, 0.001)], 16)
    keys = [7] * 8 + list(range(100, 3_000)) + [7]
    shown = drive(cusums, keys, list(range(len(keys))))
    assert shown.values[-1] > 2 * 1_024
    assert shown.counts[-1] == 9


def test_the_first_event_is_where_the_walk_left_zero() -> None:
    cusums = KeyedCusums([(4.0, 1.0)], 64)
    shown = drive(cusums, [1, 2, 1, 1, 1, 1], [0, 10_000, 20_000, 20_010, 20_020, 20_030])
    rises = shown.ups[: int(shown.used[0])]
    assert rises[:, 0].tolist() == []
    more = drive(cusums, [1, 1], [20_040, 20_050])
    row = more.ups[0]
    assert int(row[0]) == 0
    assert row[5:8].tobytes().rstrip(b"\0") == b"o2"
