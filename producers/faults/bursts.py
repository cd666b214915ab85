"""Floods of like orders from one strategy of one server; which flood is said by a ``Pattern``.

Numbers: domain notes 2.6; (n) is the row there.
- one-lot-burst (3): Infinium, crude oil, 2010-02-03: 6,767 one-lot limit buys in about 3 s (2,256/s), 4,612 filled in
  24 s, 2,155 cancelled; the algorithm's first live run.
- short-burst (18): Aardvark, 2014-11-13: 17,000 contracts in 9 s, shorter than any one-minute window.
- basket-burst (6): Everbright, 2013-08-16: 26,082 orders in about 2 min (217/s), all buys of a basket; of RMB 23.4 bn
  ordered 7.27 bn were done (31 %); the error path sent again what it took for unsent.
- zero-price-repeat (11): Deutsche, Osaka, 2010-06-01: 6,910 to 12,000 repeats of one small order in about a minute,
  0.3 % filled; a price read as zero. Blind spot of whoever counts executions.
- constant-price (5): Goldman, options, 2013-08-20: about 16,000 orders at USD 1 over many series in less than an hour
  before the open; 1.5 m contracts done within minutes of it.
- ping-pong (14): Traditum, 2011-11-10: 3,540 one-lot round turns in 2 min (29.5 pairs/s); net zero.
- flow-after-halt: a server that does not ask its gate; 120 orders/s beyond full parents. No source; design section 5.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from producers.arrivals import Arrivals
from producers.faults.culprit import children, liquid_symbols, own_parents, sell_side, strategy, times, touch, want
from producers.tables import Flag, Style
from producers.world import RETAIL, World
from schemas.events import Side
from schemas.scopes import FIRM
from schemas.units import PRICE9, S_NS

OPEN_END_S: Final = 900.0
"""Seconds for which the parents of a flood without an end have room."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A flood. seconds: how long (0: to the end). marketable: share filled at once; the rest lie for ``life_s`` and are
    cancelled. parent_qty: of each symbol's parent (0: enough, so that nothing is beyond it)."""

    orders_per_s: float
    seconds: float
    strategy: str
    symbols: int = 1
    sides: str = "one"
    """one (drawn), buy, or both (as pairs)."""
    qty: int = 1
    price: str = "touch"
    """touch, zero (a market order) or one_usd."""
    marketable: float = 1.0
    life_s: float = 20.0
    parent_qty: int = 0
    waits_for_open: bool = False
    """Before the open everything lies; from then on it is marketable, and five times as much."""
    deaf: bool = False


ONE_LOT: Final = Pattern(2_256, 3.0, "FIRSTRUN", marketable=0.68)
SHORT: Final = Pattern(189, 9.0, "SPRINT", qty=10)
BASKET: Final = Pattern(217, 120.0, "ETFARB", symbols=150, sides="buy", qty=300, marketable=0.31, parent_qty=900)
ZERO_PRICE: Final = Pattern(160, 60.0, "STATARB", qty=10, price="zero", marketable=0.003, life_s=5.0)
CONSTANT_PRICE: Final = Pattern(
    5.3, 0, "AXES", symbols=154, sides="sell", qty=100, price="one_usd", life_s=3_600.0, waits_for_open=True
)
PING_PONG: Final = Pattern(59, 120.0, "MM1", sides="both")
DEAF: Final = Pattern(120, 0, "VWAP", symbols=20, qty=100, parent_qty=300, deaf=True)


