"""What is normal for one server: the rate of something per second, learned a minute at a time and frozen in breach.

A minute's 60 one-second values are learned when the minute is over, and only if no detector of the server was in
breach in it. So a value is always judged by minutes before its own (score before learning), and a breach never becomes
the new normal. Each value is winsorised at ``mean + 6 sd`` before it is learned (Huber 1981, ch. 1): one wild second
moves the baseline little. Mean and variance are exponentially weighted over minutes.
"""

import numpy as np

from detectors.arrays import I64, where
from schemas.units import MIN_NS, S_NS

_SECONDS = 60


class Baseline:
    """Mean and variance per second of a counted quantity.

    memory_minutes: weight of the newest minute is 1 / memory_minutes once that many have been learned, and the plain
    average before. Until ``warm_minutes`` have been learned, ``warm`` is False and callers use their configured prior.
    """

    def __init__(self, memory_minutes: float = 30.0, warm_minutes: int = 3) -> None:
        self.memory_minutes = memory_minutes
        self.warm_minutes = warm_minutes
        self.mean = 0.0
        self.var = 0.0
        self.minutes = 0
        self.from_second = -1
        self.seconds: I64 = np.zeros(_SECONDS, np.int64)

    @property
    def warm(self) -> bool:
        """Enough minutes learned."""
        return self.minutes >= self.warm_minutes

    @property
    def dispersion(self) -> float:
        """Variance over mean (Fano factor): 1 for a Poisson process, more for clustered flow."""
        return max(1.0, self.var / self.mean) if self.mean > 0 else 1.0

    def add(self, t: I64, values: I64) -> None:
        """Count values (n,) at stream times t (n,) of one minute."""
        second = (t % MIN_NS) // S_NS
        if self.from_second < 0:
            self.from_second = int(second[0]) if self.minutes == 0 else 0
        at = where(values)
        if len(at):
            np.add.at(self.seconds, second[at], values[at])

    def close(self, learn: bool) -> None:
        """The minute is over."""
        values = self.seconds[max(0, self.from_second) :].astype(np.float64)
        if learn and len(values) >= _SECONDS // 2:
            if self.warm:
                values = np.minimum(values, self.mean + 6.0 * self.var**0.5 + 1.0)
            weight = max(1.0 / (self.minutes + 1), 1.0 / self.memory_minutes)
            mean = float(values.mean())
            spread = float(((values - self.mean if self.minutes else values - mean) ** 2).mean())
            self.mean += weight * (mean - self.mean)
            self.var += weight * (spread - self.var)
            self.minutes += 1
        self.seconds[:] = 0
        self.from_second = -1
