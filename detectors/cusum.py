"""CUSUM recursions in fixed point, so that they are exact for any cutting of the log.

A statistic decays with stream time and jumps at events: ``W = max(0, W - decay * dt) + jump`` in continuous time is, at
the events, the Lindley recursion ``W[i] = max(0, W[i-1] + jump[i] - decay * dt[i])`` up to the order of the two steps;
we use the latter, which is never larger (Page 1954; Moustakides 1986; for point processes El Karoui, Loisel and Salhi
2017, Ann. Appl. Prob. 27, eq. 1.3).
"""

import math

import numpy as np

from detectors.arrays import I64, reflected
from schemas.units import S_NS

_BITS = 27
"""Significant bits of the decay: times the longest step (34 bits) it stays within int64."""
DT_NS_MAX = 10 * S_NS
"""Longest silence that counts at once: by then every statistic here is back at zero or nearly so."""


class Cusum:
    """State: one reflected walk. Jumps are in the statistic's integer unit, decay in units per second."""

    def __init__(self) -> None:
        self.value = 0

    def step(self, jumps: I64, steps_ns: I64, decay_per_s: float) -> I64:
        """(n,) the statistic after each event. steps_ns: (n,) stream time since the event before."""
        shift = _BITS - math.frexp(decay_per_s / S_NS)[1]
        rate = round(math.ldexp(decay_per_s / S_NS, shift))
        out = reflected(jumps - ((steps_ns * rate) >> shift), self.value)
        self.value = int(out[-1])
        return out


class Steps:
    """State: stream time of the last event. Turns stream times into capped steps."""

    def __init__(self) -> None:
        self.last = 0

    def step(self, t: I64) -> I64:
        """(n,) ns since the event before, at most DT_NS_MAX; 0 at the very first event."""
        steps = np.diff(t, prepend=self.last or t[0])
        self.last = int(t[-1])
        return np.minimum(steps, DT_NS_MAX)
