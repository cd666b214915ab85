"""What a run of an incident must reach, and how long it may take. Counts: domain notes 2.6."""

from collections.abc import Mapping
from typing import Any, Final

from producers.faults.resends import LEAK_PER_S
from schemas.scopes import FIRM

GIVE_UP_S: Final[dict[str, float]] = {
    "*": 120.0, "constant-price": 600.0, "fat-finger-parent": 300.0, "preopen-rejects": 600.0, "slow-leak": 570.0,
}  # fmt: skip
"""Seconds after the planned onset at which an incident that is not halted counts as missed."""
MINUTES: Final[dict[str, float]] = {"power-peg-rollback": 2.0}
"""Shorter than the scenario's own, so that the spread to all servers (after a third) is part of the run."""
LAST: Final[dict[str, str]] = {"power-peg-rollback": FIRM, "flow-after-halt": FIRM}
"""The scope whose halt ends the run."""
ORDERS: Final[dict[str, int]] = {
    "one-lot-burst": 6_767, "basket-burst": 26_082, "short-burst": 1_700, "constant-price": 16_000,
    "zero-price-repeat": 6_910,
}  # fmt: skip
"""Orders that went out in history (short-burst: 17,000 contracts, here in orders of ten)."""
ORDERS_SHARE_MAX: Final = 0.05
KNIGHT_S_MAX: Final = 2.0
KNIGHT_USD_MAX: Final = 300_000.0
LEAK_SHARE_MAX: Final = 0.02
LEAK_ORDERS: Final = round(LEAK_PER_S * 570)
"""Of the whole slow-leak (its 10 minutes less the lead). Orders and not USD: so small a leak gains as often as it loses."""


def problems(row: Mapping[str, Any]) -> list[str]:
    """Where an incident's row misses its target; empty if nowhere."""
    name, found = row["scenario"], []
    if not row["detected"]:
        return ["not halted"]
    if not row["scope_ok"]:
        found.append(f"scope: {row['false_halts'] or 'the firm goes on'}")
    if name == "power-peg" and row["time_to_halt_s"] > KNIGHT_S_MAX:
        found.append(f"{row['time_to_halt_s']:.2f} s, at most {KNIGHT_S_MAX}")
    if name == "power-peg" and row["loss_usd"] > KNIGHT_USD_MAX:
        found.append(f"USD {row['loss_usd']:,.0f}, at most {KNIGHT_USD_MAX:,.0f}")
    if name in ORDERS and row["bad_orders_before_halt"] > ORDERS[name] * ORDERS_SHARE_MAX:
        found.append(f"{row['bad_orders_before_halt']} orders, at most {ORDERS[name] * ORDERS_SHARE_MAX:.0f}")
    if name in ("preopen-rejects", "config-drift") and row["warned_s"] is None:
        found.append("no warning before the halt")
    if name == "preopen-rejects" and not row["before_open"]:
        found.append("halted after the open")
    if name == "slow-leak" and row["bad_orders_before_halt"] > LEAK_ORDERS * LEAK_SHARE_MAX:
        found.append(f"{row['bad_orders_before_halt']} orders, at most {LEAK_ORDERS * LEAK_SHARE_MAX:.0f}")
    return found
