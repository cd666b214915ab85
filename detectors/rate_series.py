"""Many series of order times at once, a bank of Poisson CUSUMs for each: the server's, each strategy's, each symbol's.

Sequential and compiled: an order touches three series, whatever their number. A series decays lazily, when it is touched
or asked for. Exact integers in log order, so that batch cuts do not matter; state is one (rows, columns) int64 array.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, U64
from detectors.flow import Flow, Where
from detectors.intern import DROPPED, IdTable, Slots, enter
from detectors.totals import PROFIT, TRADED
from schemas.events import word_of
from schemas.jit import Int, compiled
from schemas.records import FirstEvent
from schemas.units import S_NS

Floats = NDArray[np.float64]
UNIT = 1 << 30
"""Fixed point of the log-likelihood ratio: 1 nat."""
SERVER, STRATEGY, SYMBOL = 0, 1, 2
LEVELS = ("server", "strategy", "symbol")
STRATEGIES_MAX = 64
SYMBOLS_MAX = 8_192
"""Series remembered (first in, first out): a strategy later than 64 others shares the series of the 64th before it."""
_IDS_MAX = 8_192
"""Events in a flow at most (``Stage1`` cuts at so many)."""
_SYMBOLS_AT = 1 + STRATEGIES_MAX
_ROWS_MIN = _SYMBOLS_AT + 63
_BITS = 27
"""Significant bits of a decay: times the longest step (34 bits) it stays within int64."""
_DT_NS_MAX = 10 * S_NS
_FALL_MAX = 1 << 48
_RATIO_BITS = 8
LAST, BEGAN, COUNT, MINUTE, RATE, SHIFT = 0, 1, 2, 3, 4, 5
BEGAN_T, OFFSET, ITEM, TS, ID, MONEY, WALK = 6, 7, 8, 9, 10, 13, 15
"""Columns of a row. Stream time of the last order; 1 + index in this flow of the order at which the excursion began (0:
before it); orders since; orders this minute; decay as a fraction rate / 2**shift; where it began: stream time, offset,
item, stamp, ClOrdID as three words, profit and traded notional then. The walks of the bank come after them."""


_SYMBOL, _CL_ORD_ID, _TS = word_of("symbol"), word_of("cl_ord_id"), word_of("ts")
"""A symbol has 12 characters: one word and the lower half of the next; the strategy follows at once."""
_HALF = np.uint64(32)
_LAST4 = np.uint64(0xFFFFFFFF)


class Origin(NamedTuple):
    """Where an excursion began: event, stream time (ns), profit and traded notional (micro-dollars) before it."""

    first: FirstEvent
    t: int
    profit: int
    traded: int


class Scores(NamedTuple):
    """(n,) after each event: the highest statistic, and again where it is beyond the limit (else 0); the row of the
    series that stands highest, 1 + index of the order at which that left zero (0: before this flow), and its orders
    since then. (3 n,) series of which an excursion began in this flow, and how many."""

    value: I64
    beyond: I64
    row: I64
    began: I64
    orders: I64
    touched: I64
    used: I64


class Bank(NamedTuple):
    """What an order gives, by level and jump (3, J), in nats; r - 1 in fixed point (J,); rate and shift of a series
    that has learned nothing, by level (3, 2)."""

    gains: I64
    ratios: I64
    fresh: I64


@compiled
def _fall(state: I64, row: int, t: int) -> int:
    """Nats that a unit of r - 1 has lost since the series' last order."""
    dt = min(t - state[row, LAST], _DT_NS_MAX)
    fall: int = min((dt * state[row, RATE]) >> state[row, SHIFT], _FALL_MAX)
    return fall


@compiled
def _height(state: I64, row: int, t: int, ratios: I64) -> int:
    """The highest of a bank, decayed to t, without changing it."""
    fall = _fall(state, row, t)
    best = 0
    for j in range(len(ratios)):
        best = max(best, state[row, WALK + j] - ((fall * ratios[j]) >> _RATIO_BITS))
    return best


@compiled
def _hit(tables: "SeriesTables", row: int, t: int, i: int, level: int, out: Scores) -> Int:
    """An order of this series: the Lindley step of its bank."""
    state, ratios = tables.state, tables.bank.ratios
    gains = tables.bank.gains[level]
    fall = _fall(state, row, t)
    before = after = 0
    for j in range(len(ratios)):
        walk = state[row, WALK + j]
        before = max(before, walk)
        walk = max(walk + gains[j] - ((fall * ratios[j]) >> _RATIO_BITS), 0)
        state[row, WALK + j] = walk
        after = max(after, walk)
    state[row, LAST] = t
    state[row, MINUTE] += 1
    if before == 0:
        if state[row, BEGAN] == 0:
            out.touched[out.used[0]] = row
            out.used[0] += 1
        state[row, BEGAN] = i + 1
        state[row, COUNT] = 0
    state[row, COUNT] += 1
    return after


