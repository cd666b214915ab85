"""Parent orders arriving at the routers: a Poisson stream with a time-of-day profile, and bursts as on real days.

Real days look alarming: on tapes of 2012-2013 the busiest second holds 6 to 10 times what the 99th percentile second
does, and one side has >= 80 % of the volume in 17 to 34 % of symbol-minutes (notes on ordinary flow). Hence bursts with
a Pareto tail (index 2.6: over a day the largest is about 8 times that of the 99th percentile), from one server's basket
to news in one symbol to the whole fleet, and buying probabilities per symbol that are Beta(6, 6) and last minutes.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers import arriving
from producers.world import RETAIL, World
from schemas.units import MS_NS, S_NS

PARENTS_PER_S: Final = 2.0
"""Per server, in the middle of the day, bursts not counted."""
BURST_EVERY_S: Final = 10.0
"""Per server. With BURST_SIZE and the tail this is about five more parents a second."""
BURST_SIZE: Final = 30.0
BURST_SIZE_MAX: Final = 1_500
BURST_TAIL: Final = 2.6
REGIME_S: Final = 180.0
CLIP_MEDIAN: Final = 22.0
"""Shares of a child, before round lots."""
CLIP_SIGMA: Final = 1.2
_LOG_CLIP: Final = float(np.log(CLIP_MEDIAN))
FEW: Final = 8
"""Draws with a parameter each that are faster one by one."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How a strategy slices: share of parents, share of marketable children, mean wait (s), mean number of children."""

    share: float
    aggressive: float
    wait_s: float
    children: float


HABITS: Final = (
    Habit(0.25, 0.35, 2.0, 7.0),
    Habit(0.15, 0.30, 1.5, 8.0),
    Habit(0.20, 0.50, 0.8, 6.0),
    Habit(0.15, 0.90, 0.25, 5.0),
    Habit(0.15, 0.95, 0.05, 1.5),
    Habit(0.10, 0.00, 1.0, 5.0),
)
"""In the order of ``world.STRATEGIES``."""


def time_of_day(since_open_s: float, session_s: float) -> float:
    """Intensity against the middle of the day: 0.6 before the open, 1.8 after it, and up again towards the close."""
    if since_open_s < 0:
        return 0.6
    to_close = session_s - since_open_s
    if to_close < 0:
        return 0.3
    return 0.9 + 0.9 * float(np.exp(-since_open_s / 1_200)) + 0.8 * float(np.exp(-to_close / 900))


