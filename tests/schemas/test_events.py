"""Rows are taken whole, whatever numpy made of the dtype."""

import numpy as np
import pytest

from schemas.events import EVENT, batch_of, concat, empty_events, take


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
