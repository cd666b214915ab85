"""How close the rate detector comes to the fastest possible: its delay against a CUSUM that knows the jump.

    python -m benchmarks.efficiency [--json] [--events N] [--runs N] [--seed N]

Poisson orders of one server, 4 strategies, 10 symbols: 15 series, all watched by ``detectors.rate.Rate`` as in stage 1
(its own step, its own excursion). Its bounds are set to the true rates and its dispersion to 1. First the average run
length without a change is measured, in orders (runs restart at each alarm; alarms are few, so with its 95 % interval).
Then all rates jump by a factor after the detector has run in, and the delay is the orders up to and with the alarm.

The yardstick: a CUSUM of the same orders that was told the factor (optimal for a known jump in the event clock, El
Karoui, Loisel and Salhi 2017), its limit set so that its run length is the *measured* one, both by a Brook-Evans
(1972) Markov chain of its exact increments. efficiency = its delay / ours; 1 is the theoretical best.

``shipped``: the defaults instead (headroom, priors, dispersion) on the same flow: what caution costs.
"""

import argparse
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from detectors.config import RateConfig
from detectors.detector import Context
from detectors.flow import Flow, columns
from detectors.rate import Rate
from detectors.totals import COLUMNS
from schemas.events import Kind, as_words, batch_of, empty_events
from schemas.units import MIN_NS, S_NS

JUMPS = (2.0, 5.0, 10.0, 20.0)
PER_S = 1_000.0
"""Orders per second before the jump. Without a bound in orders per second nothing depends on it."""
STRATEGIES, SYMBOLS = 4, 10
SERIES = 1 + STRATEGIES + SYMBOLS
ARL_ASKED = 1e5
"""``arl_events`` of the detector under test: a guarantee, which what is measured exceeds by an order of magnitude."""
RUN_IN = 400
"""Orders before a jump."""
SHIPPED_PER_S = 36.0
"""Orders per second of a server on the simulator's ordinary day."""
_CHUNK = 8_192
_START = 1_343_827_800_000_000_000
_STATES = 500

Floats = NDArray[np.float64]


def exact() -> RateConfig:
    """Bounds equal to the true rates, no headroom, no dispersion."""
    return RateConfig(
        arl_events=ARL_ASKED, prior_per_s=PER_S, prior_strategy_per_s=PER_S / STRATEGIES,
        prior_symbol_per_s=PER_S / SYMBOLS, headroom=0.0, dispersion_min=1.0, dispersion_strategy=1.0,
        dispersion_symbol=1.0,
    )  # fmt: skip


