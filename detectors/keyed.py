"""Many CUSUMs side by side, one for each key (an order's shape, a strategy, a parent), and the highest of them.

Each key has a reflected walk in limits: ``W = max(0, W - fall) + weight`` at each hit, where a *statistic* says how fast
W falls (``allowed_per_s / limit`` limits a second) and how much a hit weighs (1 / limit, or what the caller gives).
Fixed point (ONE = 1 limit), event after event, so that batch cuts do not matter.

Bounded: sets of WAYS cells; a key that finds its set full takes the place of the walk that stands lowest, so that a
flood of keys cannot push out the one that is running away. What the detector shows at an event is the *lead*: the walk
that was highest when it was last hit, fallen since. A walk begins at the hit that lifted it from zero; that event is
kept with it, because it is where the trouble began if the walk reaches the limit.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from detectors.arrays import I64, U64, where
from detectors.excursion import Excursion, Finding, first_of, room_for, walk
from detectors.flow import Flow, Where
from schemas.events import word_of
from schemas.jit import Int, compiled
from schemas.units import S_NS

ONE: Final = 1 << 30
"""One limit, in a walk's unit."""
SHOWN: Final = 1 << 10
"""One limit, in the unit of ``Lead.values``: walks are shown in 1/1024 limits."""
_SHIFT: Final = 20
WAYS: Final = 4
_FLOOR: Final = ONE // 4
"""A lead below this is shown as zero, or ordinary repeats would be part of every excursion on a busy router."""
_BITS: Final = 20
_DT_MAX: Final = 1 << 42
_K: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_S29: Final = np.uint64(29)
_S32: Final = np.uint64(32)
_TS: Final = word_of("ts")
_CL: Final = word_of("cl_ord_id")
VALUE, SEEN, STAT, COUNT, KEY = 0, 1, 2, 3, 4
"""Places in ``Walks.lead``."""


class Walks(NamedTuple):
    """The walks as the compiled loops see them. (c,) and (c, 7) by cell: key (0: free), value, stream time of the last
    hit, hits since it left zero, statistic, and where it left zero (stream time, ts, offset, item, ClOrdID)."""

    key: U64
    value: I64
    seen: I64
    hits: I64
    stat: I64
    first: I64
    lead: I64
    lead_first: I64
    rate: I64
    """(k,) fall of each statistic per ns, shifted left by ``shift``."""
    shift: I64
    weight: I64
    """(k,) what a hit of each statistic weighs."""


class Shown(NamedTuple):
    """What a pass gives: (n,) value of the lead in 1/1024 limits, its statistic and its hits; (n, 8) where it rose to
    the limit, as index and first event of the walk; (2 n, 3) transitions of the excursion; (2,) how many of both."""

    values: I64
    stats: I64
    counts: I64
    ups: I64
    found: I64
    used: I64


@compiled
def mix(h: np.uint64, word: np.uint64) -> np.uint64:
    """A hash with one word more in it."""
    h ^= h >> _S29
    h += word
    h *= _K
    return h ^ (h >> _S32)


@compiled
def number_key(number: int) -> np.uint64:
    """A key for a number."""
    return mix(_K, np.uint64(number + 1))


@compiled
def _fallen(value: int, since: int, now: int, rate: int, shift: int) -> int:
    if value == 0 or now <= since:
        return value
    fall = (min(now - since, _DT_MAX) * rate) >> shift
    return value - fall if fall < value else 0


@compiled
def _cell(walks: Walks, base: int, key: np.uint64, now: int) -> int:
    """Where the key stands in the set that begins at ``base``, or that which stands lowest."""
    for c in range(base, base + WAYS):
        if walks.key[c] == key:
            return c
    cell, lowest = base, 1 << 62
    for c in range(base, base + WAYS):
        stat = walks.stat[c]
        value: Int = walks.value[c]
        value = _fallen(value, walks.seen[c], now, walks.rate[stat], walks.shift[stat])
        if value < lowest:
            cell, lowest = c, value
    return cell


