"""The median of the others, against the plain definition."""

from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from detectors.fleet.peers import BOUNDLESS, each_others, others, ratio

values = st.lists(st.one_of(st.floats(0, 1e6), st.sampled_from([0.0, 1.0, BOUNDLESS])), min_size=1, max_size=12)


@given(values, st.data())
def test_it_is_the_median_without_one(found: list[float], data: st.DataObject) -> None:
    own = data.draw(st.sampled_from(found))
    rest = list(found)
    rest.remove(own)
    assert others(sorted(found), own) == (median(rest) if rest else BOUNDLESS)
    assert others(sorted(found), None) == median(found)


@given(values)
def test_for_each_at_once_it_is_the_same_to_the_bit(found: list[float]) -> None:
    ordered = sorted(found)
    assert each_others(found, ordered) == [others(ordered, own) for own in found]


@given(values, st.floats(0, 1e6))
def test_one_bad_peer_of_three_shifts_it_no_further_than_the_good_ones(found: list[float], bad: float) -> None:
    good = sorted([*found[:1], *found[:1], *found[:1], 5.0])
    assert good[0] <= others(sorted([*good, bad]), 5.0) <= max(good[-1], 5.0)


def test_nothing_to_divide_by_is_boundless() -> None:
    assert ratio(3.0, 0.0) == ratio(0.0, 0.0) == BOUNDLESS
    assert ratio(3.0, 2.0) == 1.5
