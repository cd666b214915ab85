"""Excursions of a statistic that is judged from time to time: when it opens, is told again, and closes."""

from typing import Final, Literal

from msgspec import Struct

from schemas.records import FirstEvent
from schemas.units import S_NS

Edge = Literal["open", "update", "close"]
AGAIN_NS: Final = 10 * S_NS
"""A breach that goes on is told again this often, so that evidence which agrees with it later still finds it."""
_LEVELS_MAX: Final = 40


class Alarm(Struct):
    """State of one statistic. ``first``: the newest event when it last left zero; it is what the breach names."""

    open: bool = False
    level: int = 0
    beyond_at: int = 0
    told_at: int = 0
    first: FirstEvent | None = None
    began_at: int = 0
    ratio: float = 0.0
    """Score / limit when last judged, for people to see."""

    def step(self, score: float, limit: float, now: int, quiet_ns: int, newest: FirstEvent) -> Edge | None:
        """What the score at desk time ``now`` (ns) does. Opens at the limit, is told when it doubled once more over it,
        and closes after ``quiet_ns`` below."""
        self.ratio = score / limit if limit > 0 else 0.0
        if not self.open:
            if score <= 0.0:
                self.first = None
            elif self.first is None:
                self.first, self.began_at = newest, now
        if score >= limit:
            self.beyond_at = now
            higher = self._higher(score, limit)
            if self.open and not higher and now - self.told_at < AGAIN_NS:
                return None
            edge: Edge = "update" if self.open else "open"
            self.open, self.told_at = True, now
            return edge
        if self.open and now - self.beyond_at > quiet_ns:
            self.open, self.level, self.first = False, 0, None
            return "close"
        return None

    def _higher(self, score: float, limit: float) -> bool:
        before = self.level
        while self.level < _LEVELS_MAX and score >= limit * 2.0 ** (self.level + 1):
            self.level += 1
        return self.level > before
