"""Excursions: when a statistic goes beyond its limit, how far it got, and when it has been quiet again.

Shared by all detectors, so that opening, updating and closing mean the same everywhere. A breach opens at the first
event at or beyond the limit, is updated each time the statistic has doubled once more over the limit, and closes at
the first event that comes ``quiet_ns`` after the last one beyond the limit.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from detectors.arrays import I64
from detectors.flow import Flow
from detectors.totals import COLUMNS, INDEX, PROFIT, TRADED
from schemas.jit import compiled
from schemas.records import FirstEvent, Money
from schemas.units import S_NS, usd

Edge = Literal["open", "update", "close"]
_LEVELS_MAX = 40
_EDGES: Final[tuple[Edge, ...]] = ("open", "update", "close")
_CARRIED, _NONE = -1, -2
"""Where an excursion began: before this flow; there is none. Else an event's index."""


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
        if self.first is None and not self.open and not values.any():
            return []
        marked = _NONE if self.first is None else _CARRIED
        found = np.empty((2 * len(values), 3), np.int64)
        count, self.open, self.level, self.beyond_at, mark = _transitions(
            values, flow.t, self.limit, self.quiet_ns, self.open, self.level, self.beyond_at, marked, found
        )
        findings = []
        for i, edge, at in found[:count].tolist():
            self._mark(flow, at, totals)
            assert self.first is not None
            since = totals[i + 1] - self.base
            findings.append(Finding(i, _EDGES[edge], int(values[i]), self.first, self.began, since))
        self._mark(flow, mark, totals)
        return findings

    def _mark(self, flow: Flow, at: int, totals: I64) -> None:
        """Take event ``at`` as the place where the excursion began."""
        if at >= 0:
            self.first, self.began, self.base = flow.first_event(at), int(flow.t[at]), totals[at].copy()
        elif at == _NONE:
            self.first = None


@compiled
def _transitions(
    values: I64, t: I64, limit: int, quiet_ns: int, is_open: bool, level: int, beyond_at: int, mark: int, found: I64
) -> tuple[int, bool, int, int, int]:
    """Writes (event, edge, where it began) into found (2 n, 3); returns how many, and the state after the flow."""
    count = 0
    for i in range(len(values)):
        value = values[i]
        if is_open:
            if t[i] - beyond_at <= quiet_ns:
                if value >= limit:
                    beyond_at = t[i]
                if level < _LEVELS_MAX and value >> (level + 1) >= limit:
                    while level < _LEVELS_MAX and value >> (level + 1) >= limit:
                        level += 1
                    found[count, 0], found[count, 1], found[count, 2] = i, 1, mark
                    count += 1
                continue
            found[count, 0], found[count, 1], found[count, 2] = i, 2, mark
            count += 1
            is_open, mark = False, _NONE
        if value == 0:
            mark = _NONE
            continue
        if mark == _NONE:
            mark = i
        if value >= limit:
            is_open, level, beyond_at = True, 0, t[i]
            while level < _LEVELS_MAX and value >> (level + 1) >= limit:
                level += 1
            found[count, 0], found[count, 1], found[count, 2] = i, 0, mark
            count += 1
    return count, is_open, level, beyond_at, mark