class Arrivals:
    """Draws parents block by block. Scenarios bend it through the public factors.

    server_factor: (n_servers,) multiplies the rate; symbol_factor: (n_symbols,) multiplies each symbol's share and the
    overall rate with it; buy_shift: (n_symbols,) added to the probability of buying; clip_factor scales sizes.
    """

    def __init__(self, world: World, end_ns: int, intensity: float) -> None:
        self._world = world
        self._rng = world.rng_arrivals
        self._rate = PARENTS_PER_S * intensity
        self.server_factor = np.ones(world.n_servers)
        self.symbol_factor = np.ones(world.n_symbols)
        self.buy_shift = np.zeros(world.n_symbols)
        self.clip_factor = 1.0
        self.tod = time_of_day
        self.strategy_share = np.cumsum([h.share for h in HABITS])
        self._buy = self._rng.beta(6.0, 6.0, world.n_symbols)
        self._session_s = (world.close_ns - world.open_ns) / S_NS
        self._bursts = self._plan_bursts(end_ns, intensity)
        self._next_burst = 0
        self._burst_ts = self._bursts["ts"].tolist()
        self._habits = np.array([[h.aggressive, h.wait_s * S_NS, h.children] for h in HABITS]).T.copy()
        self._turned = np.empty(world.n_symbols, np.int64)
        self._known_factor = self.symbol_factor.copy()
        self._weigh()

    def _plan_bursts(self, end_ns: int, intensity: float) -> NDArray[Any]:
        """(m,) of ts, server (-1 all), sym (-1 any), size, spread_ns, ordered by ts."""
        world, rng = self._world, self._rng
        span_s = max(0.0, (end_ns - world.start_ns) / S_NS)
        count = int(rng.poisson(span_s / BURST_EVERY_S * world.n_servers))
        out = np.zeros(
            count, [("ts", "i8"), ("server", "i2"), ("sym", "i2"), ("size", "i8"), ("spread_ns", "i8"), ("lean", "f8")]
        )
        out["ts"] = np.sort(rng.integers(world.start_ns, end_ns, count)) if count else 0
        kind = rng.choice(3, count, p=[0.90, 0.07, 0.03])  # a server's basket; news in a symbol; the whole fleet
        out["server"] = np.where(kind == 0, rng.integers(0, world.n_servers, count), -1)
        sym = np.searchsorted(np.cumsum(world.universe.weight), rng.random(count) * 0.999999)
        out["sym"] = np.where(kind == 1, sym, -1)
        size = BURST_SIZE * intensity * (rng.pareto(BURST_TAIL, count) + 1.0)
        per_server = np.where(kind == 0, 1.0, world.n_servers * 0.6)
        out["size"] = np.minimum(size * per_server, BURST_SIZE_MAX * world.n_servers)
        out["spread_ns"] = rng.integers(20 * MS_NS, 400 * MS_NS, count)
        out["lean"] = rng.beta(3.0, 3.0, count)
        return out

    def add_burst(self, ts: int, size: int, *, server: int = -1, sym: int = -1, spread_ns: int, lean: float) -> None:
        """One burst more, whose time (ns) has not come: ``size`` parents over ``spread_ns``, on a server (-1: on all), in a
        symbol (-1: in any), of which a share ``lean`` buys."""
        one = np.array([(ts, server, sym, size, spread_ns, lean)], self._bursts.dtype)
        at = self._bursts["ts"].searchsorted(ts, side="right")
        if at < self._next_burst:
            raise ValueError(f"a burst at {ts} ns; expected one that comes after those that have been")
        self._bursts = np.concatenate([self._bursts[:at], one, self._bursts[at:]])
        self._burst_ts = self._bursts["ts"].tolist()

    def step(self, start_ns: int, end_ns: int) -> None:
        """New parents of one block."""
        world, rng = self._world, self._rng
        turns, changed, even = arriving.look(
            rng.random(world.n_symbols), (end_ns - start_ns) / S_NS / REGIME_S, self._turned,
            self.symbol_factor, self._known_factor, self.server_factor,
        )  # fmt: skip
        if turns:
            self._buy[self._turned[:turns]] = rng.beta(6.0, 6.0, turns)
        if changed:
            self._weigh()
        shape = self.tod((start_ns - world.open_ns) / S_NS, self._session_s)
        mean = self._rate * shape * self._weight * (end_ns - start_ns) / S_NS
        if even:  # the same draws as of many means, in a tenth of the time
            counts = rng.poisson(mean * float(self.server_factor[0]), world.n_servers)
        else:
            counts = rng.poisson(mean * self.server_factor)
        n = sum(counts.tolist())
        if n:
            share, placed = rng.random(n), np.empty((2, n), np.int64)
            arriving.place(counts, self._edges, self._buy, self.buy_shift, share, placed)
            self._accept(rng.integers(start_ns, end_ns, n), placed[0], placed[1], share)
        while self._next_burst < len(self._bursts) and self._burst_ts[self._next_burst] < end_ns:
            self._burst(self._bursts[self._next_burst], self._edges, shape)
            self._next_burst += 1

    def _weigh(self) -> None:
        """Symbols' shares have changed."""
        weight = self._world.universe.weight * self.symbol_factor
        self._weight, self._edges = float(weight.sum()), np.cumsum(weight)

    def _burst(self, burst: Any, edges: NDArray[np.float64], shape: float) -> None:
        world, rng = self._world, self._rng
        n = max(1, int(burst["size"] * min(shape, 1.0)))
        server = np.full(n, burst["server"]) if burst["server"] >= 0 else rng.integers(0, world.n_servers, n)
        drawn = np.searchsorted(edges, rng.random(n) * edges[-1] * (1 - 1e-12))
        sym = np.full(n, burst["sym"]) if burst["sym"] >= 0 else drawn
        ts = burst["ts"] + rng.integers(0, burst["spread_ns"], n)
        self.accept(ts, server, sym, np.full(n, burst["lean"]), children_factor=0.5)

    def accept(
        self, ts: NDArray[np.int64], server: NDArray[Any], sym: NDArray[Any], buy_share: NDArray[np.float64],
        strategy: int = -1, like: int = -1, children_factor: float = 1.0,
    ) -> NDArray[np.int64]:  # fmt: skip
        """Parents accepted by routers at ``ts``; draws strategy (unless given), account, side, sizes. Returns rows.

        like: the habit that a given strategy has (an index of HABITS)."""
        first = self._world.parents.n
        self._accept(
            np.ascontiguousarray(ts, np.int64), np.ascontiguousarray(server, np.int64),
            np.ascontiguousarray(sym, np.int64), np.ascontiguousarray(buy_share, np.float64),
            strategy, like, children_factor,
        )  # fmt: skip
        return np.arange(first, self._world.parents.n)

    def _accept(
        self, ts: NDArray[np.int64], server: NDArray[np.int64], sym: NDArray[np.int64], buy_share: NDArray[np.float64],
        strategy: int = -1, like: int = -1, children_factor: float = 1.0,
    ) -> None:  # fmt: skip
        world, rng, habits = self._world, self._rng, self._habits
        taken, share = np.empty((5, len(ts)), np.int64), np.empty(len(ts))
        n = arriving.admit(
            ts, server, sym, buy_share, ts.argsort(kind="stable"), world.paused, world.halted, taken, share
        )
        if not n:
            return
        chances = rng.random(n)
        arriving.choose(chances, self.strategy_share, strategy, like, habits, children_factor, taken)
        clip, lots = rng.lognormal(_LOG_CLIP, CLIP_SIGMA, n), rng.random(n)
        children = geometric(rng, chances)
        sells, buys, account = rng.random(n), rng.random(n), rng.integers(0, RETAIL, n)
        first = world.parents.room(n)
        arriving.write(
            world.parents.table, first, world.calendar.room(n), taken, share, habits, self.clip_factor,
            clip, lots, children, sells, buys, account,
        )  # fmt: skip
        world.parents.n += n
        world.calendar.wrote(n)


def geometric(rng: np.random.Generator, chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """``rng.geometric(chance)``: of few, the same draws one by one, in a third of the time."""
    if len(chance) > FEW:
        return rng.geometric(chance)
    return np.array([rng.geometric(p) for p in chance.tolist()], np.int64)
