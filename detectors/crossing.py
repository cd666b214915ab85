"""Crossing: buying at the ask and selling at the bid, and what that costs."""

from typing import Any, ClassVar, Final

import numpy as np

from detectors.arrays import I64, Bools
from detectors.baseline import Baseline
from detectors.config import CrossingConfig
from detectors.cusum import CusumBank, Steps
from detectors.detector import Context
from detectors.excursion import Excursion, Finding
from schemas.jit import compiled
from schemas.records import Family
from schemas.units import S_NS, USD6, usd

_ONE = 1 << 10
_PARENTS: Final = 1 << 13
_SCALE: Final = 1_024


class Crossing:
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
        self.bank = CusumBank(2)
        self.burn_normal, self.matched_normal = Baseline(), Baseline()
        self.steps = Steps()
        self.excursion = Excursion(_ONE, round(config.quiet_s * S_NS))
        limits = (config.burn_usd_limit, config.matched_usd_limit)
        self._limits = np.array([[round(usd_limit * USD6)] for usd_limit in limits], np.int64)
        self.number: I64 = np.zeros(_PARENTS, np.int64)
        self.within: Bools = np.zeros(_PARENTS, np.bool_)
        """Parents by number (the latest with the same place wins): number + 1, never committed beyond its quantity."""
        self._set_allowances()
        self._values: I64 = np.empty(0, np.int64)

    def _set_allowances(self) -> None:
        c = self.config
        burn = c.headroom * self.burn_normal.mean if self.burn_normal.warm else 0.0
        matched = c.headroom * self.matched_normal.mean if self.matched_normal.warm else 0.0
        self.burn_per_s = max(c.burn_usd_per_s_prior * USD6, burn)
        self.matched_per_s = max(c.matched_usd_per_s_prior * USD6, matched)
        self.bank.set_decay([self.burn_per_s, self.matched_per_s])

    @property
    def bound_halt(self) -> float:
        """In limits."""
        return self.config.bound_halt

    def step(self, context: Context) -> list[Finding]:
        """Score a flow, then count it for the baselines."""
        flow, symbol = context.flow, context.symbol
        child = context.child
        costs = np.zeros((2, len(flow)), np.int64)
        _costs(
            symbol.burn, symbol.matched, child.emission, child.known, child.committed, child.parent_qty, child.parent,
            context.children.parents.dropped, self.config.explained_share, self.within, self.number, costs,
        )  # fmt: skip
        walks = self.bank.step(costs, self.steps.step(flow.t))
        walks *= _ONE
        walks //= self._limits
        self._values = walks.max(axis=0)
        self.burn_normal.add(flow.t, costs[0])
        self.matched_normal.add(flow.t, costs[1])
        return self.excursion.step(flow, self._values, context.totals)

    def score(self, value: int) -> float:
        """Limits."""
        return round(value / _ONE, 3)

    def baseline(self) -> float:
        """Allowed burn, USD per second."""
        return usd(round(self.burn_per_s))

    def values(self) -> I64:
        """(n,) score in 1/1024 limits."""
        return self._values

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


@compiled
def _costs(
    burn: I64, matched: I64, emission: Bools, known: Bools, committed: I64, parent_qty: I64, parent: I64, dropped: int,
    explained_share: float, within: Bools, numbers: I64, out: I64,
) -> None:  # fmt: skip
    """(2, n) burn and matched notional of each fill, discounted where a parent explains it."""
    share = int(explained_share * _SCALE)
    for i in range(len(burn)):
        if emission[i] and known[i]:
            number = parent[i] + dropped
            place = number % _PARENTS
            if numbers[place] != number + 1:
                numbers[place], within[place] = number + 1, True
            if committed[i] > parent_qty[i]:
                within[place] = False
        elif burn[i] > 0 or matched[i] > 0:
            number = parent[i] + dropped
            place = number % _PARENTS
            explained = parent[i] >= 0 and numbers[place] == number + 1 and within[place]
            out[0, i], out[1, i] = max(burn[i], 0), matched[i]
            if explained:
                out[0, i], out[1, i] = out[0, i] * share // _SCALE, out[1, i] * share // _SCALE