@compiled
def _row(tables: "SeriesTables", words: U64, i: int, level: int, out: Scores) -> Int:
    """Row of the strategy or symbol that an order names, -1 where it names none. A row is an id's number modulo the
    table's size: a new id takes over an old one's."""
    middle, last, ids = words[i, _SYMBOL + 1], words[i, _SYMBOL + 2], tables.id
    if level == STRATEGY:
        ids[0, 0], ids[0, 1] = (middle >> _HALF) | (last << _HALF), last >> _HALF
        slots = tables.strategies
    else:
        ids[0, 0], ids[0, 1] = words[i, _SYMBOL], middle & _LAST4
        slots = tables.symbols
    if ids[0, 0] == 0:
        return -1
    number, new = enter(slots, ids, 0, 0)
    number += slots.meta[DROPPED]
    row = 1 + number % STRATEGIES_MAX if level == STRATEGY else _SYMBOLS_AT + number % SYMBOLS_MAX
    if new:
        _clear(tables.state, row, tables.bank.fresh[level])
        tables.learned[row], tables.minutes[row] = 0.0, 0
    return row


@compiled
def keep(tables: "SeriesTables", at: Where, totals: I64, out: Scores) -> None:
    """Excursions that began in this flow: what is told of them beyond it."""
    state = tables.state
    for k in range(out.used[0]):
        row = out.touched[k]
        i = state[row, BEGAN] - 1
        if i < 0:
            continue
        state[row, BEGAN] = 0
        state[row, BEGAN_T], state[row, OFFSET], state[row, ITEM] = at.t[i], at.offsets[i], at.items[i]
        state[row, TS] = at.words[i, _TS]
        for w in range(3):
            state[row, ID + w] = np.int64(at.words[i, _CL_ORD_ID + w])
        state[row, MONEY], state[row, MONEY + 1] = totals[i, PROFIT], totals[i, TRADED]


@compiled
def _clear(state: I64, row: int, bound: I64) -> None:
    """A new series in this row."""
    state[row, :] = 0
    state[row, RATE], state[row, SHIFT] = bound[0], bound[1]


@compiled
def score(tables: "SeriesTables", i: int, t: int, words: U64, ask: bool, out: Scores) -> None:
    """Take in event i, an order (``ask``) or not, and write what stands highest after it."""
    state, leader, ratios = tables.state, tables.leader, tables.bank.ratios
    row, best = leader[0], _height(state, leader[0], t, ratios)
    if ask:
        mine = _hit(tables, 0, t, i, SERVER, out)
        held = best
        if mine >= best:
            best, row = mine, np.int64(0)
        for level in range(STRATEGY, SYMBOL + 1):
            at = _row(tables, words, i, level, out)
            if at < 0:
                continue
            mine = _hit(tables, at, t, i, level, out)
            if mine >= held:
                held, leader[0] = mine, at
            if mine >= best:
                best, row = mine, at
    else:
        own = _height(state, 0, t, ratios)
        if own >= best:
            best, row = own, np.int64(0)
    out.value[i], out.row[i] = best, row
    out.began[i], out.orders[i] = state[row, BEGAN], state[row, COUNT]


class SeriesTables(NamedTuple):
    """Series as the compiled loops see them: ids, room for one (1, 2), states, what was learned, the leader, the bank."""

    strategies: Slots
    symbols: Slots
    id: U64
    state: I64
    learned: Floats
    minutes: I64
    leader: I64
    bank: Bank


def scores_room(n: int) -> Scores:
    """Room for n events."""
    value, beyond, row, began, orders = np.empty((5, n), np.int64)
    return Scores(value, beyond, row, began, orders, np.empty(3 * n, np.int64), np.zeros(1, np.int64))