class Orders:
    """Poisson orders, one flow at a time."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.events = empty_events(_CHUNK)
        self.events["kind"] = Kind.order
        self.events["server"] = b"R1"
        self.symbols = np.array([b"SYM%d" % i for i in range(SYMBOLS)])
        self.strategies = np.array([b"ALGO%d" % i for i in range(STRATEGIES)])

    def flow(self, after_ns: int, n: int, per_s: float) -> Flow:
        """n orders after a time, at a rate; n <= 8192."""
        rng, events = self.rng, self.events[:n]
        t = after_ns + np.cumsum(np.ceil(rng.exponential(S_NS / per_s, n)).astype(np.int64))
        events["ts"] = t
        events["symbol"] = self.symbols[rng.integers(0, SYMBOLS, n)]
        events["strategy"] = self.strategies[rng.integers(0, STRATEGIES, n)]
        return columns("R1", batch_of(events), as_words(events), t)


def alarm(rate: Rate, flow: Flow) -> int:
    """Index of the order that opens a breach, -1 for none. The flow is handed over a minute at a time, as in stage 1."""
    minutes = flow.t // MIN_NS
    cuts = [0, *(np.flatnonzero(np.diff(minutes)) + 1).tolist(), len(flow)]
    for a, b in pairwise(cuts):
        if a:
            rate.minute(True)
        part = flow.part(a, b)
        totals = np.zeros((b - a + 1, len(COLUMNS)), np.int64)
        for finding in rate.step(
            Context(part, cast(Any, None), cast(Any, None), totals, cast(Any, None), cast(Any, None))
        ):
            if finding.edge == "open":
                return a + finding.index
    return -1


def run_length(orders: Orders, config: RateConfig, events: int) -> tuple[int, int]:
    """Orders seen without a change, and the alarms among them."""
    rate, now, seen, alarms = Rate(config), _START, 0, 0
    while seen < events:
        flow = orders.flow(now, _CHUNK, PER_S)
        now = int(flow.t[-1])
        at = alarm(rate, flow)
        seen += len(flow) if at < 0 else at + 1
        if at >= 0:
            alarms += 1
            rate = Rate(config)
    return seen, alarms


def delays(
    orders: Orders, config: RateConfig, jump: float, runs: int, per_s: float = PER_S
) -> Iterator[tuple[int, float]]:
    """Delay of each run, in orders and seconds; runs with an alarm before the jump are left out, -1 where none came."""
    for _ in range(runs):
        rate = Rate(config)
        before = orders.flow(_START, RUN_IN, per_s)
        if alarm(rate, before) >= 0:
            continue
        jumped = now = int(before.t[-1])
        waited = 0
        found = (-1, math.nan)
        while waited < 50 * _CHUNK and now < jumped + 300 * S_NS:
            flow = orders.flow(now, 256 if jump > 2.0 and per_s == PER_S else 1_024, per_s * jump)
            at = alarm(rate, flow)
            if at >= 0:
                found = (waited + at + 1, (int(flow.t[at]) - jumped) / S_NS)
                break
            waited, now = waited + len(flow), int(flow.t[-1])
        yield found


class Cusum:
    """W = max(0, W + ln r - (r - 1) l0 dt) at each order, alarm at W >= limit, as a Markov chain of ``_STATES`` cells."""

    def __init__(self, jump: float, limit: float) -> None:
        self.jump, self.width = jump, limit / (_STATES - 0.5)

    def moves(self, rate: float) -> Floats:
        """(m, m) chances from cell to cell; dt exponential with this rate in units of l0."""
        centre = np.arange(_STATES) * self.width
        edges = np.concatenate([[-np.inf], (np.arange(_STATES) + 0.5) * self.width])
        gap = (math.log(self.jump) + centre[:, None] - edges[None, :]) / (self.jump - 1.0)
        chance = np.exp(-rate * np.maximum(gap, 0.0))
        return np.asarray(chance[:, 1:] - chance[:, :-1], np.float64)

    def run_length(self) -> float:
        """Mean orders to a false alarm, from zero."""
        return float(np.linalg.solve(np.eye(_STATES) - self.moves(1.0), np.ones(_STATES))[0])

    def delay(self) -> float:
        """Mean orders to the alarm after the jump, from where the walk is in the long run."""
        now = np.zeros(_STATES)
        now[0], before = 1.0, self.moves(1.0)
        for _ in range(RUN_IN):
            now = now @ before
            now /= now.sum()
        return float(now @ np.linalg.solve(np.eye(_STATES) - self.moves(self.jump), np.ones(_STATES)))


def calibrated(jump: float, run_length: float) -> Cusum:
    """The CUSUM of this run length. Its logarithm is nearly the limit plus a constant, so that few steps suffice."""
    limit = math.log(run_length)
    for _ in range(8):
        off = math.log(run_length / Cusum(jump, limit).run_length())
        limit = max(limit + off, 0.1)
        if abs(off) < 1e-4:
            break
    return Cusum(jump, limit)


def measure(events: int, runs: int, seed: int) -> dict[str, Any]:
    """The document of design section 11, and what the shipped settings make of it."""
    orders, config = Orders(seed), exact()
    seen, alarms = run_length(orders, config, events)
    arl = seen / max(alarms, 1)
    rows = []
    for jump in JUMPS:
        found = np.array(list(delays(orders, config, jump, runs)))
        ours, reference = float(found[:, 0].mean()), calibrated(jump, arl)
        rows.append(
            {
                "jump": jump, "arl_events": round(arl), "ours_delay": round(ours, 2),
                "ours_delay_se": round(float(found[:, 0].std()) / math.sqrt(len(found)), 2),
                "ours_delay_s": round(float(found[:, 1].mean()), 6), "cusum_delay": round(reference.delay(), 2),
                "efficiency": round(reference.delay() / ours, 3), "runs": len(found),
            }
        )  # fmt: skip
    spread = 1.96 / math.sqrt(max(alarms, 1))
    return {
        "rows": rows, "series": SERIES, "arl_events_asked": ARL_ASKED, "events": seen, "alarms": alarms,
        "arl_events_95": [round(arl * math.exp(-spread)), round(arl * math.exp(spread))],
        "shipped": shipped(orders), "shipped_per_s": SHIPPED_PER_S,
    }  # fmt: skip


def shipped(orders: Orders, runs: int = 10) -> list[dict[str, Any]]:
    """Delays under the defaults; a jump below what they allow for is never found."""
    out = []
    for jump in (*JUMPS, 50.0):
        found = np.array(list(delays(orders, RateConfig(), jump, runs, SHIPPED_PER_S)))
        hits = found[found[:, 0] >= 0]
        none = {"jump": jump, "found": 0, "runs": len(found)}
        some = {"found": len(hits), "delay": round(float(hits[:, 0].mean()), 1) if len(hits) else 0.0}
        seconds = {"delay_s": round(float(hits[:, 1].mean()), 2)} if len(hits) else {}
        out.append({**none, **some, **seconds})
    return out


def main() -> None:
    """Print the table, or the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--events", type=int, default=40_000_000, help="orders for the run length")
    parser.add_argument("--runs", type=int, default=1_000, help="jumps of each size")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = measure(given.events, given.runs, given.seed)
    if given.json:
        print(json.dumps(found))
        return
    low, high = found["arl_events_95"]
    print(
        f"{found['series']} series, {found['alarms']} false alarms in {found['events']:,} orders: one in {low:,} to {high:,}"
    )
    print("jump   our delay   CUSUM's   efficiency")
    for row in found["rows"]:
        print(f"{row['jump']:4g} {row['ours_delay']:9.1f} {row['cusum_delay']:9.1f} {row['efficiency']:12.2f}")
    print(f"shipped settings, {found['shipped_per_s']:g} orders/s before:")
    for row in found["shipped"]:
        print(
            f"{row['jump']:4g}   found {row['found']} of {row['runs']}"
            + (f", {row['delay_s']} s" if row["found"] else "")
        )


if __name__ == "__main__":
    main()
