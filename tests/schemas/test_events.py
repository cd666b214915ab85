"""Rows are taken whole, whatever numpy made of the dtype."""

import numpy as np
import pytest

from schemas.events import EVENT, MESSAGE, batch_of, concat, empty_events, join_rows, take
from schemas.sbe_schema import HEADER_FIELDS


def some(n: int) -> np.ndarray:
    events = empty_events(n)
    events["seq"], events["cl_ord_id"], events["phase"] = np.arange(n), [f"C{i}".encode() for i in range(n)], 3
    return events


@pytest.mark.parametrize("at", [[], [0], [4, 1, 1]])
def test_take(at: list[int]) -> None:
    events = some(5)
    packed = np.concatenate([events[:2], events[2:]])
    assert packed.dtype.itemsize < EVENT.itemsize  # what take must put right
    for given in (events, packed, np.frombuffer(events.tobytes(), EVENT), some(10)[::2][:5]):
        found = take(given, np.array(at, np.int64))
        assert found.dtype == EVENT
        assert (found == given[at]).all()


def test_concat_keeps_the_dtype() -> None:
    whole = batch_of(some(9))
    again = concat([whole[:4], whole[4:]])
    assert again.events.dtype == EVENT
    assert (again.events == whole.events).all()


def test_empty_events_have_their_header() -> None:
    events = empty_events(3)
    assert [events[name].tolist() for name in HEADER_FIELDS] == [[value] * 3 for value in MESSAGE.header]
    assert events.tobytes()[8:224] == bytes(216)
    assert len(empty_events(0)) == 0


def test_join_rows() -> None:
    events = some(10)
    packed = np.concatenate([events[:2], events[2:3]])
    for parts in ([events[:4], events[4:]], [packed, events[3:5], events[:0], events[5:]], [events]):
        found = join_rows(parts)
        assert found.dtype == EVENT
        assert (found == events).all()
    assert (join_rows([events[::2], events[1::2]]) == events[[*range(0, 10, 2), *range(1, 10, 2)]]).all()
