"""Crossing: buying at the ask and selling at the bid, and what that costs."""

from typing import Any, ClassVar

import numpy as np

from detectors.arrays import I64
from detectors.baseline import Baseline
from detectors.config import CrossingConfig
from detectors.cusum import CusumBank, Steps
from detectors.detector import Context
from detectors.excursion import Excursion, Finding
from schemas.records import Family
from schemas.units import S_NS, USD6, usd

_ONE = 1 << 10


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
        cost = np.maximum(symbol.burn, 0)
        walks = self.bank.step(np.stack([cost, symbol.matched]), self.steps.step(flow.t))
        walks *= _ONE
        walks //= self._limits
        self._values = walks.max(axis=0)
        self.burn_normal.add(flow.t, cost)
        self.matched_normal.add(flow.t, symbol.matched)
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
