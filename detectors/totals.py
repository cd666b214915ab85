"""Running totals of one server, one row an event: what rows, evidence and money are differences of."""

from typing import Final

import numpy as np

from detectors.arrays import I64
from detectors.features import NAMES
from detectors.flow import Flow
from detectors.kinds import ASKS
from detectors.positions import SymbolFlow
from schemas.events import Kind

COLUMNS: Final = (*NAMES, "profit_usd", "gross_usd", "matched_usd")
"""Feature names first, then profit, gross position and matched aggressive notional. Dollars are micro-dollars here."""
INDEX: Final = {name: i for i, name in enumerate(COLUMNS)}
SCALE: Final = np.array([1e-6 if name.endswith("_usd") else 1.0 for name in COLUMNS])
"""What turns a total into the unit of its feature."""
PROFIT, GROSS, TRADED = INDEX["profit_usd"], INDEX["gross_usd"], INDEX["fill_usd"]

_BY_KIND = np.full(16, len(COLUMNS), np.int64)
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
        n = len(flow)
        # one column more takes the kinds that are not counted
        out = np.zeros((n + 1, len(COLUMNS) + 1), np.int64)
        out[0, :-1] = self.sum
        inc = out[1:]
        inc[np.arange(n), _BY_KIND[flow.kind]] = 1
        asks = ASKS[flow.kind]
        inc[:, INDEX["order_qty"]] = np.where(asks, flow.qty, 0)
        fill, hit = symbols.fill, symbols.aggressive
        inc[:, INDEX["fill_qty"]] = np.where(fill, flow.qty, 0)
        inc[:, INDEX["fill_usd"]] = symbols.notional
        inc[:, INDEX["buys_at_ask"]] = hit & (flow.sign > 0)
        inc[:, INDEX["sells_at_bid"]] = hit & (flow.sign < 0)
        inc[:, INDEX["aggressive_usd"]] = np.where(hit, symbols.notional, 0)
        inc[:, INDEX["spread_burn_usd"]] = symbols.burn
        inc[:, INDEX["net_usd"]] = symbols.notional * flow.sign
        inc[:, INDEX["symbols"]] = symbols.first_in_frame
        inc[:, PROFIT] = symbols.profit
        inc[:, GROSS] = symbols.gross
        inc[:, INDEX["matched_usd"]] = symbols.matched
        np.cumsum(out, axis=0, out=out)
        self.sum = out[-1, :-1].copy()
        return out[:, :-1]
