"""Rate: more orders than this server sends on an ordinary day, at any time scale."""

import math
from typing import Any, ClassVar

import numpy as np

from detectors.arrays import I64
from detectors.baseline import Baseline
from detectors.config import RateConfig
from detectors.cusum import CusumBank, Steps
from detectors.detector import Context
from detectors.excursion import Excursion, Finding
from detectors.kinds import ASKS
from schemas.records import Family
from schemas.units import S_NS

_UNIT = 1 << 16
"""Fixed point of the log-likelihood ratio: 1 nat."""


class Rate:
    """A bank of Poisson CUSUMs over the times of orders and replaces, one for each rate ratio r in ``jumps``.

    Against a normal rate of at most b per second, r times that rate gives each order ``ln r`` and each second of
    silence ``-(r - 1) b``, both divided by the dispersion F (quasi-likelihood for clustered flow, McCullagh and
    Nelder 1989, ch. 9). The score is the largest of the bank in nats; the breach opens at

        h = ln(arl_events * len(jumps)).

    CUSUM_r lies below the Shiryaev-Roberts sum SR_r, and the mean of the SR_r is an e-detector, so that for Poisson
    flow of any rate up to b the mean number of events between false alarms is at least ``arl_events`` (Shin, Ramdas and
    Rinaldo, arXiv 2203.03532, with e-values ``r exp(-(r-1) b dt)``, valid for every rate <= b; here in event count as
    El Karoui, Loisel and Salhi 2017 advise, which makes it free of the time of day). The bank covers all window lengths
    at once: r = 30 answers to a burst of milliseconds, r = 2 to a slow rise of minutes.

    b is ``headroom`` times the learned mean, at least ``prior_per_s``; F is the larger of ``dispersion_min`` and the
    learned variance-to-mean ratio of orders per second. Both change on the minute, from minutes without a breach.
    Warm-up: until the baseline is warm the prior holds, so that the detector is never blind, only duller.

    Unit of the score: nats. Statistical: warns alone, and halts alone beyond ``bound_halt`` limits.
    """

    name: ClassVar[str] = "rate"
    family: ClassVar[Family] = "rate"
    hard: ClassVar[bool] = False

    def __init__(self, config: RateConfig) -> None:
        self.config = config
        self.limit_nats = math.log(config.arl_events * len(config.jumps))
        self.bank = CusumBank(len(config.jumps))
        self._gains = np.array([round(math.log(r) * _UNIT) for r in config.jumps], np.int64)[:, None]
        self.normal = Baseline()
        self.steps = Steps()
        self.excursion = Excursion(1, round(config.quiet_s * S_NS))
        self._set_bounds()
        self._values: I64 = np.empty(0, np.int64)

    def _set_bounds(self) -> None:
        config, normal = self.config, self.normal
        learned = config.headroom * normal.mean if normal.warm else 0.0
        self.bound_per_s = max(config.prior_per_s, learned)
        self.dispersion = max(config.dispersion_min, normal.dispersion if normal.warm else 1.0)
        self.excursion.limit = round(self.limit_nats * self.dispersion * _UNIT)
        self.bank.set_decay([(r - 1.0) * self.bound_per_s * _UNIT for r in config.jumps])

    @property
    def bound_halt(self) -> float:
        """In nats."""
        return self.config.bound_halt * self.limit_nats

    def step(self, context: Context) -> list[Finding]:
        """Score a flow, then count it for the baseline."""
        flow = context.flow
        asks = ASKS[flow.kind].astype(np.int64)
        best: I64 = self.bank.step(asks * self._gains, self.steps.step(flow.t)).max(axis=0)
        self._values = best
        self.normal.add(flow.t, asks)
        return self.excursion.step(flow, best, context.totals)

    def score(self, value: int) -> float:
        """Nats."""
        return round(value / (self.dispersion * _UNIT), 3)

    def baseline(self) -> float:
        """Upper bound of the normal rate, orders per second."""
        return round(self.bound_per_s, 3)

    def values(self) -> I64:
        """(n,) the largest CUSUM, fixed point, not yet divided by the dispersion."""
        return self._values

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """How many orders in how long, against how many expected."""
        span = max(int(context.flow.t[finding.index]) - finding.began, 1)
        count = finding.count("orders") + finding.count("replaces")
        return {
            "count": count,
            "window_ms": round(span / 1e6, 3),
            "per_s": round(count / max(span / S_NS, 1e-3), 1),
            "expected": round(self.bound_per_s * span / S_NS, 1),
            "learned_per_s": round(self.normal.mean, 3),
            "dispersion": round(self.dispersion, 1),
        }

    def minute(self, learn: bool) -> None:
        """Learn the minute and set the bounds for the next."""
        self.normal.close(learn)
        self._set_bounds()
