"""Crossing: buying at the ask and selling at the bid, and what that costs."""

from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from detectors.arrays import I64, Bools
from detectors.baseline import Baseline, count
from detectors.children import ChildFlow
from detectors.config import CrossingConfig
from detectors.cusum import DT_NS_MAX, decay
from detectors.detector import Context, Passed
from detectors.excursion import Excursion, Finding, room_for
from detectors.excursion import walk as excursion_walk
from detectors.flow import Where, places
from detectors.intern import DROPPED, Slots
from detectors.memos import Memos
from detectors.positions import SymbolFlow
from schemas.jit import Int, compiled
from schemas.records import Family
from schemas.units import S_NS, USD6, usd

_ONE = 1 << 10
_PARENTS: Final = 1 << 13
_SCALE: Final = 1_024


class Crossing(Passed):
    """Two CUSUMs in dollars over aggressive fills (a buy at or above the ask, a sell at or below the bid).

    *Burn*: what each such fill pays beyond the mid, ``q |x - mid|``; it sees one-sided and two-sided flow alike.
    *Matched*: notional of aggressive buying that is offset by aggressive selling in the same symbol, or the reverse;
    it sees ping-pong, where the net position stays near zero and a position limit is blind. Both decay:

        W = max(0, W + dollars - allowance dt),   allowance = max(prior, headroom x learned mean per second),

    and the score is the larger of W_burn / burn_usd_limit and W_matched / matched_usd_limit: the breach opens at 1.
    Drift-allowance CUSUM as in Page 1954; with the allowance above the mean the walk has negative drift and the time
    between false alarms grows exponentially in the limit. The allowance changes on the minute, from minutes without a
    breach; until it is warm the prior holds.

    What a parent order explains is discounted to ``explained_share``: a fill for a known parent that has never been
    committed beyond its quantity costs what its owner asked for, be it five times the usual size (an index rebalance).
    Fills beyond their parent, and without one, count in full; so flow without parent ids is judged as it stands.

    Fills without an NBBO (bid or ask not known) say nothing here: they are counted in the row, not scored.
    Unit of the score: limits. Statistical. Pattern: Nanex on EXC, 2012-08-01 (buys at the ask and sells at the bid,
    40 pairs a second); one-sided pattern: WZE and CODE the same day.
    """

    name: ClassVar[str] = "crossing"
    family: ClassVar[Family] = "crossing"
    hard: ClassVar[bool] = False

    def __init__(self, config: CrossingConfig) -> None:
        self.config = config
        self.burn_normal, self.matched_normal = Baseline(), Baseline()
        self.value: I64 = np.zeros(2, np.int64)
        self.last: I64 = np.zeros(1, np.int64)
        """Both CUSUMs (micro-dollars) and the stream time of the last event (ns)."""
        self.excursion = Excursion(_ONE, round(config.quiet_s * S_NS))
        limits = (config.burn_usd_limit, config.matched_usd_limit)
        self._limits = np.array([round(usd_limit * USD6) for usd_limit in limits], np.int64)
        self.parents = Memos({"number": "i8", "within": "?"}, _PARENTS)
        """Parents by number (the latest with the same place wins): number + 1, never committed beyond its quantity."""
        self.out = crossing_room(0)
        self._n = 0
        self._set_allowances()

    def _set_allowances(self) -> None:
        c = self.config
        burn = c.headroom * self.burn_normal.mean if self.burn_normal.warm else 0.0
        matched = c.headroom * self.matched_normal.mean if self.matched_normal.warm else 0.0
        self.burn_per_s = max(c.burn_usd_per_s_prior * USD6, burn)
        self.matched_per_s = max(c.matched_usd_per_s_prior * USD6, matched)

    @property
    def bound_halt(self) -> float:
        """In limits."""
        return self.config.bound_halt

    def begin(self, t: int) -> None:
        """A flow at stream time t (ns), before ``tables``."""
        self.burn_normal.begin(t)
        self.matched_normal.begin(t)

    def tables(self, more: int) -> "CrossingTables":
        """For the compiled loop; until the next minute."""
        rate, shift = decay([self.burn_per_s, self.matched_per_s])
        parents = self.parents.columns
        return CrossingTables(
            self.excursion.row, self.value, self.last, rate, shift, self._limits, parents["number"], parents["within"],
            self.burn_normal.seconds, self.matched_normal.seconds, int(self.config.explained_share * _SCALE),
        )  # fmt: skip

    def step(self, context: Context) -> list[Finding]:
        """Score a flow, then count it for the baselines."""
        flow, n = context.flow, len(context.flow)
        if not context.walked:
            self.begin(int(flow.t[0]))
            self.out = crossing_room(n)
            parents = context.children.tables(0).parents
            walk(n, places(flow), context.symbol, context.child, parents, context.totals, self.tables(n), self.out)
        self._n, out = n, self.out
        if not out.used[0]:
            return []
        return self.excursion.findings(flow, out.values, context.totals, out.found, int(out.used[0]))

    def score(self, value: int) -> float:
        """Limits."""
        return round(value / _ONE, 3)

    def baseline(self) -> float:
        """Allowed burn, USD per second."""
        return usd(round(self.burn_per_s))

    def values(self) -> I64:
        """(n,) score in 1/1024 limits."""
        return self.out.values[: self._n]

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """Both sides, what they burned and the symbol of the deciding fill."""
        i = finding.index
        seconds = max(int(context.flow.t[i]) - finding.began, S_NS // 10) / S_NS
        burn = usd(finding.count("spread_burn_usd"))
        buys, sells = finding.count("buys_at_ask"), finding.count("sells_at_bid")
        return {
            "buys_at_ask": buys,
            "sells_at_bid": sells,
            "pairs": min(buys, sells),
            "burn_usd": burn,
            "burn_usd_per_s": round(burn / seconds, 2),
            "matched_usd": usd(finding.count("matched_usd")),
            "net_usd": usd(finding.count("net_usd")),
            "window_ms": round(seconds * 1000, 3),
            "symbol": context.flow.text("symbol", i),
        }

    def minute(self, learn: bool) -> None:
        """Learn the minute and set the allowances for the next."""
        self.burn_normal.close(learn)
        self.matched_normal.close(learn)
        self._set_allowances()


class CrossingTables(NamedTuple):
    """State: excursion, CUSUMs, time of the last event; fall per ns (rate, shift) and limits (2,); parents; both
    baselines' seconds; share of explained costs (1/1024)."""

    row: I64
    value: I64
    last: I64
    rate: I64
    shift: I64
    limits: I64
    numbers: I64
    within: Bools
    burn_seconds: I64
    matched_seconds: I64
    share: int


class CrossingOut(NamedTuple):
    """(n,) the score in 1/1024 limits; transitions, and how many."""

    values: I64
    found: I64
    used: I64


def crossing_room(n: int) -> CrossingOut:
    """Room for n events."""
    return CrossingOut(np.empty(n, np.int64), room_for(n), np.zeros(1, np.int64))


@compiled
def walk(
    n: int, at: Where, symbol: SymbolFlow, child: ChildFlow, parents: Slots, totals: I64, tables: CrossingTables,
    out: CrossingOut,
) -> None:  # fmt: skip
    """Score n events."""
    value, limits = tables.value, tables.limits
    if tables.last[0] == 0:
        tables.last[0] = at.t[0]
    for i in range(n):
        now = at.t[i]
        burn, matched = _cost(i, symbol, child, parents, tables)
        if burn != 0:
            count(tables.burn_seconds, now, burn)
        if matched != 0:
            count(tables.matched_seconds, now, matched)
        dt = min(now - tables.last[0], DT_NS_MAX)
        tables.last[0] = now
        value[0] = max(value[0] + burn - ((dt * tables.rate[0]) >> tables.shift[0]), 0)
        value[1] = max(value[1] + matched - ((dt * tables.rate[1]) >> tables.shift[1]), 0)
        most = np.int64(0)
        for k in range(2):
            if value[k] > 0:
                most = max(most, value[k] * _ONE // limits[k])
        out.values[i] = most
    out.used[0] = excursion_walk(n, at, out.values, totals, tables.row, out.found)


@compiled
def _cost(i: int, symbol: SymbolFlow, child: ChildFlow, parents: Slots, tables: CrossingTables) -> tuple[Int, Int]:
    """Burn and matched notional of a fill, discounted where a parent explains it."""
    numbers, within = tables.numbers, tables.within
    if child.emission[i] and child.known[i]:
        number = child.parent[i] + parents.meta[DROPPED]
        place = number % _PARENTS
        if numbers[place] != number + 1:
            numbers[place], within[place] = number + 1, True
        if child.committed[i] > child.parent_qty[i]:
            within[place] = False
        return 0, 0
    burn, matched = max(symbol.burn[i], 0), symbol.matched[i]
    if burn > 0 or matched > 0:
        number = child.parent[i] + parents.meta[DROPPED]
        place = number % _PARENTS
        if child.parent[i] >= 0 and numbers[place] == number + 1 and within[place]:
            return burn * tables.share // _SCALE, matched * tables.share // _SCALE
        return burn, matched
    return 0, 0
