"""Desk time: what the ticks say has passed, by at most one step per tick."""

from msgspec import Struct

from schemas.topics import HEARTBEAT_MS
from schemas.units import MS_NS


class Clock(Struct, frozen=True):
    """``ts``: stamp of the last tick (ns UTC). ``now``: desk time (ns) since the first tick.

    A stamp that jumps ahead (a bad tick, a worker that slept) moves desk time by one step only, so that timeouts need
    several ticks to fire; one that falls back moves it not at all, and the next is measured from there.
    """

    ts: int = 0
    now: int = 0
    beat_due: int = 0
    beats: int = 0

    def tick(self, ts: int, step_ns_max: int) -> "Clock":
        """After a tick stamped ``ts``."""
        step = min(max(ts - self.ts, 0), step_ns_max) if self.ts else 0
        return Clock(ts, self.now + step, self.beat_due, self.beats)

    @property
    def beat_is_due(self) -> bool:
        """Must the heartbeat go out now?"""
        return self.now >= self.beat_due

    def beaten(self) -> "Clock":
        """After a heartbeat. The next is due on a grid of HEARTBEAT_MS, so that ticks off the grid even out."""
        every = HEARTBEAT_MS * MS_NS
        return Clock(self.ts, self.now, max(self.beat_due + every, self.now - self.now % every + every), self.beats + 1)
