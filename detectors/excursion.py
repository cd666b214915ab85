"""Excursions: when a statistic goes beyond its limit, how far it got, and when it has been quiet again.

Shared by all detectors, so that opening, updating and closing mean the same everywhere. A breach opens at the first
event at or beyond the limit, is updated each time the statistic has doubled once more over the limit, and closes at
the first event that comes ``quiet_ns`` after the last one beyond the limit.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from detectors.arrays import I64, where
from detectors.flow import Flow
from detectors.totals import COLUMNS, INDEX, PROFIT, TRADED
from schemas.records import FirstEvent, Money
from schemas.units import S_NS, usd

Edge = Literal["open", "update", "close"]
_LEVELS_MAX = 40


@dataclass(slots=True)
class Finding:
    """A transition of an excursion at event ``index`` of the flow."""

    index: int
    edge: Edge
    value: int
    """The statistic, in its own integer unit."""
    first: FirstEvent
    began: int
    """Stream time of the first event (ns)."""
    since: I64
    """Totals from the first event to this one (columns of ``totals``)."""

    def count(self, name: str) -> int:
        """Change of one total since the first event."""
        return int(self.since[INDEX[name]])

    def money(self, now: int) -> Money:
        """Loss and notional traded since the first event; the rate is over a tenth of a second at the least."""
        loss = usd(-int(self.since[PROFIT]))
        seconds = max(now - self.began, S_NS // 10) / S_NS
        return Money(loss, round(loss / seconds, 2), usd(int(self.since[TRADED])))


class Excursion:
    """State of one statistic of one server: whether it is beyond its limit, since when, and how high."""

    def __init__(self, limit: int, quiet_ns: int) -> None:
        self.limit = limit
        self.quiet_ns = quiet_ns
        self.open = False
        self.level = 0
        self.beyond_at = 0
        self.first: FirstEvent | None = None
        self.began = 0
        self.base: I64 = np.zeros(len(COLUMNS), np.int64)

    def step(self, flow: Flow, values: I64, totals: I64) -> list[Finding]:
        """Transitions in a flow.

        values: (n,) the statistic after each event. It is zero where nothing is wrong; the run of non-zero values that
        leads to the limit is the excursion, and its first event is where the trouble began. totals: (n + 1, k).
        """
        findings: list[Finding] = []
        if not self.open and int(values.max()) == 0:
            self.first = None
            return findings
        beyond = where(values >= self.limit)
        fresh = 0
        if self.open or len(beyond):
            i = 0
            while i < len(values):
                if self.open:
                    i = self._until_close(flow, values, beyond, i, totals, findings)
                    fresh = i
                else:
                    i = self._until_open(flow, values, beyond, i, totals, findings)
            if len(beyond):
                self.beyond_at = int(flow.t[beyond[-1]])
        if not self.open:
            self._remember(flow, values, totals, fresh)
        return findings

    def _until_open(
        self, flow: Flow, values: I64, beyond: I64, start: int, totals: I64, findings: list[Finding]
    ) -> int:
        k = int(np.searchsorted(beyond, start))
        if k == len(beyond):
            return len(values)
        i = int(beyond[k])
        zeros = where(values[start:i] == 0)
        if len(zeros):
            self._mark(flow, start + int(zeros[-1]) + 1, totals)
        elif self.first is None:
            self._mark(flow, start, totals)
        self.open, self.level = True, 0
        self._raise_level(int(values[i]))
        findings.append(self._finding(i, "open", values, totals))
        return i + 1

    def _until_close(
        self, flow: Flow, values: I64, beyond: I64, start: int, totals: I64, findings: list[Finding]
    ) -> int:
        k = int(np.searchsorted(beyond, start))
        later = beyond[k:]
        times = flow.t[later]
        previous = np.empty(len(later) + 1, np.int64)
        previous[0] = flow.t[beyond[k - 1]] if k else self.beyond_at
        previous[1:] = times
        # after which of the events beyond the limit did quiet_ns pass before the next one, or before the end?
        nexts = np.append(times, flow.t[-1])
        gaps = where(nexts - previous > self.quiet_ns)
        end = len(values)
        if len(gaps):
            since = int(previous[gaps[0]])
            end = max(start, int(np.searchsorted(flow.t, since + self.quiet_ns, side="right")))
        self._raise_through(values, start, end, totals, findings)
        if end == len(values):
            return end
        findings.append(self._finding(end, "close", values, totals))
        self.open = False
        if values[end] == 0:
            self.first = None
        else:
            self._mark(flow, end, totals)
        return end

    def _raise_through(self, values: I64, start: int, end: int, totals: I64, findings: list[Finding]) -> None:
        while self.level < _LEVELS_MAX:
            higher = where(values[start:end] >= self.limit << (self.level + 1))
            if not len(higher):
                break
            i = start + int(higher[0])
            self._raise_level(int(values[i]))
            findings.append(self._finding(i, "update", values, totals))

    def _raise_level(self, value: int) -> None:
        while self.level < _LEVELS_MAX and value >= self.limit << (self.level + 1):
            self.level += 1

    def _finding(self, i: int, edge: Edge, values: I64, totals: I64) -> Finding:
        assert self.first is not None
        return Finding(i, edge, int(values[i]), self.first, self.began, totals[i + 1] - self.base)

    def _mark(self, flow: Flow, i: int, totals: I64) -> None:
        self.first, self.began, self.base = flow.first_event(i), int(flow.t[i]), totals[i].copy()

    def _remember(self, flow: Flow, values: I64, totals: I64, start: int) -> None:
        """Keep where the excursion began that is under way, below the limit, at the end of the flow."""
        if int(values[-1]) == 0:
            self.first = None
            return
        zeros = where(values[start:] == 0)
        if len(zeros):
            self._mark(flow, start + int(zeros[-1]) + 1, totals)
        elif self.first is None:
            self._mark(flow, start, totals)
