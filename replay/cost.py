"""What an incident had cost by the time of its halt, from the log and the labels alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.log import Log
from schemas.events import Kind, Side
from schemas.units import PRICE9, S_NS

DISORDER_NS_MAX = 60 * S_NS
"""How far beyond the halt a partition is read, for events that arrived late."""
AFTER = 1 << 62
"""Makes any quote after the mark farther than any before it."""
Pairs = Sequence[tuple[int, int]]


@dataclass
class Cost:
    """Bad orders and replaces that went out, their fills, and the loss: cash paid less the position's value."""

    orders: int = 0
    fills: int = 0
    loss_usd: float = 0.0


def cost_until(log: Log, bad: Mapping[str, Pairs], mark_ns: int, halt_ns: int | None) -> Cost:
    """bad: server -> closed ranges of seq that belong to the incident. halt_ns: None counts the whole log.

    Positions are marked to the last mid that any router saw of the symbol up to ``mark_ns`` (or else the first after
    it), the beginning of the trouble: later mids are pushed by the bad flow itself, and would count its damage as gain.
    A symbol without any quote is marked at cost.
    """
    found = Cost()
    cash: dict[bytes, float] = {}
    position: dict[bytes, int] = {}
    mids: dict[bytes, tuple[int, float]] = {}
    tables = {server.encode(): np.array(pairs, np.int64).reshape(-1, 2) for server, pairs in bad.items()}
    for source in log.sources():
        for batch in source.batches():
            events = batch.events
            if halt_ns is not None:
                if int(events["ts"].min()) > halt_ns + DISORDER_NS_MAX:
                    break
                events = events[events["ts"] <= np.uint64(halt_ns)]
            _see_mids(events, mark_ns, mids)
            for server, table in tables.items():
                mine = events[events["server"] == server]
                mine = mine[_inside(table, mine["seq"].astype(np.int64))]
                found.orders += int(np.isin(mine["kind"], (Kind.order, Kind.replace)).sum())
                _take_fills(mine[mine["kind"] == Kind.fill], cash, position, found)
    for symbol, paid in cash.items():
        if symbol in mids:
            found.loss_usd += paid - position[symbol] * mids[symbol][1]
    found.loss_usd = round(found.loss_usd, 2)
    return found


def _inside(table: NDArray[np.int64], seqs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether each seq lies in one of the closed ranges (k, 2), which ascend."""
    if not len(table):
        return np.zeros(len(seqs), np.bool_)
    at = np.searchsorted(table[:, 0], seqs, side="right") - 1
    inside: NDArray[np.bool_] = (at >= 0) & (seqs <= table[np.maximum(at, 0), 1])
    return inside


def _see_mids(events: NDArray[Any], mark_ns: int, mids: dict[bytes, tuple[int, float]]) -> None:
    """Symbol -> (distance, mid) of the quote nearest to the mark: the newest before it, else the oldest after."""
    quoted = np.flatnonzero((events["bid"] > 0) & (events["ask"] > 0))
    ts = events["ts"][quoted].astype(np.int64)
    distance = np.where(ts <= mark_ns, mark_ns - ts, ts - mark_ns + AFTER)
    order = np.argsort(distance, kind="stable")
    symbols, first = np.unique(events["symbol"][quoted][order], return_index=True)
    for symbol, at in zip(symbols.tolist(), order[first].tolist(), strict=True):
        if symbol not in mids or distance[at] < mids[symbol][0]:
            event = events[quoted[at]]
            mids[symbol] = int(distance[at]), (int(event["bid"]) + int(event["ask"])) / 2 / PRICE9


def _take_fills(fills: NDArray[Any], cash: dict[bytes, float], position: dict[bytes, int], found: Cost) -> None:
    found.fills += len(fills)
    if not len(fills):
        return
    signed = np.where(fills["side"] == Side.B, fills["qty"], -fills["qty"])
    symbols, which = np.unique(fills["symbol"], return_inverse=True)
    paid = np.bincount(which, signed * (fills["px"] / PRICE9), len(symbols))
    held = np.bincount(which, signed, len(symbols))
    for symbol, usd, qty in zip(symbols.tolist(), paid.tolist(), held.tolist(), strict=True):
        cash[symbol] = cash.get(symbol, 0.0) + usd
        position[symbol] = position.get(symbol, 0) + round(qty)
