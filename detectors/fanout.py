"""Fan-out: more children of one parent in a short time than slicing explains."""

from typing import Any, ClassVar, NamedTuple

from detectors.arrays import I64
from detectors.children import ChildFlow
from detectors.config import FanOutConfig
from detectors.detector import Context, Passed
from detectors.excursion import Excursion, Finding
from detectors.flow import Where, places
from detectors.intern import DROPPED, Slots
from detectors.keyed import SHOWN, KeyedCusums, Shown, Walks, close, findings, hit, lead_value, number_key, show
from schemas.jit import compiled
from schemas.records import Family
from schemas.units import S_NS


class FanOut(Passed):
    """A CUSUM for each parent over its emissions (new children, and replaces for more), in limits; the highest counts.

        W = max(0, W - children_per_s dt / children_limit) + 1 / children_limit;    opens at 1

    It sees a parent that is worked faster and faster while it still is within its quantity: flow that feeds on its own
    prints (flash crash, 2010-05-06), a participation algorithm on a wrong volume, slices far too small. Quantity beyond
    the parent is conservation's.

    Unit of the score: limits. Statistical: warns at 1, halts alone at ``bound_halt``. No baseline and no warm-up.
    False-alarm cost: a parent that is legitimately worked at more than ``children_per_s`` for longer than
    ``children_limit / (rate - children_per_s)`` seconds: set both to the firm's fastest algorithm (RTS 6 Art. 15(3)).
    Parents need not be known: their name is enough. Orders without one are not seen. Bounded: ``walks_max`` parents.

    Source: SEC 34-70694 par. 16-17 (18,868 executions a parent; 7 a second); RTS 6 Art. 15(3).
    """

    name: ClassVar[str] = "fanout"
    family: ClassVar[Family] = "conservation"
    hard: ClassVar[bool] = False

    def __init__(self, config: FanOutConfig) -> None:
        c = self.config = config
        self.cusums = KeyedCusums([(c.children_limit, c.children_per_s)], c.walks_max)
        self.excursion = Excursion(SHOWN, round(c.quiet_s * S_NS))
        self.out = self.cusums.shown(0)
        self._n = 0

    @property
    def bound_halt(self) -> float:
        """In limits."""
        return self.config.bound_halt

    def tables(self, more: int) -> "FanOutTables":
        """For the compiled loop."""
        return FanOutTables(self.cusums.walks, self.excursion.row)

    def step(self, context: Context) -> list[Finding]:
        """Score a flow."""
        flow, n = context.flow, len(context.flow)
        if not context.walked:
            self.out = self.cusums.shown(n)
            parents = context.children.tables(0).parents
            walk(n, places(flow), context.child, parents, context.totals, self.tables(n), self.out)
        self._n = n
        return findings(self.excursion, flow, self.out, context.totals)

    def score(self, value: int) -> float:
        """Limits."""
        return round(value / SHOWN, 3)

    def baseline(self) -> float:
        """Children a second that are allowed."""
        return self.config.children_per_s

    def values(self) -> I64:
        """(n,) the lead, in 1/1024 limits."""
        return self.out.values[: self._n]

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """The parent and how many children it has been cut into."""
        i, flow, child = finding.index, context.flow, context.child
        if finding.edge == "close":
            return {"orders": finding.count("orders"), "fills": finding.count("fills")}
        parent = int(child.parent[i])
        seconds = max(int(flow.t[i]) - finding.began, 0) / S_NS
        return {
            "what": "fan_out",
            "parent_id": context.children.parents.name(parent) if parent >= 0 else "",
            "parent_qty": int(child.parent_qty[i]),
            "child_qty": int(child.committed[i]),
            "orders": int(self.out.counts[i]),
            "window_ms": round(seconds * 1000, 3),
            "symbol": flow.text("symbol", i),
            "strategy": flow.text("strategy", i),
        }

    def minute(self, learn: bool) -> None:
        """Nothing to learn."""


class FanOutTables(NamedTuple):
    """State: walks and excursion."""

    walks: Walks
    row: I64


@compiled
def walk(n: int, at: Where, child: ChildFlow, parents: Slots, totals: I64, tables: FanOutTables, shown: Shown) -> None:
    """Score n events."""
    walks, dropped = tables.walks, parents.meta[DROPPED]
    shown.used[0] = 0
    for i in range(n):
        now = at.t[i]
        before = lead_value(walks, now)
        if child.emission[i] and child.parent[i] >= 0:
            hit(walks, at, i, number_key(child.parent[i] + dropped), 0, walks.weight[0])
        show(walks, now, i, before, shown)
    close(n, at, totals, tables.row, shown)