class Series:
    """State of the server's series (row 0), its strategies' and its symbols'. jumps: (J,) rate ratios of the bank."""

    def __init__(self, jumps: tuple[float, ...]) -> None:
        self.strategies = IdTable(_IDS_MAX, 2)
        self.symbols = IdTable(SYMBOLS_MAX, 2)
        self.leader: I64 = np.zeros(1, np.int64)
        """Row of the strategy or symbol that stood highest at its last order: what holds between orders."""
        self.rows: I64 = np.zeros((_ROWS_MIN, WALK + len(jumps)), np.int64)
        self.learned: Floats = np.zeros(_ROWS_MIN)
        """Orders per second by series, and the minutes they were learned from."""
        self.minutes: I64 = np.zeros(_ROWS_MIN, np.int64)
        self._id: U64 = np.zeros((1, 2), np.uint64)
        self._jumps = np.array(jumps)
        ratios = np.round((self._jumps - 1.0) * (1 << _RATIO_BITS)).astype(np.int64)
        levels = len(LEVELS)
        self._bank = Bank(np.zeros((levels, len(jumps)), np.int64), ratios, np.zeros((levels, 2), np.int64))

    def set_bounds(self, per_s: Floats, prior_per_s: Floats, dispersion: Floats) -> None:
        """Upper bounds of the normal rates, orders per second (> 0): per_s (rows,) now, prior_per_s (3,) by level of a
        series to come; dispersion (3,) by level."""
        bank = self._bank
        bank.gains[:] = np.round(np.log(self._jumps) / dispersion[:, None] * UNIT)
        bank.fresh[:, 0], bank.fresh[:, 1] = _fraction(prior_per_s / dispersion)
        self.rows[:, RATE], self.rows[:, SHIFT] = _fraction(per_s / dispersion[self.levels()])

    def bound_per_s(self, row: int, dispersion: float) -> float:
        """Upper bound of a series' normal rate, as set. dispersion: of its level."""
        rate, shift = int(self.rows[row, RATE]), int(self.rows[row, SHIFT])
        return math.ldexp(rate, -shift) * dispersion * S_NS / UNIT

    def levels(self) -> I64:
        """(rows,) which of LEVELS a row is of."""
        out = np.full(len(self.rows), SYMBOL)
        out[:_SYMBOLS_AT] = STRATEGY
        out[0] = SERVER
        return out

    def room(self) -> int:
        """Names that can be entered before something must be made larger."""
        rows = len(self.rows) - _SYMBOLS_AT
        names = min(self.strategies.room, self.symbols.room)
        return names if rows >= SYMBOLS_MAX else min(names, rows - self._named)

    def tables(self, more: int) -> SeriesTables:
        """For the compiled loops, with room for ``more`` names."""
        strategies, symbols = self.strategies.reserve(more), self.symbols.reserve(more)
        self._grow(_SYMBOLS_AT + min(self._named + more, SYMBOLS_MAX))
        return SeriesTables(
            strategies, symbols, self._id, self.rows, self.learned, self.minutes, self.leader, self._bank
        )

    @property
    def _named(self) -> int:
        """Symbols named so far."""
        return self.symbols.used + self.symbols.dropped

    def _grow(self, rows: int) -> None:
        size = have = len(self.rows)
        while size < rows:
            size *= 2
        if size > have:
            more = size - have
            self.rows = np.concatenate([self.rows, np.zeros((more, self.rows.shape[1]), np.int64)])
            self.learned = np.concatenate([self.learned, np.zeros(more)])
            self.minutes = np.concatenate([self.minutes, np.zeros(more, np.int64)])

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot: the rows in use."""
        used = _SYMBOLS_AT + min(self._named, SYMBOLS_MAX)
        return {
            "strategies": self.strategies.state(), "symbols": self.symbols.state(), "leader": self.leader,
            "rows": self.rows[:used], "learned": self.learned[:used], "minutes": self.minutes[:used],
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        self.strategies.load(state["strategies"])
        self.symbols.load(state["symbols"])
        self.leader[:] = state["leader"]
        used = len(state["rows"])
        self._grow(used)
        for mine, name in ((self.rows, "rows"), (self.learned, "learned"), (self.minutes, "minutes")):
            mine[:] = 0
            mine[:used] = state[name]

    def origin(self, flow: Flow, totals: I64, row: int, began: int) -> Origin:
        """Where the excursion of a series began. began: as in ``Scores``."""
        if began:
            i = began - 1
            return Origin(flow.first_event(i), int(flow.t[i]), int(totals[i, PROFIT]), int(totals[i, TRADED]))
        kept = self.rows[row]
        ref = kept[ID : ID + 3].tobytes().rstrip(b"\0").decode("ascii", "replace")
        first = FirstEvent(flow.topic, flow.partition, int(kept[OFFSET]), int(kept[TS]), ref, int(kept[ITEM]))
        return Origin(first, int(kept[BEGAN_T]), int(kept[MONEY]), int(kept[MONEY + 1]))

    def name(self, row: int) -> tuple[str, str]:
        """Level and id of a series; the id of one that shares its row is the latest."""
        if row == 0:
            return LEVELS[SERVER], ""
        table, base, size = (
            (self.strategies, 1, STRATEGIES_MAX) if row < _SYMBOLS_AT else (self.symbols, _SYMBOLS_AT, SYMBOLS_MAX)
        )
        newest = table.used + table.dropped - 1
        number = newest - (newest - (row - base)) % size
        return LEVELS[STRATEGY if base == 1 else SYMBOL], table.name(number - table.dropped)

    def close(self, learn: bool, memory_minutes: float, most: Floats) -> None:
        """The minute is over: learn each series' rate. most: (rows,) the rate beyond which a minute is winsorised."""
        counts = self.rows[:, MINUTE]
        if learn:
            seen = (counts > 0) | (self.minutes > 0)
            rate = np.minimum(counts / 60.0, most)
            weight = np.maximum(1.0 / (self.minutes + 1), 1.0 / memory_minutes)
            self.learned += np.where(seen, weight * (rate - self.learned), 0.0)
            self.minutes += seen
        self.rows[:, MINUTE] = 0


def _fraction(per_s: Floats) -> tuple[I64, I64]:
    """Nats per second as rate / 2**shift fixed-point units per ns."""
    mantissa, exponent = np.frexp(per_s * (UNIT / S_NS))
    return np.round(np.ldexp(mantissa, _BITS)).astype(np.int64), (_BITS - exponent).astype(np.int64)
