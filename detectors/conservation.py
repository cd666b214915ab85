"""Conservation: orders out against parent orders in, at the last hop."""

from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from detectors.arrays import I64
from detectors.children import ChildFlow
from detectors.config import ConservationConfig
from detectors.detector import Context, Passed
from detectors.excursion import Excursion, Finding, room_for
from detectors.excursion import walk as excursion_walk
from detectors.flow import Columns, Where, places, read
from detectors.kinds import FILL
from schemas.jit import Int, compiled
from schemas.records import Family
from schemas.units import MS_NS, PRICE9_PER_USD6, S_NS, USD6, usd

_WEIGHT_MAX: Final = 1_000
_PX6: Final = np.int64(PRICE9_PER_USD6)
_COUNT, _ORDERS, _USD6, _LAST = range(4)


class Conservation(Passed):
    """Counts emissions that put more into the market than the parent order asked for.

    For parent P with quantity Q, let C be its commitment (shares filled plus shares working over all its children,
    see ``detectors/children.py``). An emission (a new child, or a replace for more) is *beyond its parent* when

        C > Q + tolerance_qty,   or   the parent was done upstream more than done_race_ms ago,

    and so is a fill that was never covered by leaves (over-fill, fill on a dead or unknown child) once C > Q. The
    statistic is the weighted count of such events, W = sum(1 + floor(excess_usd / excess_usd_unit)), which falls to
    zero when ``window_s`` passes without one. The breach opens at W >= emissions_limit: one stray order never halts,
    the second does, and one alone does when it is large.

    Unit of the score: weighted orders. Baseline: 0, for a healthy router never commits more than it was given, so there
    is nothing to learn, and no warm-up. False-alarm cost: a router that really sends twice beyond a parent. Parents
    accepted before Knightwatch's log begins are unknown, and nothing is said of their children: a log that begins in
    mid-session must not halt a healthy router.

    Source: SEC Release 34-70694 par. 14-16, 21 (nothing compared orders leaving SMARS with those that entered it);
    Rule 15c3-5(c)(1)(ii); RTS 6 Art. 15(2).
    """

    name: ClassVar[str] = "conservation"
    family: ClassVar[Family] = "conservation"
    hard: ClassVar[bool] = True

    def __init__(self, config: ConservationConfig) -> None:
        self.config = config
        self.window_ns = round(config.window_s * S_NS)
        self.race_ns = round(config.done_race_ms * MS_NS)
        self.unit_usd6 = round(config.excess_usd_unit * USD6)
        self.excursion = Excursion(config.emissions_limit, self.window_ns)
        self.sums: I64 = np.zeros(4, np.int64)
        """Weighted count, orders and excess (micro-dollars) since the last silence; stream time of the last one."""
        self.out = conservation_room(0)
        self._n = 0

    @property
    def bound_halt(self) -> float:
        """Hard: needs none."""
        return 0.0

    def tables(self, more: int) -> "ConservationTables":
        """For the compiled loop."""
        c = self.config
        return ConservationTables(
            self.sums, self.excursion.row, self.window_ns, self.race_ns, self.unit_usd6, c.tolerance_qty
        )

    def step(self, context: Context) -> list[Finding]:
        """Score a flow."""
        flow, n = context.flow, len(context.flow)
        if not context.walked:
            self.out = conservation_room(n)
            walk(n, places(flow), read(flow), context.child, context.totals, self.tables(n), self.out)
        self._n, out = n, self.out
        if not out.used[0]:
            return []
        return self.excursion.findings(flow, out.values, context.totals, out.found, int(out.used[0]))

    def score(self, value: int) -> float:
        """Weighted orders beyond their parents."""
        return float(value)

    def baseline(self) -> float:
        """A healthy router sends none."""
        return 0.0

    def values(self) -> I64:
        """(n,) weighted count."""
        return self.out.values[: self._n]

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """The parent, what it asked for and what was committed."""
        i, child, flow = finding.index, context.child, context.flow
        if finding.edge == "close":
            return {"orders": finding.count("orders"), "fills": finding.count("fills")}
        parent = int(child.parent[i])
        late = int(child.done_for_ns[i])
        what = "after_done" if late > self.race_ns else "overorder" if flow.kind[i] != FILL else "overfill"
        return {
            "what": what,
            "parent_id": context.children.parents.name(parent) if parent >= 0 else "",
            "parent_qty": int(child.parent_qty[i]),
            "fill_qty" if what == "overfill" else "child_qty": int(child.committed[i]),
            "excess_qty": int(self.out.excess[i]),
            "excess_usd": usd(int(self.out.usd6[i])),
            "excess_orders": int(self.out.orders[i]),
            "symbol": flow.text("symbol", i),
            "strategy": flow.text("strategy", i),
            "fills": finding.count("fills"),
        }

    def minute(self, learn: bool) -> None:
        """Nothing to learn."""


class ConservationTables(NamedTuple):
    """State of the statistic and of its excursion; window, race (ns), unit (micro-dollars), tolerance (shares)."""

    sums: I64
    row: I64
    window_ns: int
    race_ns: int
    unit: int
    tolerance: int


class ConservationOut(NamedTuple):
    """(n,) weighted count; shares beyond the parent; orders and micro-dollars beyond so far; transitions, how many."""

    values: I64
    excess: I64
    orders: I64
    usd6: I64
    found: I64
    used: I64


def conservation_room(n: int) -> ConservationOut:
    """Room for n events."""
    values, excess, orders, usd6 = np.empty((4, n), np.int64)
    return ConservationOut(values, excess, orders, usd6, room_for(n), np.zeros(1, np.int64))


@compiled
def walk(
    n: int, at: Where, flow: Columns, child: ChildFlow, totals: I64, tables: ConservationTables, out: ConservationOut
) -> None:
    """Score n events."""
    sums = tables.sums
    for i in range(n):
        now = at.t[i]
        excess: Int = 0
        if child.known[i]:
            delta, over = child.delta[i], child.committed[i] - child.parent_qty[i]
            emission = child.emission[i]
            late = emission and child.done_for_ns[i] > tables.race_ns
            acting = emission or (flow.kind[i] == FILL and delta > 0)
            if late or (acting and over > tables.tolerance):
                excess = max(min(delta if late else min(over, delta), flow.qty[i]), 0)
                price = flow.px[i] if flow.px[i] > 0 else flow.ask[i]
                usd6 = excess * (price // _PX6)
                if now - sums[_LAST] > tables.window_ns:
                    sums[_COUNT] = sums[_ORDERS] = sums[_USD6] = 0
                sums[_COUNT] += 1 + min(usd6 // tables.unit, _WEIGHT_MAX)
                sums[_ORDERS] += 1
                sums[_USD6] += usd6
                sums[_LAST] = now
        out.values[i] = sums[_COUNT] if now - sums[_LAST] <= tables.window_ns else 0
        out.excess[i], out.orders[i], out.usd6[i] = excess, sums[_ORDERS], sums[_USD6]
    out.used[0] = excursion_walk(n, at, out.values, totals, tables.row, out.found)
