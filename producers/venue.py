"""What the venues answer: acks, fills, partial fills, cancels, rejects and expiries of the children sent in a block.

Marketable children are matched against the ladder (``market.sweep``). Resting ones draw an outcome and a life time; a
fill of theirs still needs the market to be there when its time comes (``simulation``), else the order expires.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers.market import TICK9, sweep
from producers.tables import REC, Flag, Style
from producers.world import VENUES, World
from schemas.events import Kind, Side
from schemas.units import MS_NS, S_NS, US_NS

OUTCOMES: Final = (("fill", 0.50), ("part", 0.12), ("cancel", 0.20), ("replace", 0.12), ("expire", 0.06))
"""What becomes of a resting child, with its share."""
_EDGES: Final = np.cumsum([share for _, share in OUTCOMES])
LIFE_MEDIAN_S: Final = 0.8
LIFE_SIGMA: Final = 1.1


def _rows(
    base: NDArray[Any], kind: Kind, ts: NDArray[np.int64], qty: NDArray[np.int64] | int, px: Any = 0
) -> NDArray[Any]:
    """A copy of ``base`` as records of ``kind``."""
    out = base.copy()
    out["kind"] = kind
    out["ts"] = ts
    out["qty"] = qty
    out["px"] = px
    return out


def _latency(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Way to the venue and back in ns: 150 us and an exponential tail of 100 us."""
    ns: NDArray[np.int64] = (150 * US_NS + rng.standard_exponential(n) * (100 * US_NS)).astype(np.int64)
    return ns


