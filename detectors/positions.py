"""Positions, profit and loss of one server from its own fills, marked at the NBBO that the router saw.

For a symbol with position p and mark m, an event that moves the mark to m' and trades a signed quantity s at price x
changes profit by ``p (m' - m) + s (m' - x)``. Summed over events that is cash plus position at mark, without the
large cancelling terms. Marks are whole micro-dollars, so that sums are exact in int64. Fills without an NBBO are
marked at their own price until a quote comes.
"""

from typing import Final, NamedTuple

import numpy as np

from detectors.arrays import I64, U64, Bools
from detectors.flow import Columns, Flow, Where, places, read
from detectors.intern import IdTable, Slots, enter
from detectors.kinds import FILL
from schemas.events import word_of
from schemas.jit import compiled
from schemas.units import PRICE9_PER_USD6

_COLUMNS = {"position": "i8", "mark": "i8", "bought": "i8", "sold": "i8", "frame": "i8"}
_SYMBOL: Final = word_of("symbol")
_LAST4: Final = np.uint64(0xFFFFFFFF)
"""A symbol has 12 characters: the lower half of its second word."""
_PX6: Final = np.int64(PRICE9_PER_USD6)


class _Columns(NamedTuple):
    """By symbol: shares held, mark (micro-dollars), aggressive shares bought and sold, last frame touched."""

    position: I64
    mark: I64
    bought: I64
    sold: I64
    frame: I64


class SymbolFlow(NamedTuple):
    """(n,) arrays in log order. Money in micro-dollars; each is the change that the event makes."""

    row: I64
    """Symbol row, -1 for events without symbol."""
    fill: Bools
    aggressive: Bools
    """Fills of a buy at or above the ask or of a sell at or below the bid."""
    burn: I64
    """Micro-dollars paid beyond the mid by each aggressive fill (0 elsewhere)."""
    notional: I64
    """Micro-dollars traded by each fill (0 elsewhere)."""
    matched: I64
    """Micro-dollars of aggressive buying newly offset by aggressive selling in the same symbol, or the reverse."""
    first_in_frame: Bools
    """First event of its symbol in its frame."""
    profit: I64
    gross: I64
    """Change of the sum of absolute positions at mark."""


class Positions:
    """State by symbol: position, mark, aggressive shares bought and sold, last frame touched."""

    def __init__(self, symbols_max: int, frame_ns: int) -> None:
        self.symbols = IdTable(symbols_max, 2, _COLUMNS)
        self.frame_ns = frame_ns
        self._name: U64 = np.zeros((1, 2), np.uint64)

    def begin_day(self) -> None:
        """Nothing is held any more; marks stay."""
        self.symbols.cols["position"][:] = 0

    def step(self, flow: Flow) -> SymbolFlow:
        """Work off a flow."""
        out = symbol_room(len(flow))
        walk(len(flow), places(flow), read(flow), self.tables(len(flow)), out)
        return out

    def room(self) -> int:
        """Events for which the table is large enough."""
        return self.symbols.room

    def tables(self, more: int) -> "SymbolTables":
        """For the compiled loop, with room for ``more`` symbols."""
        slots = self.symbols.reserve(more)
        return SymbolTables(slots, _Columns(**self.symbols.cols), self._name, self.frame_ns)


class SymbolTables(NamedTuple):
    """State by symbol, room for one name (1, 2), length of a frame (ns)."""

    slots: Slots
    cols: _Columns
    name: U64
    frame_ns: int


def symbol_room(n: int) -> SymbolFlow:
    """Room for n events."""
    flags, money = np.empty((3, n), np.bool_), np.empty((6, n), np.int64)
    return SymbolFlow(money[5], flags[0], flags[1], money[0], money[1], money[2], flags[2], money[3], money[4])


@compiled
def walk(n: int, at: Where, flow: Columns, tables: SymbolTables, out: SymbolFlow) -> None:
    """Take in n events; every place of ``out`` is written."""
    words, name, cols = at.words, tables.name, tables.cols
    frame, ends = np.int64(0), np.int64(-1)
    for i in range(n):
        out.row[i] = -1
        out.fill[i] = out.aggressive[i] = out.first_in_frame[i] = False
        out.burn[i] = out.notional[i] = out.matched[i] = out.profit[i] = out.gross[i] = 0
        if words[i, _SYMBOL] == 0:
            continue
        if at.t[i] >= ends:
            frame = at.t[i] // tables.frame_ns
            ends = (frame + 1) * tables.frame_ns
        name[0, 0], name[0, 1] = words[i, _SYMBOL], words[i, _SYMBOL + 1] & _LAST4
        row, _ = enter(tables.slots, name, 0, 0)
        out.row[i] = row
        out.first_in_frame[i] = frame != cols.frame[row]
        cols.frame[row] = frame
        px, bid, ask = flow.px[i], flow.bid[i], flow.ask[i]
        fill = flow.kind[i] == FILL
        quoted = bid > 0 and ask >= bid
        if not (fill or quoted):
            continue
        px6, mid6 = px // _PX6, (bid + ask) // (2 * _PX6)
        held, old = cols.position[row], cols.mark[row]
        mark = mid6 if quoted else px6
        sign = flow.sign[i]
        signed = sign * flow.qty[i] if fill else 0
        position = held + signed
        out.profit[i] = held * (mark - old) + signed * (mark - px6)
        out.gross[i] = abs(position) * mark - abs(held) * old
        cols.position[row], cols.mark[row] = position, mark
        if not fill:
            continue
        out.fill[i], out.notional[i] = True, flow.qty[i] * px6
        hit = px >= ask if sign > 0 else px <= bid
        if not (quoted and hit and sign != 0):
            continue
        out.aggressive[i], out.burn[i] = True, signed * (px6 - mid6)
        both = min(cols.bought[row], cols.sold[row])
        cols.bought[row] += max(signed, 0)
        cols.sold[row] += max(-signed, 0)
        out.matched[i] = (min(cols.bought[row], cols.sold[row]) - both) * px6
