"""What is normal for one server: the rate of something per second, by time of day, learned a minute at a time and
frozen in breach.

A minute's 60 one-second values are learned when the minute is over, and only if no detector of the server was in
breach in it. So a value is always judged by minutes before its own (score before learning), and a breach never becomes
the new normal. Each value is winsorised before it is learned, at the larger of ``mean + 6 sd`` of what was learned and
``median + 6 MAD`` of its own minute (Huber 1981, ch. 1): one wild second moves the baseline little, a busy minute does.
Mean and variance are exponentially weighted over minutes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64
from schemas.jit import compiled
from schemas.units import MIN_NS, S_NS

_SECONDS = 60
_BUCKET_MIN = 5
_BUCKETS = 24 * 60 // _BUCKET_MIN
_FACTOR_MAX = 4.0
_COUNT_MIN = 10.0
"""A bucket that expects fewer in a minute says nothing about how busy today is."""


class Baseline:
    """Mean and variance per second of a counted quantity, and its profile over the UTC day in buckets of 5 minutes.

    memory_minutes: weight of the newest minute is 1 / memory_minutes once that many have been learned, and the plain
    average before. Until ``warm_minutes`` have been learned, ``warm`` is False and callers use their configured prior.
    memory_days: the same for a bucket of the profile, over days.

    ``expected`` is the profile of the bucket times how busy today is against the profile (``factor``, weighted over
    memory_minutes, within a factor of 4); where no earlier day has filled the bucket it is the mean of late. A firm
    whose day moves with daylight saving is an hour off for memory_days twice a year, the factor and the caller's prior
    soften it.
    """

    def __init__(self, memory_minutes: float = 30.0, warm_minutes: int = 3, memory_days: float = 10.0) -> None:
        self.memory_minutes = memory_minutes
        self.warm_minutes = warm_minutes
        self.memory_days = memory_days
        self.mean = 0.0
        self.var = 0.0
        self.minutes = 0
        self.from_second = -1
        self.at_minute = -1
        self.factor = 1.0
        self.seconds: I64 = np.zeros(_SECONDS, np.int64)
        self.profile: NDArray[np.float64] = np.zeros(_BUCKETS)
        self.profile_minutes: I64 = np.zeros(_BUCKETS, np.int64)

    @property
    def warm(self) -> bool:
        """Enough minutes learned."""
        return self.minutes >= self.warm_minutes

    @property
    def dispersion(self) -> float:
        """Variance over mean (Fano factor): 1 for a Poisson process, more for clustered flow."""
        return max(1.0, self.var / self.mean) if self.mean > 0 else 1.0

    def expected(self, minute: int) -> float:
        """Mean per second that is normal in this minute of stream time (ns // MIN_NS); 0 while nothing is known."""
        bucket = _bucket(minute)
        if self.profile_minutes[bucket] >= _BUCKET_MIN:
            return float(self.profile[bucket]) * self.factor
        return self.mean if self.warm else 0.0

    def begin(self, t: int) -> None:
        """An event at stream time t (ns); each flow of a minute calls it before its values are counted."""
        if self.from_second < 0:
            self.from_second = t % MIN_NS // S_NS if self.minutes == 0 else 0
            self.at_minute = t // MIN_NS

    def add(self, t: I64, values: I64) -> None:
        """Count values (n,) at stream times t (n,) of one minute."""
        self.begin(int(t[0]))
        for now, value in zip(t.tolist(), values.tolist(), strict=True):
            count(self.seconds, now, value)

    def close(self, learn: bool) -> None:
        """The minute is over."""
        values = self.seconds[max(0, self.from_second) :].astype(np.float64)
        if learn and len(values) >= _SECONDS // 2:
            self._learn(values)
        self.seconds[:] = 0
        self.from_second = -1

    def _learn(self, values: NDArray[np.float64]) -> None:
        values = np.minimum(values, self._cap(values))
        mean = float(values.mean())
        spread = float(((values - (self.mean if self.minutes else mean)) ** 2).mean())
        weight = max(1.0 / (self.minutes + 1), 1.0 / self.memory_minutes)
        self._learn_profile(mean)
        self.mean += weight * (mean - self.mean)
        self.var += weight * (spread - self.var)
        self.minutes += 1

    def _cap(self, values: NDArray[np.float64]) -> float:
        """Beyond what a second is winsorised. A minute that is busy throughout is believed; MAD is 0 for sparse flow."""
        middle = float(np.median(values))
        mad = 1.4826 * float(np.median(np.abs(values - middle)))
        own = middle + 6.0 * max(mad, middle**0.5 + 1.0) if mad > 0 else 0.0
        if self.warm:
            usual = max(self.mean, self.expected(self.at_minute))
            return max(own, usual + 6.0 * math.sqrt(self.var) + 1.0)
        return own or float(values.mean() + 6.0 * values.std())

    def _learn_profile(self, mean: float) -> None:
        bucket = _bucket(self.at_minute)
        seen = int(self.profile_minutes[bucket])
        usual = float(self.profile[bucket])
        if seen >= _BUCKET_MIN and usual * _SECONDS >= _COUNT_MIN:
            ratio = min(max(mean / usual, 1.0 / _FACTOR_MAX), _FACTOR_MAX)
            self.factor += (ratio - self.factor) / self.memory_minutes
        self.profile[bucket] += max(1.0 / (seen + 1), 1.0 / (self.memory_days * _BUCKET_MIN)) * (mean - usual)
        self.profile_minutes[bucket] = seen + 1


def _bucket(minute: int) -> int:
    return minute // _BUCKET_MIN % _BUCKETS


@compiled
def count(seconds: I64, t: int, value: int) -> None:
    """Count a value at stream time t (ns) in its second of the minute; seconds: (60,)."""
    seconds[(t % MIN_NS) // S_NS] += value