class Venues:
    """Answers children; draws from ``world.rng_venue``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng_venue

    def respond(self, children: NDArray[Any]) -> None:
        """Put everything that will happen to ``children`` (CHILD, ordered by ts) on the calendar."""
        n = len(children)
        if not n:
            return
        base = np.zeros(n, REC)
        numbers = self._world.take_orders(n)
        base["order"] = base["cl"] = numbers
        base["orig"] = base["exec"] = -1
        for name in ("parent", "sym", "side", "server", "strat", "acct", "flags"):
            base[name] = children[name]
        base["sent"] = children["ts"]
        base["leaves"] = children["qty"]
        base["venue"] = self._rng.integers(0, len(VENUES), n)
        there = children["ts"] + _latency(self._rng, n)
        refuse = self._rng.random(n) < self._world.reject_share[children["server"]]
        style = np.where(refuse, Style.REJECT, children["style"])
        base["flags"] |= np.where(refuse & self._world.reject_bad[children["server"]], Flag.BAD, 0).astype(np.uint8)
        add = self._world.calendar.add
        add(_rows(base, Kind.order, children["ts"], children["qty"], children["px"]))
        refused = style == Style.REJECT
        if refused.any():
            add(_rows(base[refused], Kind.rejected, there[refused], children["qty"][refused]))
            kept = ~refused
            add(_rows(base[kept], Kind.ack, there[kept], children["qty"][kept], children["px"][kept]))
        else:
            add(_rows(base, Kind.ack, there, children["qty"], children["px"]))
        marketable = np.flatnonzero(style == Style.IOC)
        if len(marketable):
            self._match(base[marketable], there[marketable])
        resting = np.flatnonzero(style == Style.REST)
        if len(resting):
            self._rest(base[resting], children[resting], there[resting])
        parked = np.flatnonzero(style == Style.PARK)
        if len(parked):
            self._pull(base[parked], there[parked] + children["life_ns"][parked])

    def _match(self, base: NDArray[Any], there: NDArray[np.int64]) -> None:
        """Marketable children: executions against the ladder, the rest cancelled at once."""
        buy = base["side"] == Side.B
        sym = base["sym"].astype(np.int64)
        market = self._world.market
        done = sweep(sym * 2 + buy, base["leaves"], market.universe.depth[sym])
        own = done.order
        fills = base[own]
        touch = np.where(buy[own], market.ask[fills["sym"]] + done.level, market.bid[fills["sym"]] - done.level)
        fills["kind"] = Kind.fill
        fills["qty"] = done.qty
        fills["px"] = np.maximum(touch, 1) * TICK9
        run = np.cumsum(done.qty) - done.qty
        first = np.empty(len(own), np.bool_)
        first[:1] = True
        np.not_equal(own[1:], own[:-1], out=first[1:])
        fills["leaves"] -= run - np.maximum.accumulate(np.where(first, run, 0))
        fills["ts"] = there[own] + (20 + 15 * done.level) * US_NS + self._rng.integers(0, 10 * US_NS, len(own))
        fills["exec"] = self._world.take_execs(len(own))
        self._world.calendar.add(fills)
        left = base["leaves"] - done.filled
        over = left > 0
        if over.any():
            rest = base[over]
            rest["leaves"] = left[over]
            self._world.calendar.add(_rows(rest, Kind.canceled, there[over] + 90 * US_NS, left[over]))

    def _rest(self, base: NDArray[Any], children: NDArray[Any], there: NDArray[np.int64]) -> None:
        """Resting children: each draws its outcome and its life."""
        rng, n = self._rng, len(base)
        outcome = np.minimum(np.searchsorted(_EDGES, rng.random(n), side="right"), len(OUTCOMES) - 1)
        life = (np.clip(rng.lognormal(np.log(LIFE_MEDIAN_S), LIFE_SIGMA, n), 0.005, 20.0) * S_NS).astype(np.int64)
        end = there + np.where(children["life_ns"] > 0, children["life_ns"], life)
        life = end - there
        base["flags"] |= Flag.PASSIVE
        qty, px = base["leaves"].copy(), children["px"]
        part = np.maximum(1, (qty * rng.random(n)).astype(np.int64))
        part = np.where((part >= qty) | ((outcome == 0) & (rng.random(n) < 0.6)), 0, part)
        some = np.flatnonzero((outcome <= 1) & (part > 0))
        if len(some):
            self._fill(base[some], there[some] + life[some] // 2, part[some], px[some])
            base["leaves"][some] -= part[some]
        filled = np.flatnonzero(outcome == 0)
        if len(filled):
            self._fill(base[filled], end[filled], base["leaves"][filled], px[filled])
        pulled = np.flatnonzero((outcome == 1) | (outcome == 2))
        if len(pulled):
            self._pull(base[pulled], end[pulled])
        amended = np.flatnonzero(outcome == 3)
        if len(amended):
            self._amend(base[amended], px[amended], there[amended] + life[amended] // 3, end[amended])
        expired = np.flatnonzero(outcome == 4)
        if len(expired):
            self._world.calendar.add(_rows(base[expired], Kind.expired, end[expired], base["leaves"][expired]))

    def _fill(self, base: NDArray[Any], ts: NDArray[np.int64], qty: NDArray[np.int64], px: NDArray[np.int64]) -> None:
        fills = _rows(base, Kind.fill, ts, qty, px)
        fills["exec"] = self._world.take_execs(len(base))
        self._world.calendar.add(fills)

    def _pull(self, base: NDArray[Any], ts: NDArray[np.int64]) -> None:
        """The router cancels what is left of its orders at ``ts``."""
        asks = _rows(base, Kind.cancel, ts, 0)
        asks["cl"] = self._world.take_orders(len(base))
        asks["orig"] = base["cl"]
        gone = asks.copy()
        gone["kind"] = Kind.canceled
        gone["qty"] = base["leaves"]
        gone["ts"] = ts + _latency(self._rng, len(base))
        self._world.calendar.add(asks)
        self._world.calendar.add(gone)

    def _amend(self, base: NDArray[Any], px: NDArray[np.int64], ts: NDArray[np.int64], end: NDArray[np.int64]) -> None:
        """The router reprices by a tick towards the market (away where it would cross); filled under the new id."""
        buy = base["side"] == Side.B
        nearer = np.where(buy, px + TICK9, px - TICK9)
        crosses = np.where(buy, nearer >= self._world.ask9(base["sym"]), nearer <= self._world.bid9(base["sym"]))
        new_px = np.maximum(np.where(crosses, 2 * px - nearer, nearer), TICK9)
        asks = _rows(base, Kind.replace, ts, base["leaves"], new_px)
        asks["cl"] = self._world.take_orders(len(base))
        asks["orig"] = base["cl"]
        answers = asks.copy()
        answers["kind"] = Kind.replaced
        answers["ts"] = ts + _latency(self._rng, len(base))
        self._world.calendar.add(asks)
        self._world.calendar.add(answers)
        fills = base.copy()
        fills["cl"] = asks["cl"]
        self._fill(fills, np.maximum(end, answers["ts"] + MS_NS), base["leaves"], new_px)
