"""The expressions that several boards and the alerts share. ``where`` is a label matcher, '' means every server."""

from typing import Final

from dashboards.panels import STATES, level, rate, select
from schemas import metrics as m

HOUR_S: Final = 3600.0
"""Longest time to limit that is shown as a number."""
STOPPED_STATES: Final = 'state=~"HALTING|HALTED"'
ONE: Final = 'server="$server"'
"""Matcher of a board with one server."""


def fanout(where: str = "") -> str:
    """Child orders per parent order; the floor keeps it finite while no parent comes in, as a runaway does."""
    return f"{rate(m.ORDERS, where=where)} / clamp_min({rate(m.PARENTS, where=where)}, 0.1)"


def crossing(where: str = "") -> str:
    """Executions per second that bought at the ask or sold at the bid."""
    return f"({rate(m.BUYS_AT_ASK, where=where)} + {rate(m.SELLS_AT_BID, where=where)})"


def crossing_share(where: str = "") -> str:
    """The same as a share of all executions."""
    return f"{crossing(where)} / clamp_min({rate(m.FILLS, where=where)}, 0.01)"


def reject_share(where: str = "") -> str:
    """Rejects per order sent; the floor of one order per second keeps it readable after a halt."""
    return f"{rate(m.REJECTS, where=where)} / clamp_min({rate(m.ORDERS, where=where)}, 1)"


def limit_used(where: str = "") -> str:
    """Gross exposure as a share of the server's limit."""
    return f"{level(m.GROSS_USD, where=where)} / {level(m.GROSS_USD_LIMIT, where=where)}"


def time_to_limit(where: str = "") -> str:
    """Seconds until gross exposure meets its limit at the growth of the last 10 s; at most an hour."""
    room = f"{level(m.GROSS_USD_LIMIT, where=where)} - {level(m.GROSS_USD, where=where)}"
    growth = f"max by (server) (deriv({select(m.GROSS_USD, where)}[10s]))"
    return f"clamp_min(clamp_max(({room}) / clamp_min({growth}, 0.01), {HOUR_S:.0f}), 0)"


def desk_age() -> str:
    """Seconds since the desk's last heartbeat, as of the scrape: the wait for the next scrape is not counted in."""
    return f"max(timestamp({m.HEARTBEAT_TIME.name}) - {m.HEARTBEAT_TIME.name})"


def loss_per_s() -> str:
    """USD per second lost by all servers; one server's gain does not pay for another's loss."""
    return f"sum(clamp_min({level(m.LOSS_USD_PER_S)}, 0))"


def scope_number(where: str = "") -> str:
    """State of each scope as the index into ``panels.STATES``."""
    comma = f", {where}" if where else ""
    parts = []
    for n, (state, _) in enumerate(STATES):
        matcher = f'state="{state}"' + comma
        parts.append(f"{select(m.SCOPE_STATE, matcher)} * {n}")
    return f"max by (scope) ({' or '.join(parts)})"
