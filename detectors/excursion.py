"""Excursions: when a statistic goes beyond its limit, how far it got, and when it has been quiet again.

Shared by all detectors, so that opening, updating and closing mean the same everywhere. A breach opens at the first
event at or beyond the limit, is updated each time the statistic has doubled once more over the limit, and closes at
the first event that comes ``quiet_ns`` after the last one beyond the limit.

The state is one row of integers, and the loop is compiled, so that nine excursions an event cost little: a compiled pass
calls ``walk`` at its end, and Python is asked (``findings``) only when there was a transition.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from detectors.arrays import I64
from detectors.flow import Flow, Where, places
from detectors.totals import COLUMNS, INDEX, PROFIT, TRADED
from schemas.events import word_of
from schemas.jit import Int, compiled
from schemas.records import FirstEvent, Money
from schemas.units import S_NS, usd

Edge = Literal["open", "update", "close"]
_LEVELS_MAX = 40
_EDGES: Final[tuple[Edge, ...]] = ("open", "update", "close")
_CARRIED, _NONE = -1, -2
"""Where an excursion began: before this flow; there is none. Else an event's index."""
_LIMIT, _QUIET, _OPEN, _LEVEL, _BEYOND_AT, _MARK, _NEXT = range(7)
_FIRST: Final = 8
"""From here on where the excursion began that was running before the last flow: stream time, ts, offset, item, ClOrdID as
three words, then the totals before it. A second such block is that of one that began in the last flow (``_NEXT`` is 1)."""
_BLOCK: Final = 7 + len(COLUMNS)
_SIZE: Final = _FIRST + 2 * _BLOCK
_K: Final = len(COLUMNS)
_TS, _CL = word_of("ts"), word_of("cl_ord_id")


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
    """State of one statistic of one server: whether it is beyond its limit, since when, and how high.

    limit: in the statistic's own integer unit. quiet_ns: how long it must be below before the breach closes.
    """

    def __init__(self, limit: int, quiet_ns: int) -> None:
        self.row: I64 = np.zeros(_SIZE, np.int64)
        self.row[_LIMIT], self.row[_QUIET], self.row[_MARK] = limit, quiet_ns, _NONE

    @property
    def limit(self) -> int:
        """From which value on the breach opens."""
        return int(self.row[_LIMIT])

    @property
    def open(self) -> bool:
        """Beyond the limit, or not yet quiet again."""
        return bool(self.row[_OPEN])

    @property
    def beyond_at(self) -> int:
        """Stream time at which it last was beyond (ns)."""
        return int(self.row[_BEYOND_AT])

    @property
    def idle(self) -> bool:
        """Neither open nor on its way."""
        return not self.row[_OPEN] and int(self.row[_MARK]) == _NONE

    def step(self, flow: Flow, values: I64, totals: I64) -> list[Finding]:
        """Transitions in a flow.

        values: (n,) the statistic after each event. It is zero where nothing is wrong; the run of non-zero values that
        leads to the limit is the excursion, and its first event is where the trouble began. totals: (n + 1, k).
        """
        if self.idle and not values.any():
            return []
        found = room_for(len(flow))
        count = walk(len(flow), places(flow), values, totals, self.row, found)
        return self.findings(flow, values, totals, found, count)

    def findings(self, flow: Flow, values: I64, totals: I64, found: I64, count: int) -> list[Finding]:
        """What ``walk`` wrote, in words. found: (2 n, 3), of which ``count`` rows."""
        out = []
        for i, edge, at in found[:count].tolist():
            if at >= 0:
                first, began, base = flow.first_event(at), int(flow.t[at]), totals[at]
            else:
                block = self.row[_FIRST : _FIRST + _BLOCK]
                first, began, base = first_of(flow, block), int(block[0]), block[7:]
            out.append(Finding(i, _EDGES[edge], int(values[i]), first, began, totals[i + 1] - base))
        return out

    def begins_at(self, place: I64) -> None:
        """The excursion that stands began elsewhere: (7,) stream time, ts, offset, item and ClOrdID as words."""
        start = _FIRST + _BLOCK * int(self.row[_NEXT])
        self.row[start : start + 7] = place


def first_of(flow: Flow, place: I64) -> FirstEvent:
    """(7,) stream time, ts, offset, item and ClOrdID as words, as the place where trouble began."""
    name = place[4:7].tobytes().rstrip(b"\0").decode("ascii", "replace")
    return FirstEvent(flow.topic, flow.partition, int(place[2]), int(place[1]), name, int(place[3]))


def room_for(n: int) -> I64:
    """Room for the transitions of n events: (2 n, 3)."""
    return np.empty((2 * n, 3), np.int64)


@compiled
def _level(value: int, limit: int, level: int) -> int:
    while level < _LEVELS_MAX and value >> (level + 1) >= limit:
        level += 1
    return level


@compiled
def walk(n: int, at: Where, values: I64, totals: I64, row: I64, found: I64) -> int:
    """Takes the state past n events; writes (event, edge, where it began) into found (2 n, 3) and returns how many."""
    if row[_NEXT] == 1:
        for k in range(_BLOCK):
            row[_FIRST + k] = row[_FIRST + _BLOCK + k]
        row[_NEXT] = 0
    limit, quiet_ns = row[_LIMIT], row[_QUIET]
    is_open, level, beyond_at = row[_OPEN] == 1, row[_LEVEL], row[_BEYOND_AT]
    mark = np.int64(_NONE if row[_MARK] == _NONE else _CARRIED)
    t = at.t
    count = 0
    for i in range(n):
        value = values[i]
        if is_open:
            if t[i] - beyond_at <= quiet_ns:
                if value >= limit:
                    beyond_at = t[i]
                    if value >> (level + 1) >= limit and level < _LEVELS_MAX:
                        level = _level(value, limit, level)
                        found[count, 0], found[count, 1], found[count, 2] = i, 1, mark
                        count += 1
                continue
            found[count, 0], found[count, 1], found[count, 2] = i, 2, mark
            count += 1
            is_open, mark = False, np.int64(_NONE)
        if value == 0:
            mark = np.int64(_NONE)
            continue
        if mark == _NONE:
            mark = np.int64(i)
        if value >= limit:
            is_open, beyond_at = True, t[i]
            level = _level(value, limit, 0)
            found[count, 0], found[count, 1], found[count, 2] = i, 0, mark
            count += 1
    row[_OPEN], row[_LEVEL], row[_BEYOND_AT], row[_MARK] = is_open, level, beyond_at, mark
    if mark >= 0:
        _begin(row, at, mark, totals)
    return count


@compiled
def _begin(row: I64, at: Where, i: Int, totals: I64) -> None:
    """The excursion began at event i of this flow."""
    start = _FIRST + _BLOCK
    row[_MARK], row[_NEXT] = _CARRIED, 1
    row[start], row[start + 1] = at.t[i], at.words[i, _TS]
    row[start + 2], row[start + 3] = at.offsets[i], at.items[i]
    for w in range(3):
        row[start + 4 + w] = at.words[i, _CL + w]
    for k in range(_K):
        row[start + 7 + k] = totals[i, k]
