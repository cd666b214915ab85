"""Conservation: orders out against parent orders in, at the last hop."""

from typing import Any, ClassVar

import numpy as np

from detectors.arrays import I64, Bools, steps_from, where
from detectors.config import ConservationConfig
from detectors.detector import Context
from detectors.excursion import Excursion, Finding
from detectors.kinds import FILL
from schemas.records import Family
from schemas.units import MS_NS, PRICE9_PER_USD6, S_NS, USD6, usd

_WEIGHT_MAX = 1_000


class Conservation:
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
        self.count = 0
        self.last_bad = 0
        self.orders = 0
        self.excess_usd6 = 0
        self._values: I64 = np.empty(0, np.int64)
        self._excess: I64 = self._values
        self._sums: I64 = self._values

    @property
    def bound_halt(self) -> float:
        """Hard: needs none."""
        return 0.0

    def step(self, context: Context) -> list[Finding]:
        """Score a flow."""
        bad, excess = self._beyond(context)
        at = where(bad)
        n = len(context.flow)
        if not len(at):
            self._values = np.where(context.flow.t - self.last_bad <= self.window_ns, self.count, 0)
            if self.count and int(self._values[-1]) == 0:
                self.count = self.orders = self.excess_usd6 = 0
            return self.excursion.step(context.flow, self._values, context.totals)
        t = context.flow.t[at]
        flow = context.flow
        price = np.where(flow.px[at] > 0, flow.px[at], flow.ask[at])
        excess_usd6 = excess[at] * (price // PRICE9_PER_USD6)
        weights = 1 + np.minimum(excess_usd6 // self.unit_usd6, _WEIGHT_MAX)
        gap = steps_from(t, self.last_bad) > self.window_ns
        counts = _restarting(weights, gap, self.count)
        sums = _restarting(excess_usd6, gap, self.excess_usd6)
        orders = _restarting(np.ones_like(weights), gap, self.orders)
        last = np.zeros(n, np.int64)
        last[at] = np.arange(1, len(at) + 1)
        np.maximum.accumulate(last, out=last)
        since = np.concatenate([[self.last_bad], t])[last]
        values = np.concatenate([[self.count], counts])[last]
        self._values = np.where(context.flow.t - since <= self.window_ns, values, 0)
        self._excess = excess
        self._sums = np.stack([np.concatenate([[0], a])[last] for a in (orders, sums)], axis=1)
        findings = self.excursion.step(context.flow, self._values, context.totals)
        self.last_bad = int(t[-1])
        self.count, self.orders, self.excess_usd6 = int(counts[-1]), int(orders[-1]), int(sums[-1])
        return findings

    def _beyond(self, context: Context) -> tuple[Bools, I64]:
        """Which events are beyond their parent, and by how many shares."""
        child = context.child
        over = child.committed - child.parent_qty
        late = child.emission & (child.done_for_ns > self.race_ns)
        acting = child.emission | ((context.flow.kind == FILL) & (child.delta > 0))
        bad = child.known & ((acting & (over > self.config.tolerance_qty)) | late)
        excess = np.minimum(np.where(late, child.delta, np.minimum(over, child.delta)), context.flow.qty)
        return bad, np.where(bad, np.maximum(excess, 0), 0)

    def score(self, value: int) -> float:
        """Weighted orders beyond their parents."""
        return float(value)

    def baseline(self) -> float:
        """A healthy router sends none."""
        return 0.0

    def values(self) -> I64:
        """(n,) weighted count."""
        return self._values

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
            "excess_qty": int(self._excess[i]),
            "excess_usd": usd(int(self._sums[i, 1])),
            "excess_orders": int(self._sums[i, 0]),
            "symbol": flow.text("symbol", i),
            "strategy": flow.text("strategy", i),
            "fills": finding.count("fills"),
        }

    def minute(self, learn: bool) -> None:
        """Nothing to learn."""


def _restarting(values: I64, restart: Bools, carry: int) -> I64:
    """Running sums that begin anew where ``restart`` holds."""
    total = np.cumsum(values) + carry
    base = np.where(restart, total - values, 0)
    return total - np.maximum.accumulate(base)
