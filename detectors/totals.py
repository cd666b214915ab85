"""Running totals of one server, one row an event: what rows, evidence and money are differences of."""

from typing import Final

import numpy as np

from detectors.arrays import I64
from detectors.features import NAMES
from detectors.flow import Columns, Flow, read
from detectors.kinds import ASKS
from detectors.positions import SymbolFlow
from schemas.events import Kind
from schemas.jit import compiled

COLUMNS: Final = (*NAMES, "profit_usd", "gross_usd", "matched_usd")
"""Feature names first, then profit, gross position and matched aggressive notional. Dollars are micro-dollars here."""
INDEX: Final = {name: i for i, name in enumerate(COLUMNS)}
SCALE: Final = np.array([1e-6 if name.endswith("_usd") else 1.0 for name in COLUMNS])
"""What turns a total into the unit of its feature."""
PROFIT, GROSS, TRADED = INDEX["profit_usd"], INDEX["gross_usd"], INDEX["fill_usd"]

_ORDER_QTY, _FILL_QTY, _SYMBOLS = INDEX["order_qty"], INDEX["fill_qty"], INDEX["symbols"]
_BUYS, _SELLS, _AGGRESSIVE = INDEX["buys_at_ask"], INDEX["sells_at_bid"], INDEX["aggressive_usd"]
_BURN, _NET, _MATCHED = INDEX["spread_burn_usd"], INDEX["net_usd"], INDEX["matched_usd"]

_BY_KIND = np.full(256, -1, np.int64)
for _kind, _name in {
    Kind.parent: "parents",
    Kind.order: "orders",
    Kind.replace: "replaces",
    Kind.cancel: "cancels",
    Kind.ack: "acks",
    Kind.fill: "fills",
    Kind.canceled: "canceled",
    Kind.rejected: "rejects",
}.items():
    _BY_KIND[_kind] = INDEX[_name]


class Totals:
    """State: the totals after the last event."""

    def __init__(self) -> None:
        self.sum: I64 = np.zeros(len(COLUMNS), np.int64)

    def begin_day(self) -> None:
        """Nothing is held any more. Profit goes on: what was lost before is no part of what an excursion loses."""
        self.sum[GROSS] = 0

    def step(self, flow: Flow, symbols: SymbolFlow) -> I64:
        """(n + 1, k) totals before the first event and after each; row i is 'before event i', row i + 1 'after'."""
        out = np.empty((len(flow) + 1, len(COLUMNS)), np.int64)
        walk(len(flow), read(flow), symbols, self.sum, out)
        return out


@compiled
def walk(n: int, flow: Columns, symbols: SymbolFlow, total: I64, out: I64) -> None:
    """Totals (k,) past n events: out[0] before the first, out[i + 1] after event i."""
    for k in range(len(total)):
        out[0, k] = total[k]
    for i in range(n):
        kind = flow.kind[i]
        column = _BY_KIND[kind]
        if column >= 0:
            total[column] += 1
        if ASKS[kind]:
            total[_ORDER_QTY] += flow.qty[i]
        total[_SYMBOLS] += symbols.first_in_frame[i]
        total[PROFIT] += symbols.profit[i]
        total[GROSS] += symbols.gross[i]
        if symbols.fill[i]:
            notional, sign = symbols.notional[i], flow.sign[i]
            total[_FILL_QTY] += flow.qty[i]
            total[TRADED] += notional
            total[_NET] += notional * sign
            if symbols.aggressive[i]:
                total[_BUYS if sign > 0 else _SELLS] += 1
                total[_AGGRESSIVE] += notional
                total[_BURN] += symbols.burn[i]
                total[_MATCHED] += symbols.matched[i]
        for k in range(len(total)):
            out[i + 1, k] = total[k]
