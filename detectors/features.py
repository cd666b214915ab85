"""Names of the values in a feature row: what one server did in one frame of stream time."""

from typing import Final

FRAME_NS: Final = 100_000_000
"""Length of a frame: 100 ms of stream time."""

NAMES: Final = (
    "parents",
    "orders",
    "replaces",
    "cancels",
    "acks",
    "fills",
    "canceled",
    "rejects",
    "order_qty",
    "fill_qty",
    "fill_usd",
    "buys_at_ask",
    "sells_at_bid",
    "aggressive_usd",
    "spread_burn_usd",
    "net_usd",
    "symbols",
)
"""Counts of events by kind; shares ordered and filled; notional filled (USD); aggressive fills by side; their notional
(USD); half-spread and adverse slippage paid against the NBBO (USD); signed notional filled (USD, buys positive);
distinct symbols touched."""
