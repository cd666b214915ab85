"""Positions, profit and loss of one server from its own fills, marked at the NBBO that the router saw.

For a symbol with position p and mark m, an event that moves the mark to m' and trades a signed quantity s at price x
changes profit by ``p (m' - m) + s (m' - x)``. Summed over events that is cash plus position at mark, without the
large cancelling terms. Marks are whole micro-dollars, so that sums are exact in int64. Fills without an NBBO are
marked at their own price until a quote comes.
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import I64, Bools, Segments, where
from detectors.flow import Flow
from detectors.intern import IdTable, words
from detectors.kinds import FILL
from schemas.units import PRICE9_PER_USD6

_COLUMNS = {"position": "i8", "mark": "i8", "bought": "i8", "sold": "i8", "frame": "i8"}


@dataclass(slots=True)
class SymbolFlow:
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

    def step(self, flow: Flow) -> SymbolFlow:
        """Work off a flow (symbol pass)."""
        n = len(flow)
        names = words(flow.events["symbol"])
        has = names[:, 0] != 0
        row, _ = self.symbols.resolve(names, has)
        fill = (flow.kind == FILL) & has
        quoted = (flow.bid > 0) & (flow.ask >= flow.bid)
        mid6 = (flow.bid + flow.ask) // (2 * PRICE9_PER_USD6)
        px6 = flow.px // PRICE9_PER_USD6
        limit = np.where(flow.sign > 0, flow.px >= flow.ask, flow.px <= flow.bid)
        aggressive = fill & quoted & (flow.sign != 0) & limit
        signed = np.where(fill, flow.sign * flow.qty, 0)
        burn = np.where(aggressive, signed * (px6 - mid6), 0)
        notional = np.where(fill, flow.qty * px6, 0)
        profit, gross = np.zeros(n, np.int64), np.zeros(n, np.int64)
        none = np.zeros(n, np.bool_)
        out = SymbolFlow(row, fill, aggressive, burn, notional, np.zeros(n, np.int64), none, profit, gross)
        chosen = where(has)
        if len(chosen):
            self._by_symbol(flow, out, chosen, signed, np.where(quoted, mid6, px6), quoted | fill)
        return out

    def _by_symbol(self, flow: Flow, out: SymbolFlow, chosen: I64, signed: I64, mark: I64, marks: Bools) -> None:
        cols = self.symbols.cols
        seg = Segments(out.row[chosen])
        at = chosen[seg.order]
        rows = seg.heads
        qty = signed[at]
        position = seg.cumsum(qty, cols["position"][rows])
        held = position - qty
        new = seg.ffill(mark[at], marks[at], cols["mark"][rows])
        old = seg.before(new, cols["mark"][rows])
        px6 = flow.px[at] // PRICE9_PER_USD6
        out.profit[at] = held * (new - old) + qty * (new - px6)
        out.gross[at] = np.abs(position) * new - np.abs(held) * old
        hit = np.where(out.aggressive[at], qty, 0)
        bought = seg.cumsum(np.maximum(hit, 0), cols["bought"][rows])
        sold = seg.cumsum(np.maximum(-hit, 0), cols["sold"][rows])
        both = np.minimum(bought, sold)
        matched = both - seg.before(both, np.minimum(cols["bought"][rows], cols["sold"][rows]))
        out.matched[at] = matched * px6
        frame = flow.t[at] // self.frame_ns
        out.first_in_frame[at] = frame != seg.before(frame, cols["frame"][rows])
        last = seg.last
        cols["position"][rows], cols["mark"][rows] = position[last], new[last]
        cols["bought"][rows], cols["sold"][rows] = bought[last], sold[last]
        cols["frame"][rows] = frame[last]
