"""The plot of an incident: made of any run, the same bytes each time, and small."""

from pathlib import Path

import numpy as np

from benchmarks.lab.quality_plots import POINTS_MAX, _held, _thinned, plot
from benchmarks.lab.trial import HaltSeen, Outcome, Trace
from schemas.units import S_NS

SERVERS = ("R1", "R2", "R3")


def run(loss_usd: float = 10.0, halted: bool = True) -> tuple[Outcome, Trace]:
    """200 s of three servers in slices of 100 ms; R2 in trouble after 100 s, halted 2 s later."""
    rng = np.random.default_rng(1)
    at = [round(k * 0.1 * S_NS) for k in range(1, 2_001)]
    rows = [(ts, name, {"rate": k / 1_000.0, "fanout": 0.0}) for k, ts in enumerate(at) for name in SERVERS]
    trace = Trace(at, [loss_usd * max(ts - 100 * S_NS, 0) / S_NS for ts in at], list(rng.poisson(4, (2_000, 3))), rows)
    halt = HaltSeen("server:R2", "HALTING", 102 * S_NS, ("rate", "fanout"), "")
    warning = HaltSeen("server:R2", "WARNED", 101 * S_NS, ("rate",), "")
    out = Outcome(
        "made-up", 7, SERVERS, 0, at[-1], 0, 100 * S_NS, 100 * S_NS, {"server:R2": 100 * S_NS}, (halt,) if halted else (),
        (warning,) if halted else (), 12, 12, loss_usd, 24_000, {}, {},
    )  # fmt: skip
    return out, trace


def test_it_says_what_was_halted_by_what_and_is_small(tmp_path: Path) -> None:
    path = plot(*run(), tmp_path / "one.svg")
    text = path.read_text(encoding="utf-8")
    assert "made-up, seed 7: server:R2 halted by rate, fanout after 2.00 s; 12 bad orders before, USD 10 lost" in text
    assert "R2 warned: rate" in text
    assert "R2 halted: rate, fanout" in text
    assert "fanout</text>" not in text.replace("rate, fanout</text>", ""), "a score that never moved has no line"
    assert len(text) < 60_000
    assert plot(*run(), tmp_path / "two.svg").read_bytes() == path.read_bytes()


def test_a_gain_and_a_run_without_a_halt_are_said(tmp_path: Path) -> None:
    assert "USD 10 gained" in plot(*run(loss_usd=-10.0), tmp_path / "gain.svg").read_text()
    assert "made-up, seed 7: not halted" in plot(*run(halted=False), tmp_path / "none.svg").read_text()


def test_thinning_keeps_the_mean_and_holding_ends_with_the_last_value() -> None:
    x = np.arange(1_000) * 0.1
    at, means = _thinned(x, np.arange(1_000.0), 100.0)
    assert len(at) <= POINTS_MAX + 1
    assert np.allclose(means, at * 10)
    held = _held(np.array([np.nan, 2.0, np.nan, 1.0, np.nan]))
    assert held[1:4].tolist() == [2.0, 2.0, 1.0]
    assert np.isnan(held[[0, 4]]).all()