@compiled
def hit(walks: Walks, at: Where, i: int, key: np.uint64, stat: int, weight: int) -> None:
    """A hit of event i on a key: its walk, and the lead if it is higher (or the lead itself)."""
    if key == 0:
        key = _K
    now = at.t[i]
    rate, shift = walks.rate[stat], walks.shift[stat]
    base: Int = np.int64(key % np.uint64(len(walks.key) // WAYS)) * WAYS
    cell = _cell(walks, base, key, now)
    value = 0
    if walks.key[cell] == key:
        value = _fallen(walks.value[cell], walks.seen[cell], now, rate, shift)
    elif weight <= 0:
        return
    if value == 0:
        walks.hits[cell] = 0
        _begin(walks.first, cell, at, i)
    walks.key[cell], walks.stat[cell] = key, stat
    walks.seen[cell] = max(now, walks.seen[cell]) if value else now
    value = max(0, value + weight)
    walks.value[cell] = value
    walks.hits[cell] += 1
    lead = walks.lead
    top = lead_value(walks, now)
    if value >= top or lead[KEY] == np.int64(key):
        lead[VALUE], lead[SEEN], lead[STAT], lead[COUNT], lead[KEY] = value, now, stat, walks.hits[cell], np.int64(key)
        for w in range(7):
            walks.lead_first[w] = walks.first[cell, w]


@compiled
def _begin(first: I64, cell: int, at: Where, i: int) -> None:
    first[cell, 0], first[cell, 1] = at.t[i], at.words[i, _TS]
    first[cell, 2], first[cell, 3] = at.offsets[i], at.items[i]
    for w in range(3):
        first[cell, 4 + w] = at.words[i, _CL + w]


@compiled
def lead_value(walks: Walks, now: int) -> int:
    """The lead at stream time ``now``."""
    lead = walks.lead
    stat = lead[STAT]
    return _fallen(lead[VALUE], lead[SEEN], now, walks.rate[stat], walks.shift[stat])


@compiled
def show(walks: Walks, now: int, i: int, before: int, shown: Shown) -> None:
    """Write what the lead is at event i. before: what it was at the same time, before the event's hits."""
    value = lead_value(walks, now)
    if value < _FLOOR:
        shown.values[i] = shown.stats[i] = shown.counts[i] = 0
        return
    shown.values[i] = value >> _SHIFT
    shown.stats[i], shown.counts[i] = walks.lead[STAT], walks.lead[COUNT]
    if value >= ONE and before < ONE:
        up = shown.ups[shown.used[0]]
        up[0] = i
        for w in range(7):
            up[1 + w] = walks.lead_first[w]
        shown.used[0] += 1


class KeyedCusums:
    """The walks of one detector of one server.

    statistics: (limit in hits, allowed hits per second) each; walks_max: cells, a multiple of WAYS.
    """

    def __init__(self, statistics: Sequence[tuple[float, float]], walks_max: int = 4_096) -> None:
        c = walks_max
        rates = [allowed / limit * ONE / S_NS for limit, allowed in statistics]
        shifts = [_BITS - math.frexp(r)[1] if r > 0 else 0 for r in rates]
        self._walks = Walks(
            np.zeros(c, np.uint64), np.zeros(c, np.int64), np.zeros(c, np.int64), np.zeros(c, np.int64),
            np.zeros(c, np.int64), np.zeros((c, 7), np.int64), np.zeros(5, np.int64), np.zeros(7, np.int64),
            np.array([round(math.ldexp(r, s)) for r, s in zip(rates, shifts, strict=True)], np.int64),
            np.array(shifts, np.int64), np.array([round(ONE / limit) for limit, _ in statistics], np.int64),
        )  # fmt: skip

    @property
    def walks(self) -> Walks:
        """For the compiled loops."""
        return self._walks

    def shown(self, n: int) -> Shown:
        """Room for what a pass over n events gives."""
        return shown_room(n)

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot: the cells in use."""
        walks = self._walks
        at = where(walks.key)
        by_cell = {name: getattr(walks, name)[at] for name in ("key", "value", "seen", "hits", "stat", "first")}
        return {"at": at, "lead": walks.lead, "lead_first": walks.lead_first, **by_cell}

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        walks = self._walks
        for name in ("key", "value", "seen", "hits", "stat", "first"):
            column = getattr(walks, name)
            column[:] = 0
            column[state["at"]] = state[name]
        walks.lead[:], walks.lead_first[:] = state["lead"], state["lead_first"]


def shown_room(n: int) -> Shown:
    """Room for n events."""
    rows = np.empty((3, n), np.int64)
    return Shown(rows[0], rows[1], rows[2], np.empty((n, 8), np.int64), room_for(n), np.zeros(2, np.int64))


@compiled
def close(n: int, at: Where, totals: I64, row: I64, shown: Shown) -> None:
    """The end of a pass: the excursion of what it showed."""
    shown.used[1] = walk(n, at, shown.values, totals, row, shown.found)


def findings(excursion: Excursion, flow: Flow, shown: Shown, totals: I64) -> list[Finding]:
    """Transitions, as ``Excursion.step``, each with the first event of its walk in place of that of the lead."""
    rose, count = shown.used.tolist()
    if not count:
        return []
    found = excursion.findings(flow, shown.values, totals, shown.found, count)
    rises = shown.ups[:rose]
    place = None
    for finding in found:
        if finding.edge == "open":
            at = where(rises[:, 0] == finding.index)
            place = rises[at[0], 1:] if len(at) else None
        if place is not None:
            finding.first, finding.began = first_of(flow, place), int(place[0])
    if excursion.open and place is not None:
        excursion.begins_at(place)
    return found
