"""The efficiency benchmark, small: its yardstick against theory and simulation, and the real detector under it."""

import math

import numpy as np
import pytest

from benchmarks.efficiency import JUMPS, PER_S, Orders, alarm, calibrated, exact
from detectors.rate import Rate


def walk(jump: float, limit: float, rate: float, rng: np.random.Generator, most: int) -> int:
    """Orders to the alarm, by simulation."""
    w = 0.0
    for n, dt in enumerate(rng.exponential(1.0 / rate, most), 1):
        w = max(0.0, w + math.log(jump) - (jump - 1.0) * float(dt))
        if w >= limit:
            return n
    return most


@pytest.mark.parametrize("jump", [2.0, 10.0])
def test_the_chain_agrees_with_simulation(jump: float) -> None:
    rng = np.random.default_rng(1)
    reference = calibrated(jump, 500.0)
    limit = reference.width * 499.5
    lengths = [walk(jump, limit, 1.0, rng, 20_000) for _ in range(600)]
    assert np.mean(lengths) == pytest.approx(500.0, rel=0.15)
    waits = [walk(jump, limit, jump, rng, 20_000) for _ in range(600)]
    assert reference.delay() <= np.mean(waits) * 1.05


@pytest.mark.parametrize("jump", JUMPS)
def test_delay_is_between_the_limit_of_theory_and_little_more(jump: float) -> None:
    bits = math.log(jump) - 1 + 1 / jump
    assert 0.75 * math.log(1e6) / bits < calibrated(jump, 1e6).delay() < 1.3 * math.log(1e6) / bits


def test_the_detector_finds_a_jump_and_is_quiet_without() -> None:
    orders, rate = Orders(3), Rate(exact())
    quiet = orders.flow(1_343_827_800_000_000_000, 4_000, PER_S)
    assert alarm(rate, quiet) < 0
    at = alarm(rate, orders.flow(int(quiet.t[-1]), 500, 10 * PER_S))
    assert 3 <= at < 60
