"""Shares working, order by order, and what they make of each (account, symbol): for ``detectors/exposure.py``."""

from typing import Any, NamedTuple

import numpy as np

from detectors.arrays import I64, where
from detectors.intern import DROPPED, Slots
from detectors.kinds import DEAD, FILL, REJECTED
from schemas.jit import compiled

PAIR = {"position": "i8", "buys": "i8", "sells": "i8", "mark": "i8", "gross": "i8", "long": "i8", "short": "i8",
         "account": "i8", "limit": "i8"}  # fmt: skip


class Pairs(NamedTuple):
    """By (account, symbol): shares held, shares working on each side, mark (micro-dollars a share), what the pair adds
    to its account (micro-dollars: gross, net if all buys are filled, net if all sells are), account (number), limits."""

    position: I64
    buys: I64
    sells: I64
    mark: I64
    gross: I64
    long: I64
    short: I64
    account: I64
    limit: I64


NUMBER, PAIR_OF, SIGN, TOTAL, LEAVES, GROWN = range(6)
"""Columns by number of the order, the latest with the same place wins: number + 1, pair, side, shares asked for and still
working; what a replace added, until it is answered."""


class Working:
    """Orders by number (``row + dropped`` of the order table), in a ring of ``size`` (a power of two)."""

    def __init__(self, size: int) -> None:
        self.rows: I64 = np.zeros((size, 6), np.int64)
        self.used: I64 = np.zeros(1, np.int64)
        """Places up to here have been written. The rest of the ring is never looked at: it takes no memory."""

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot: the places in use."""
        rows = self.rows[: int(self.used[0])]
        at = where(rows[:, NUMBER] | rows[:, GROWN])
        return {"at": at, "rows": rows[at], "used": self.used}

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        self.rows[: int(self.used[0])] = 0
        self.rows[state["at"]] = state["rows"]
        self.used[:] = state["used"]


@compiled
def change_of(
    kind: int, qty: int, number: int, mine: int, known: bool, asks: bool, sign: int, pair: int, orders: I64,
    pair_ids: Slots, pairs: Pairs,
) -> int:  # fmt: skip
    """What an event changes in the shares working of order ``number``. mine: place of the event's own ClOrdID."""
    place = number & (len(orders) - 1)
    if asks:
        if not known:
            _forget(place, orders, pair_ids, pairs)
            orders[place, NUMBER], orders[place, PAIR_OF] = number + 1, pair + pair_ids.meta[DROPPED]
            orders[place, SIGN], orders[place, TOTAL], orders[place, LEAVES] = sign, 0, 0
        change = qty - orders[place, TOTAL]
        orders[place, TOTAL] = qty
        if mine != place:
            _forget(mine, orders, pair_ids, pairs)
            orders[mine, NUMBER], orders[mine, LEAVES] = 0, 0
        orders[mine, GROWN] = change
        return int(change)
    if kind == FILL:
        return -int(min(orders[place, LEAVES], qty))
    if kind == REJECTED and mine != place:
        change, orders[mine, GROWN] = -orders[mine, GROWN], 0
        orders[place, TOTAL] += change
        return int(change)
    return -int(orders[place, LEAVES]) if DEAD[kind] else 0


@compiled
def work(pairs: Pairs, pair: int, sign: int, change: int) -> None:
    if sign > 0:
        pairs.buys[pair] += change
    else:
        pairs.sells[pair] += change


@compiled
def _forget(place: int, orders: I64, pair_ids: Slots, pairs: Pairs) -> None:
    """The order in a place gives way to another; its shares no longer count as working."""
    if orders[place, NUMBER] > 0 and orders[place, LEAVES] > 0:
        pair = orders[place, PAIR_OF] - pair_ids.meta[DROPPED]
        if pair >= 0:
            work(pairs, pair, orders[place, SIGN], -orders[place, LEAVES])
