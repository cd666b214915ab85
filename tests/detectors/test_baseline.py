"""Baseline: robust, frozen in breach, and knows the time of day from the second day on."""

import numpy as np
import pytest

from detectors.baseline import Baseline
from schemas.units import MIN_NS, S_NS

DAY_MIN = 24 * 60
OPEN = 13 * 60 + 30


def feed(baseline: Baseline, minute: int, per_s: float, learn: bool = True, seed: int = 1, wild: int = 0) -> None:
    """A minute of Poisson counts, with one wild second."""
    rng = np.random.default_rng([seed, minute])
    counts = rng.poisson(per_s, 60).astype(np.int64)
    counts[30] += wild
    baseline.add(minute * MIN_NS + np.arange(60) * S_NS, counts)
    baseline.close(learn)


def day(baseline: Baseline, n: int, busy: float = 1.0) -> None:
    """Ten quiet minutes, then a busy open that ebbs."""
    for k in range(-10, 20):
        feed(baseline, n * DAY_MIN + OPEN + k, busy * (5.0 if k < 0 else 100.0 if k < 5 else 20.0))


def test_it_expects_the_open_from_the_second_day_on() -> None:
    baseline = Baseline()
    at_open = DAY_MIN + OPEN
    day(baseline, 0)
    before = baseline.expected(at_open)
    assert before == pytest.approx(100.0, rel=0.1)
    assert baseline.expected(at_open - 1) == pytest.approx(5.0, rel=0.2)
    assert baseline.expected(at_open + 12) == pytest.approx(20.0, rel=0.2)


def test_a_busy_day_raises_what_is_expected_of_the_rest_of_it() -> None:
    baseline = Baseline(memory_minutes=10)
    for n in range(3):
        day(baseline, n)
    for k in range(-10, 0):
        feed(baseline, 3 * DAY_MIN + OPEN + k, 10.0)
    assert 130.0 < baseline.expected(3 * DAY_MIN + OPEN) < 200.0


def test_nothing_is_expected_before_it_is_warm_and_breaches_are_not_learned() -> None:
    baseline = Baseline()
    feed(baseline, OPEN, 10.0)
    feed(baseline, OPEN + 1, 10.0)
    assert baseline.expected(OPEN + 2) == 0.0
    feed(baseline, OPEN + 2, 10_000.0, learn=False)
    assert not baseline.warm
    feed(baseline, OPEN + 3, 10.0)
    assert baseline.warm
    assert baseline.expected(OPEN + 400) == pytest.approx(10.0, rel=0.1)


@pytest.mark.parametrize("cold", [True, False])
def test_one_wild_second_moves_it_little(cold: bool) -> None:
    baseline = Baseline()
    for k in range(1 if cold else 10):
        feed(baseline, OPEN + k, 10.0, wild=100_000 if cold else 0)
    feed(baseline, OPEN + 10, 10.0, wild=100_000)
    assert baseline.mean < 12.0


def test_clusters_show_in_the_dispersion() -> None:
    baseline = Baseline()
    rng = np.random.default_rng(3)
    for minute in range(20):
        counts = 20 * rng.poisson(1.0, 60).astype(np.int64)
        baseline.add((OPEN + minute) * MIN_NS + np.arange(60) * S_NS, counts)
        baseline.close(True)
    assert baseline.dispersion == pytest.approx(20.0, rel=0.3)
