"""Prices that follow what a server holds."""

import numpy as np

from detectors.fleet.config import FleetConfig
from detectors.fleet.participation import Participation
from detectors.fleet.roster import Roster
from schemas.records import Breach, FeatureRow, Money, Source
from tests.detectors.fleet.fleet_world import NAMES

HALF_S = 500_000_000


def judged(steps: dict[str, list[float]], burn: float = 0.0) -> list[Breach]:
    """Verdicts when each server's mids bring it these profits (USD a half second), besides a burn that it pays."""
    detector, roster = Participation(FleetConfig()), Roster()
    total = dict.fromkeys(steps, 0.0)
    found: list[Breach] = []
    for k in range(len(next(iter(steps.values())))):
        now = k * HALF_S
        for name, each in steps.items():
            total[name] += (each[k] if k else 0.0) - burn
            row = FeatureRow(
                name, now + 1, k, {"orders": 1.0, "spread_burn_usd": burn}, {}, Source("orderflow", 0, k),
                Money(loss_usd=-total[name]),
            )  # fmt: skip
            roster.row(row, Source("verdicts", 0, k), now, 64)
        found += detector.judge(roster, now)
    return found


def noise(seed: int, n: int, size: float) -> list[float]:
    rng = np.random.default_rng(seed)
    return (rng.standard_t(3, n) * size).tolist()


def fleet(n: int, size: float = 2_000.0) -> dict[str, list[float]]:
    return {name: noise(i, n, size) for i, name in enumerate(NAMES)}


def test_prices_that_take_no_notice_raise_nothing_however_heavy_their_tails() -> None:
    """Eight servers, half an hour each, Student's t with 3 degrees of freedom."""
    assert not judged(fleet(3_600))


def test_a_push_that_lasts_is_found_within_a_minute() -> None:
    steps = fleet(200)
    steps["R3"][100:] = [6_000.0 + x for x in noise(99, 100, 2_000.0)]
    opened = [b for b in judged(steps) if b.state == "open"]
    assert [(b.detector, b.server, b.hard) for b in opened] == [("participation", "R3", False)]
    assert 16.0 <= (opened[0].ts - 1) / 1e9 - 50.0 <= 50.0
    assert opened[0].evidence["push_usd"] >= 20_000
    assert opened[0].evidence["share"] > 0.9


def test_what_it_pays_for_crossing_the_spread_does_not_hide_it() -> None:
    steps = fleet(200)
    steps["R3"][100:] = [6_000.0] * 100
    assert [b.server for b in judged(steps, burn=9_000.0) if b.state == "open"] == ["R3"]


def test_one_move_however_large_opens_nothing() -> None:
    steps = fleet(200)
    steps["R3"][100] = 5e6
    assert not judged(steps)


def test_a_small_push_is_no_business_of_ours() -> None:
    steps = fleet(400, 20.0)
    steps["R3"][100:] = [50.0] * 300
    assert not judged(steps)


def test_what_all_gain_alike_is_the_markets_doing() -> None:
    steps = {name: [6_000.0 + x for x in each] for name, each in fleet(400).items()}
    assert not judged(steps)
