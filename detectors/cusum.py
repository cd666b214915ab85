"""CUSUM recursions in fixed point, so that they are exact for any cutting of the log.

A statistic decays with stream time and jumps at events: ``W = max(0, W - decay * dt) + jump`` in continuous time is, at
the events, the Lindley recursion ``W[i] = max(0, W[i-1] + jump[i] - decay * dt[i])`` up to the order of the two steps;
we use the latter, which is never larger (Page 1954; Moustakides 1986; for point processes El Karoui, Loisel and Salhi
2017, Ann. Appl. Prob. 27, eq. 1.3).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from detectors.arrays import I64, reflected, steps_from
from schemas.units import S_NS

_BITS = 27
"""Significant bits of a decay: times the longest step (34 bits) it stays within int64."""
DT_NS_MAX: Final = 10 * S_NS
"""Longest silence that counts at once: by then every statistic here is back at zero or nearly so."""


def decay(per_s: Sequence[float]) -> tuple[I64, I64]:
    """(k,) rates and shifts: in ``dt`` ns a statistic falls by ``(dt * rate) >> shift``. per_s: units a second, > 0."""
    shifts = [_BITS - math.frexp(d / S_NS)[1] for d in per_s]
    rates = [round(math.ldexp(d / S_NS, s)) for d, s in zip(per_s, shifts, strict=True)]
    return np.array(rates, np.int64), np.array(shifts, np.int64)


class CusumBank:
    """k reflected walks side by side. State: their values (k,). Jumps are in each statistic's integer unit."""

    def __init__(self, k: int) -> None:
        self.value: I64 = np.zeros(k, np.int64)
        self.set_decay([1.0] * k)

    def set_decay(self, per_s: Sequence[float]) -> None:
        """Decays in units per second (positive), from the next event on."""
        self.rate, self.shift = decay(per_s)

    def step(self, jumps: I64, steps_ns: I64) -> I64:
        """(k, n) the statistics after each event. jumps: (k, n). steps_ns: (n,) stream time since the event before."""
        fall = steps_ns * self.rate[:, None]
        fall >>= self.shift[:, None]
        out = reflected(jumps - fall, self.value)
        self.value = out[:, -1].copy()
        return out


class Steps:
    """State: stream time of the last event. Turns stream times into capped steps."""

    def __init__(self) -> None:
        self.last = 0

    def step(self, t: I64) -> I64:
        """(n,) ns since the event before, at most DT_NS_MAX; 0 at the very first event."""
        steps = steps_from(t, self.last or int(t[0]))
        self.last = int(t[-1])
        np.minimum(steps, DT_NS_MAX, out=steps)
        return steps
