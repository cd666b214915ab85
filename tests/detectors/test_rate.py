"""Rate: each level finds its burst and names it, where it began; the statistic is that of the textbook."""

import math
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.config import RateConfig
from detectors.detector import Context
from detectors.flow import Flow, columns
from detectors.rate import Rate
from detectors.rate_series import STRATEGIES_MAX
from detectors.snapshot import dump, load
from detectors.totals import COLUMNS
from schemas.events import Kind, as_words, batch_of, empty_events
from schemas.units import S_NS
from tests.detectors.flows import START

PLAIN = RateConfig(
    prior_per_s=100.0, prior_strategy_per_s=50.0, prior_symbol_per_s=20.0, headroom=0.0,
    dispersion_min=1.0, dispersion_strategy=1.0, dispersion_symbol=1.0,
)  # fmt: skip


def orders(t: Any, symbols: list[bytes], strategies: list[bytes]) -> Flow:
    """Orders at stream times t (ns)."""
    t = np.asarray(t, np.int64)
    events = empty_events(len(t))
    events["kind"], events["server"], events["ts"] = Kind.order, b"R1", t
    events["symbol"], events["strategy"] = symbols, strategies
    events["cl_ord_id"] = [b"C%d" % i for i in range(len(t))]
    return columns("R1", batch_of(events), as_words(events), t)


def context(flow: Flow) -> Context:
    totals = np.zeros((len(flow) + 1, len(COLUMNS)), np.int64)
    none = cast(Any, None)
    return Context(flow, none, none, totals, none, none)


def spread(n: int, per_s: float, symbols: int, strategies: int, seed: int = 1) -> Flow:
    """Poisson orders over many symbols and strategies."""
    rng = np.random.default_rng(seed)
    t = START + np.cumsum(rng.exponential(S_NS / per_s, n)).astype(np.int64)
    names = [b"S%d" % i for i in rng.integers(0, symbols, n)]
    return orders(t, names, [b"A%d" % i for i in rng.integers(0, strategies, n)])


def reference(t: NDArray[np.int64], bound: float, jumps: tuple[float, ...]) -> NDArray[np.float64]:
    """The bank in floats, from its definition."""
    out, walks, last = [], [0.0] * len(jumps), 0
    for now in t.tolist():
        dt = min(now - last, 10 * S_NS) / S_NS
        walks = [max(0.0, w + math.log(r) - (r - 1) * bound * dt) for w, r in zip(walks, jumps, strict=True)]
        last = now
        out.append(max(walks))
    return np.array(out)


def test_the_servers_statistic_is_the_definition() -> None:
    flow = spread(3_000, 300.0, 500, 60)
    rate = Rate(PLAIN)
    rate.step(context(flow))
    wanted = reference(flow.t, 100.0, PLAIN.jumps)
    assert wanted.max() > 100
    at = wanted > 30
    assert np.allclose(rate.values()[at] / (1 << 30), wanted[at], rtol=2e-3)


@pytest.mark.parametrize(
    ("symbols", "strategies", "level", "name"),
    [(1, 30, "symbol", "S0"), (40, 1, "strategy", "A0"), (40, 40, "server", "")],
)
def test_the_level_that_bursts_is_named(symbols: int, strategies: int, level: str, name: str) -> None:
    rate = Rate(RateConfig())
    flow = spread(4_000, 4_000.0, symbols, strategies)
    step = context(flow)
    findings = rate.step(step)
    assert findings[0].edge == "open"
    told = rate.evidence(step, findings[0])
    assert told["series"] == level
    assert told.get(level, "") == name
    assert told["count"] > told["expected"]


def test_a_burst_in_one_symbol_shows_although_the_server_hardly_moves() -> None:
    quiet = spread(20_000, 100.0, 50, 8)
    rate = Rate(RateConfig())
    for a in range(0, len(quiet), 500):
        assert rate.step(context(quiet.part(a, a + 500))) == []
    begin = int(quiet.t[-1]) + S_NS
    burst = orders(begin + np.arange(400) * 2_000_000, [b"HOT"] * 400, [b"A1"] * 400)
    (found,) = [f for f in rate.step(context(burst)) if f.edge == "open"]
    # the order that ends a silence is no burst yet: the statistic leaves zero at the second
    assert found.first.cl_ord_id == "C1"
    assert found.began == begin + 2_000_000
    assert rate.series.name(0) == ("server", "")


@pytest.mark.parametrize("cuts", [[1], [7, 8, 300], list(range(1, 2_000, 13))])
def test_cutting_and_snapshots_change_nothing(cuts: list[int]) -> None:
    flow = spread(2_000, 900.0, 3, 2)
    whole = Rate(RateConfig())
    step = context(flow)
    wanted = [(f.index, f.edge, f.value, f.first, f.began, whole.evidence(step, f)) for f in whole.step(step)]
    assert wanted
    rate, got, values = Rate(RateConfig()), [], []
    for a, b in zip([0, *cuts], [*cuts, len(flow)], strict=True):
        part = context(flow.part(a, b))
        got += [(a + f.index, f.edge, f.value, f.first, f.began, rate.evidence(part, f)) for f in rate.step(part)]
        values.append(rate.values())
        fresh = Rate(RateConfig())
        load(fresh, dump(rate))
        rate = fresh
    assert np.array_equal(np.concatenate(values), whole.values())
    assert got == wanted


def test_more_strategies_and_symbols_than_are_remembered() -> None:
    rate = Rate(RateConfig())
    n = 30_000
    for a in range(0, n, 6_000):
        t = START + np.arange(a, a + 6_000) * 1_000_000
        names = [b"S%d" % i for i in range(a, a + 6_000)]
        rate.step(context(orders(t, names, [b"A%d" % (i % 200) for i in range(6_000)])))
    assert len(rate.series.rows) < 20_000
    assert rate.series.name(1 + 199 % STRATEGIES_MAX) == ("strategy", "A199")


def test_a_rate_that_was_learned_is_normal_for_its_series() -> None:
    rate, opened = Rate(RateConfig(dispersion_symbol=10.0)), 0
    t = START
    for minute in range(12):
        flow = orders(t + np.arange(1_500) * 40_000_000, [b"SPY"] * 1_500, [b"A1"] * 1_500)
        opened += len(rate.step(context(flow)))
        rate.minute(True)
        t += 60 * S_NS
        assert rate.normal.minutes == minute + 1
    assert opened == 0
    row = 1 + STRATEGIES_MAX
    assert rate.series.name(row) == ("symbol", "SPY")
    assert rate.series.learned[row] == pytest.approx(25.0, rel=0.01)
    rate.step(context(orders([t + S_NS], [b"SPY"], [b"A1"])))
    assert rate.series.bound_per_s(row, 10.0) == pytest.approx(100.0, rel=0.02)