class Burst:
    """One flood from ``onset_ns`` on; server, symbols, side and rate (within 15 %) are drawn."""

    def __init__(self, rng: np.random.Generator, onset_ns: int, pattern: Pattern) -> None:
        self._rng, self._onset, self._pattern = rng, onset_ns, pattern
        self._rate = pattern.orders_per_s * rng.uniform(0.85, 1.15)
        self._end = onset_ns + int(pattern.seconds * S_NS) if pattern.seconds else np.iinfo(np.int64).max

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw where and what."""
        self._world, rng, pattern = world, self._rng, self._pattern
        self._server = int(rng.integers(world.n_servers))
        own = pattern.strategy not in world.strategies
        self._strat = strategy(world, pattern.strategy)
        self._acct = int(rng.integers(RETAIL))
        self._sym = liquid_symbols(rng, world, pattern.symbols)
        self._rows = np.zeros(0, np.int64)
        self._sells = np.zeros(0, np.int64)
        side = {"buy": Side.B, "sell": sell_side(rng)}.get(pattern.sides, rng.choice([Side.B, sell_side(rng)]))
        self._side = int(Side.B if pattern.sides == "both" else side)
        want(world, self._onset, server=self._server, strat=self._strat if own else None)
        if pattern.deaf:
            world.truth.want(FIRM, self._onset)
        world.truth.params.update(
            server=world.servers[self._server], orders_per_s=round(self._rate, 1), strategy=pattern.strategy,
            symbols=[s.decode() for s in world.universe.symbols[self._sym[:5]]], side=Side(self._side).name,
        )  # fmt: skip

    def _begin(self, ts: int) -> None:
        pattern, qty = self._pattern, self._pattern.parent_qty
        enough = self._enough()
        self._rows = own_parents(
            self._world, ts, self._server, self._sym, self._side, qty or enough, strat=self._strat, acct=self._acct
        )
        if pattern.sides == "both":
            self._sells = own_parents(
                self._world, ts, self._server, self._sym, Side.S, qty or enough, strat=self._strat, acct=self._acct
            )

    def _enough(self) -> int:
        """Shares a parent needs for the flood to fit into it, and half as many again; more would give the flood away
        before its first order. What is cancelled unfilled frees its shares."""
        pattern = self._pattern
        orders = self._rate * (pattern.seconds or OPEN_END_S) * (5.0 if pattern.waits_for_open else 1.0)
        lying = self._rate * min(pattern.life_s, pattern.seconds or OPEN_END_S) * (1.0 - pattern.marketable)
        return max(int(1.5 * (orders * pattern.marketable + lying) / pattern.symbols), 50) * pattern.qty

    def block(self, start_ns: int, end_ns: int) -> None:
        """The flood of one block."""
        world, pattern, rng = self._world, self._pattern, self._rng
        if end_ns <= self._onset or start_ns >= self._end:
            return
        if not len(self._rows):
            self._begin(max(start_ns, self._onset))
        opened = pattern.waits_for_open and start_ns >= world.open_ns
        rate = self._rate * (5.0 if opened else 1.0) / (2.0 if pattern.sides == "both" else 1.0)
        ts = times(rng, max(start_ns, self._onset) + 200_000, min(end_ns, self._end), rate)
        if not len(ts):
            return
        pick = rng.integers(0, len(self._rows), len(ts))
        self._send(self._rows[pick], ts, opened)
        if len(self._sells):
            self._send(self._sells[pick], np.minimum(ts + 2_000_000, end_ns - 1), opened)

    def _send(self, rows: NDArray[np.int64], ts: NDArray[np.int64], opened: bool) -> None:
        world, pattern = self._world, self._pattern
        sym, buy = world.parents.sym[rows], world.parents.side[rows] == Side.B
        px = touch(world, sym, buy)
        if pattern.price == "zero":
            px = np.zeros(len(rows), np.int64)
        elif pattern.price == "one_usd":
            px = np.full(len(rows), PRICE9)
        share = 1.0 if opened or not pattern.waits_for_open else 0.0
        style = np.where(self._rng.random(len(rows)) < pattern.marketable * share, Style.IOC, Style.PARK)
        out = children(
            world, rows, ts, pattern.qty, px, style=style, life_ns=int(pattern.life_s * S_NS), free=pattern.deaf
        )
        if pattern.parent_qty:  # what still fits into the parents is as it should be
            out["flags"][world.parents.committed[rows] <= pattern.parent_qty] &= ~np.uint8(Flag.BAD)
        world.send(out)
