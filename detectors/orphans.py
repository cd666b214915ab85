"""Orphans: children that name a parent order nobody accepted."""

from typing import Any, ClassVar, NamedTuple

import numpy as np

from detectors.arrays import I64
from detectors.children import ChildFlow
from detectors.config import OrphansConfig
from detectors.detector import Context, Passed
from detectors.excursion import Excursion, Finding
from detectors.flow import Columns, Where, places, read, settled_at
from detectors.intern import CAPACITY, DROPPED, Slots
from detectors.keyed import SHOWN, KeyedCusums, Shown, Walks, close, findings, hit, lead_value, number_key, show
from detectors.kinds import PARENT
from schemas.jit import compiled
from schemas.records import Family
from schemas.units import S_NS


class Orphans(Passed):
    """A CUSUM over emissions of which the parent was never accepted on this server, in limits.

        W = max(0, W - orders_per_s dt / orders_limit) + 1 / orders_limit;    opens at 1

    What is not known is not said. An orphan counts only if

    - the server publishes its parents at all (one was accepted in this log), and has not had to forget any; and
    - the log begins with the server's first event (seq 0 or 1), or began more than ``settle_s`` ago: a parent accepted
      before a log that begins in mid-session looks the same, and works on for as long as it lives.

    Hence the default of an hour, and hence it only warns (``bound_halt`` 0): a gap in the log that took a parent with
    it is no reason to halt a router. With another group of evidence it halts.

    Unit of the score: limits. Statistical. No baseline; warm-up as above. False-alarm cost: parents older than
    ``settle_s`` whose acceptance the log does not hold, at more than ``orders_per_s``.
    Source: SEC 34-70694 par. 23 (fills that could not be matched to a parent); FIA 4.1.
    """

    name: ClassVar[str] = "orphans"
    family: ClassVar[Family] = "conservation"
    hard: ClassVar[bool] = False

    def __init__(self, config: OrphansConfig) -> None:
        c = self.config = config
        self.cusums = KeyedCusums([(c.orders_limit, c.orders_per_s)], 4)
        self.excursion = Excursion(SHOWN, round(c.quiet_s * S_NS))
        self.known: I64 = np.array([-1, 0])
        """From what stream time on an orphan is news (-1: no event yet); whether a parent was accepted in this log."""
        self.out = self.cusums.shown(0)
        self._settle_ns = round(c.settle_s * S_NS)
        self._n = 0

    @property
    def bound_halt(self) -> float:
        """Never alone."""
        return 0.0

    def tables(self, more: int) -> "OrphansTables":
        """For the compiled loop."""
        return OrphansTables(self.cusums.walks, self.excursion.row, self.known, self._settle_ns)

    def step(self, context: Context) -> list[Finding]:
        """Score a flow."""
        flow, n = context.flow, len(context.flow)
        if not context.walked:
            self.out = self.cusums.shown(n)
            parents = context.children.tables(0).parents
            walk(n, places(flow), read(flow), context.child, parents, context.totals, self.tables(n), self.out)
        self._n = n
        return findings(self.excursion, flow, self.out, context.totals)

    def score(self, value: int) -> float:
        """Limits."""
        return round(value / SHOWN, 3)

    def baseline(self) -> float:
        """Orphans a second that are allowed."""
        return self.config.orders_per_s

    def values(self) -> I64:
        """(n,) the walk, in 1/1024 limits."""
        return self.out.values[: self._n]

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """How many, and the parent that the last one names."""
        i, flow = finding.index, context.flow
        if finding.edge == "close":
            return {"orders": finding.count("orders"), "fills": finding.count("fills")}
        return {
            "what": "orphan",
            "orders": int(self.out.counts[i]),
            "parent_id": flow.text("parent_id", i),
            "symbol": flow.text("symbol", i),
            "strategy": flow.text("strategy", i),
        }

    def minute(self, learn: bool) -> None:
        """Nothing to learn."""


class OrphansTables(NamedTuple):
    """State: walk, excursion and what is known; time to settle (ns)."""

    walks: Walks
    row: I64
    known: I64
    settle_ns: int


@compiled
def walk(
    n: int, at: Where, flow: Columns, child: ChildFlow, parents: Slots, totals: I64, tables: OrphansTables,
    shown: Shown,
) -> None:  # fmt: skip
    """Score n events."""
    walks, known = tables.walks, tables.known
    if known[0] < 0:
        known[0] = settled_at(at, tables.settle_ns)
    room = parents.meta[CAPACITY] - parents.meta[DROPPED]
    shown.used[0] = 0
    for i in range(n):
        now = at.t[i]
        before = lead_value(walks, now)
        if flow.kind[i] == PARENT:
            known[1] = 1
        parent = child.parent[i]
        # a parent's row tells how many were named before it: none is forgotten while they fit
        if child.emission[i] and 0 <= parent < room and not child.known[i] and known[1] == 1 and now >= known[0]:
            hit(walks, at, i, number_key(0), 0, walks.weight[0])
        show(walks, now, i, before, shown)
    close(n, at, totals, tables.row, shown)
