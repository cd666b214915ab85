"""The venues' answers in plain numpy, whole columns at a time: what ``producers.venue`` has to put on the calendar."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.market import TICK9, sweep
from producers.tables import REC, Flag, Style, join
from producers.venue import LIFE_MEDIAN_S, LIFE_SIGMA, OUTCOMES
from producers.world import VENUES, World
from schemas.events import Kind, Side
from schemas.units import MS_NS, S_NS, US_NS

Rows = NDArray[Any]
EDGES = np.cumsum([share for _, share in OUTCOMES])


def rows(base: Rows, kind: Kind, ts: Any, qty: Any, px: Any = 0) -> Rows:
    out = base.copy()
    out["kind"], out["ts"], out["qty"], out["px"] = kind, ts, qty, px
    return out


class PlainVenues:
    """Answers children; ``put`` collects what goes on the calendar, in the order in which it is put there."""

    def __init__(self, world: World) -> None:
        self.world, self.rng = world, world.rng_venue
        self.put: list[Rows] = []

    def way(self, n: int) -> Rows:
        return (150 * US_NS + self.rng.standard_exponential(n) * (100 * US_NS)).astype(np.int64)

    def respond(self, children: Rows) -> Rows:
        world, n = self.world, len(children)
        children = children[np.argsort(children["ts"], kind="stable")]
        base = np.zeros(n, REC)
        base["order"] = base["cl"] = world.take_orders(n)
        base["orig"] = base["exec"] = -1
        for name in ("parent", "sym", "side", "server", "strat", "acct", "flags"):
            base[name] = children[name]
        base["sent"], base["leaves"] = children["ts"], children["qty"]
        base["venue"] = self.rng.integers(0, len(VENUES), n)
        there = children["ts"] + self.way(n)
        refuse = self.rng.random(n) < world.reject_share[children["server"]]
        style = np.where(refuse, Style.REJECT, children["style"])
        base["flags"] |= np.where(refuse & world.reject_bad[children["server"]], Flag.BAD, 0).astype(np.uint8)
        self.put.append(rows(base, Kind.order, children["ts"], children["qty"], children["px"]))
        refused, kept = style == Style.REJECT, style != Style.REJECT
        self.put.append(rows(base[refused], Kind.rejected, there[refused], children["qty"][refused]))
        self.put.append(rows(base[kept], Kind.ack, there[kept], children["qty"][kept], children["px"][kept]))
        ioc, rest, park = (np.flatnonzero(style == s) for s in (Style.IOC, Style.REST, Style.PARK))
        self.match(base[ioc], there[ioc])
        self.rest(base[rest], children[rest], there[rest])
        self.pull(base[park], there[park] + children["life_ns"][park])
        return join(self.put)

    def match(self, base: Rows, there: Rows) -> None:
        if not len(base):
            return
        buy, sym, market = base["side"] == Side.B, base["sym"].astype(np.int64), self.world.market
        done = sweep(sym * 2 + buy, base["leaves"], market.universe.depth[sym])
        own = done.order
        fills = base[own]
        touch = np.where(buy[own], market.ask[fills["sym"]] + done.level, market.bid[fills["sym"]] - done.level)
        fills["kind"], fills["qty"], fills["px"] = Kind.fill, done.qty, np.maximum(touch, 1) * TICK9
        for i in range(1, len(own)):
            if own[i] == own[i - 1]:
                fills["leaves"][i] = fills["leaves"][i - 1] - done.qty[i - 1]
        fills["ts"] = there[own] + (20 + 15 * done.level) * US_NS + self.rng.integers(0, 10 * US_NS, len(own))
        fills["exec"] = self.world.take_execs(len(own))
        left = base["leaves"] - done.filled
        over = left > 0
        rest = base[over]
        rest["leaves"] = left[over]
        self.put += [fills, rows(rest, Kind.canceled, there[over] + 90 * US_NS, left[over])]

    def rest(self, base: Rows, children: Rows, there: Rows) -> None:
        if not len(base):
            return
        rng, n = self.rng, len(base)
        outcome = np.minimum(np.searchsorted(EDGES, rng.random(n), side="right"), len(OUTCOMES) - 1)
        life = (np.clip(rng.lognormal(np.log(LIFE_MEDIAN_S), LIFE_SIGMA, n), 0.005, 20.0) * S_NS).astype(np.int64)
        life = np.where(children["life_ns"] > 0, children["life_ns"], life)
        end = there + life
        base["flags"] |= Flag.PASSIVE
        qty, px = base["leaves"].copy(), children["px"]
        part = np.maximum(1, (qty * rng.random(n)).astype(np.int64))
        part = np.where((part >= qty) | ((outcome == 0) & (rng.random(n) < 0.6)), 0, part)
        some = np.flatnonzero((outcome <= 1) & (part > 0))
        self.fill(base[some], there[some] + life[some] // 2, part[some], px[some])
        base["leaves"][some] -= part[some]
        whole = np.flatnonzero(outcome == 0)
        self.fill(base[whole], end[whole], base["leaves"][whole], px[whole])
        pulled = np.flatnonzero((outcome == 1) | (outcome == 2))
        self.pull(base[pulled], end[pulled])
        amended = np.flatnonzero(outcome == 3)
        self.amend(base[amended], px[amended], there[amended] + life[amended] // 3, end[amended])
        expired = np.flatnonzero(outcome == 4)
        self.put.append(rows(base[expired], Kind.expired, end[expired], base["leaves"][expired]))

    def fill(self, base: Rows, ts: Rows, qty: Rows, px: Rows) -> None:
        fills = rows(base, Kind.fill, ts, qty, px)
        fills["exec"] = self.world.take_execs(len(base))
        self.put.append(fills)

    def pull(self, base: Rows, ts: Rows) -> None:
        asks = rows(base, Kind.cancel, ts, 0)
        asks["cl"], asks["orig"] = self.world.take_orders(len(base)), base["cl"]
        self.put += [asks, rows(asks, Kind.canceled, ts + self.way(len(base)), base["leaves"])]

    def amend(self, base: Rows, px: Rows, ts: Rows, end: Rows) -> None:
        buy, world = base["side"] == Side.B, self.world
        nearer = np.where(buy, px + TICK9, px - TICK9)
        crosses = np.where(buy, nearer >= world.ask9(base["sym"]), nearer <= world.bid9(base["sym"]))
        new_px = np.maximum(np.where(crosses, 2 * px - nearer, nearer), TICK9)
        asks = rows(base, Kind.replace, ts, base["leaves"], new_px)
        asks["cl"], asks["orig"] = world.take_orders(len(base)), base["cl"]
        answers = rows(asks, Kind.replaced, ts + self.way(len(base)), base["leaves"], new_px)
        self.put += [asks, answers]
        fills = base.copy()
        fills["cl"] = asks["cl"]
        self.fill(fills, np.maximum(end, answers["ts"] + MS_NS), base["leaves"], new_px)
