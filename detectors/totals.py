"""Running totals of one server, one row an event: what rows, evidence and money are differences of."""

from typing import Final

import numpy as np

from detectors.arrays import I64, U8
from detectors.features import NAMES
from detectors.flow import Flow
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

    def step(self, flow: Flow, symbols: SymbolFlow) -> I64:
        """(n + 1, k) totals before the first event and after each; row i is 'before event i', row i + 1 'after'."""
        out = np.empty((len(flow) + 1, len(COLUMNS)), np.int64)
        out[0] = self.sum
        _pass(flow.kind, flow.qty, flow.sign, symbols, out)
        self.sum = out[-1].copy()
        return out


@compiled
def _pass(kinds: U8, qtys: I64, signs: I64, symbols: SymbolFlow, out: I64) -> None:
    for i in range(len(kinds)):
        row = out[i + 1]
        for k in range(len(row)):
            row[k] = out[i, k]
        kind = kinds[i]
        column = _BY_KIND[kind]
        if column >= 0:
            row[column] += 1
        if ASKS[kind]:
            row[_ORDER_QTY] += qtys[i]
        row[_SYMBOLS] += symbols.first_in_frame[i]
        row[PROFIT] += symbols.profit[i]
        row[GROSS] += symbols.gross[i]
        if not symbols.fill[i]:
            continue
        row[_FILL_QTY] += qtys[i]
        row[TRADED] += symbols.notional[i]
        row[_NET] += symbols.notional[i] * signs[i]
        if symbols.aggressive[i]:
            row[_BUYS if signs[i] > 0 else _SELLS] += 1
            row[_AGGRESSIVE] += symbols.notional[i]
            row[_BURN] += symbols.burn[i]
            row[_MATCHED] += symbols.matched[i]
