"""Orphans: children that name a parent order nobody accepted."""

from typing import Any, ClassVar

from detectors.arrays import I64, Bools
from detectors.config import OrphansConfig
from detectors.detector import Context
from detectors.excursion import Excursion, Finding
from detectors.keyed import SHOWN, KeyedCusums, Shown, Walks, Where, findings, hit, lead_value, number_key, places, show
from detectors.kinds import PARENT
from schemas.jit import compiled
from schemas.records import Family
from schemas.units import S_NS


class Orphans:
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
        self.began = -1
        self.seen = False
        """A parent was accepted in this log."""
        self._shown = self.cusums.shown(0)

    @property
    def bound_halt(self) -> float:
        """Never alone."""
        return 0.0

    def step(self, context: Context) -> list[Finding]:
        """Score a flow."""
        flow, child = context.flow, context.child
        if self.began < 0:
            self.began = flow.settled_at(self.config.settle_s)
        self._shown = shown = self.cusums.shown(len(flow))
        parents = context.children.parents
        self.seen = _pass(
            places(flow), flow.kind == PARENT, child.emission & (child.parent >= 0) & ~child.known,
            self.began, self.seen, parents.capacity - parents.dropped, child.parent, self.cusums.walks, shown,
        )  # fmt: skip
        return findings(self.excursion, flow, shown, context.totals)

    def score(self, value: int) -> float:
        """Limits."""
        return round(value / SHOWN, 3)

    def baseline(self) -> float:
        """Orphans a second that are allowed."""
        return self.config.orders_per_s

    def values(self) -> I64:
        """(n,) the walk, in 1/1024 limits."""
        return self._shown.values

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """How many, and the parent that the last one names."""
        i, flow = finding.index, context.flow
        if finding.edge == "close":
            return {"orders": finding.count("orders"), "fills": finding.count("fills")}
        return {
            "what": "orphan",
            "orders": int(self._shown.counts[i]),
            "parent_id": flow.text("parent_id", i),
            "symbol": flow.text("symbol", i),
            "strategy": flow.text("strategy", i),
        }

    def minute(self, learn: bool) -> None:
        """Nothing to learn."""


@compiled
def _pass(
    at: Where, accepted: Bools, orphan: Bools, began: int, seen: bool, room: int, parent: I64, walks: Walks,
    shown: Shown,
) -> bool:  # fmt: skip
    for i in range(len(orphan)):
        now = at.t[i]
        before = lead_value(walks, now)
        seen = seen or accepted[i]
        # a parent's row tells how many were named before it: none is forgotten while they fit
        if orphan[i] and seen and now >= began and parent[i] < room:
            hit(walks, at, i, number_key(0), 0, walks.weight[0])
        show(walks, now, i, before, shown)
    return seen
