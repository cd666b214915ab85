"""Stream time of one server: monotone, made from the events' own stamps, never from a clock.

A stamp that jumps ahead by more than ``future_ns_max`` is clamped (counted) until the next one confirms it; a stamp
older than stream time by more than ``lateness_ns_max`` is late (counted, scored on arrival). When ``_LATE_RUN``
stamps in a row are late the server's clock has been set back: from then on stream time goes forward by the same steps
as the stamps do, so that a wrong clock can neither freeze nor race the detectors.
"""

import numpy as np

from detectors.arrays import I64, U64, Bools
from schemas.events import word_of
from schemas.jit import Int, compiled

Oddity = tuple[int, str, int]
"""Index of an event, the counter it raises, by how much."""

_LATE_RUN = 32
_TS, _SEQ = word_of("ts"), word_of("seq")


class StreamClock:
    """State: stream time, the suspect stamp, the run of late stamps and the shift that a set-back clock needs (ns)."""

    def __init__(self, lateness_ns_max: int, future_ns_max: int) -> None:
        self.lateness_ns_max = lateness_ns_max
        self.future_ns_max = future_ns_max
        self.now = 0
        self.shift = 0
        self.suspect = 0
        self.late_run = 0

    def advance(self, words: U64) -> tuple[I64, list[Oddity]]:
        """(n,) stream time at each of n >= 1 events (as words), and what was odd (late, clamped, clock_resets)."""
        if self.now == 0:
            self.now = int(words[0, _TS])
        times = np.empty(len(words), np.int64)
        if self.suspect == 0 and self.late_run == 0:
            bounds = self.lateness_ns_max, self.future_ns_max
            if calm(words, self.now, self.shift, bounds, times):
                self.now = int(times[-1])
                return times, []
        odd: list[Oddity] = []
        slow = [self._one(i, ts, odd) for i, ts in enumerate(words[:, _TS].tolist())]
        return np.array(slow, np.int64), odd

    def _one(self, i: int, stamp: int, odd: list[Oddity]) -> int:
        """One event; only batches with a jump or a late stamp come here."""
        ts = stamp + self.shift
        if ts > self.now + self.future_ns_max:
            if self.suspect and ts >= self.suspect - self.future_ns_max:
                self.now, self.suspect, self.late_run = ts, 0, 0
            else:
                self.suspect = ts
                odd.append((i, "clamped", 1))
            return self.now
        self.suspect = 0
        if ts >= self.now - self.lateness_ns_max:
            self.late_run = 0
            self.now = max(self.now, ts)
            return self.now
        odd.append((i, "late", 1))
        self.late_run += 1
        if self.late_run >= _LATE_RUN:
            self.shift += self.now - ts
            self.late_run = 0
            odd.append((i, "clock_resets", 1))
        return self.now


class Sequence:
    """Per-server sequence numbers: gaps, repeats and restarts.

    A number at or below the highest is a repeat, unless it fills a known gap, or the node has begun anew: numbers that
    restart at 0 or 1, or run upward one by one ``_RESTART_RUN`` times, with stamps newer than all before.
    """

    _RESTART_RUN = 8
    _GAPS_MAX = 64

    def __init__(self) -> None:
        self.highest = -1
        self.newest_ts = 0
        self.gaps: list[list[int]] = []
        self.run_next = -1
        self.run_length = 0

    def follow(self, highest: int, newest_ts: int) -> None:
        """Every event was the expected next one, up to number ``highest``; newest_ts: the newest stamp of all."""
        self.highest, self.newest_ts, self.run_length = highest, newest_ts, 0

    def fresh(self, words: U64) -> tuple[Bools | None, list[Oddity]]:
        """(n,) bool, False at repeats, of n >= 1 events (as words), or None when every event is the expected next one
        (the usual case); and what was odd (gaps, missing, repeats, restarts)."""
        in_order, newest = follows(words, self.highest)
        if in_order:
            self.follow(int(words[-1, _SEQ]), max(self.newest_ts, newest))
            return None, []
        odd: list[Oddity] = []
        pairs = enumerate(words[:, [_SEQ, _TS]].tolist())
        return np.array([self._one(i, s, t, odd) for i, (s, t) in pairs], np.bool_), odd

    def _one(self, i: int, seq: int, ts: int, odd: list[Oddity]) -> bool:
        newer = ts > self.newest_ts
        self.newest_ts = max(self.newest_ts, ts)
        if self.highest < 0 or seq > self.highest:
            if self.highest >= 0 and seq > self.highest + 1:
                odd += [(i, "gaps", 1), (i, "missing", seq - self.highest - 1)]
                self.gaps = [*self.gaps, [self.highest + 1, seq - 1]][-self._GAPS_MAX :]
            self.highest = seq
            self.run_length = 0
            return True
        self.run_length = self.run_length + 1 if newer and seq == self.run_next else int(newer)
        self.run_next = seq + 1
        if newer and (seq <= 1 or self.run_length >= self._RESTART_RUN):
            self.highest, self.gaps, self.run_length = seq, [], 0
            odd.append((i, "restarts", 1))
            return True
        for gap in self.gaps:
            if gap[0] <= seq <= gap[1]:
                self._fill(gap, seq)
                odd.append((i, "missing", -1))
                return True
        odd.append((i, "repeats", 1))
        return False

    def _fill(self, gap: list[int], seq: int) -> None:
        parts = [[gap[0], seq - 1], [seq + 1, gap[1]]]
        at = self.gaps.index(gap)
        self.gaps[at : at + 1] = [p for p in parts if p[0] <= p[1]]


@compiled
def calm(words: U64, now: Int, shift: int, bounds: tuple[int, int], times: I64) -> bool:
    """Stream times, as long as no stamp is late or far ahead."""
    lateness, future = bounds
    for i in range(len(words)):
        ts = np.int64(words[i, _TS]) + shift
        if ts > now + future or ts < now - lateness:
            return False
        now = max(now, ts)
        times[i] = now
    return True


@compiled
def follows(words: U64, highest: Int) -> tuple[bool, Int]:
    """Is each event the next one after the highest (any first one after -1), and the newest stamp."""
    newest = np.int64(0)
    if highest < 0:
        highest = np.int64(words[0, _SEQ]) - 1
    for i in range(len(words)):
        highest += 1
        if np.int64(words[i, _SEQ]) != highest:
            return False, newest
        newest = max(newest, np.int64(words[i, _TS]))
    return True, newest
