"""The arrivals' compiled loops. ``arrivals`` draws all that is random, in an order that every scenario's bytes depend on."""

from typing import Final

import numpy as np

from producers.codes import BUY, F64, I64, PARENT, SELL, SHORT, Bools, Rows
from producers.slicing import put_parent
from producers.world import RETAIL, RLP
from schemas.jit import Int, compiled
from schemas.units import S_NS

_NEARLY: Final = 1 - 1e-12
_LOT_FROM: Final = 60.0
_LOT_SHARE: Final = 0.7
_SHORT_SHARE: Final = 0.3
_GRACE_NS: Final = 5 * S_NS


@compiled
def look(draws: F64, chance: float, turned: I64, factor: F64, known: F64, server_factor: F64) -> tuple[int, bool, bool]:
    """Before a block: writes the symbols whose draw is below ``chance`` to ``turned``. Returns how many, whether
    ``factor`` is not as ``known`` (which then becomes it), and whether all servers have one factor."""
    turns, changed, even = 0, False, True
    for i in range(len(draws)):
        if draws[i] < chance:
            turned[turns] = i
            turns += 1
        if factor[i] != known[i]:
            known[i] = factor[i]
            changed = True
    for i in range(1, len(server_factor)):
        even = even and server_factor[i] == server_factor[0]
    return turns, changed, even


@compiled
def _find(edges: F64, value: float) -> int:
    """First of the ascending ``edges`` that is not below ``value``."""
    low, high = 0, len(edges)
    while low < high:
        middle = (low + high) // 2
        if edges[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def place(counts: I64, edges: F64, buy: F64, shift: F64, share: F64, placed: I64) -> None:
    """Servers and symbols of a block's parents. counts: by server; edges: running sum of the symbols' weights; buy,
    shift: by symbol, how much is bought. share: (n,) drawn; each becomes the parent's probability of buying. Writes
    placed (2, n): server, symbol."""
    at = 0
    for server in range(len(counts)):
        for _ in range(counts[server]):
            sym = _find(edges, share[at] * edges[-1] * _NEARLY)
            placed[0, at], placed[1, at] = server, sym
            share[at] = min(max(buy[sym] + shift[sym], 0.0), 1.0)
            at += 1


@compiled
def admit(
    ts: I64, server: I64, sym: I64, buy: F64, by_ts: I64, paused: Bools, halted: Bools, taken: I64, share: F64
) -> int:
    """Those that routers take, in the order ``by_ts``; returns how many. Writes taken (5, n): ts, server, symbol, and room
    for strategy and habit; share: each one's probability of buying."""
    n = 0
    for k in range(len(by_ts)):
        i = by_ts[k]
        if not paused[server[i]] and not halted[sym[i]]:
            taken[0, n], taken[1, n], taken[2, n], share[n] = ts[i], server[i], sym[i], buy[i]
            n += 1
    return n


@compiled
def choose(chances: F64, shares: F64, strategy: int, like: int, habits: F64, factor: float, taken: I64) -> None:
    """Strategies and habits (unless given: 0 or more) of ``admit``'s. chances: (n,) drawn; each becomes the chance that a
    child is the last. shares: running sum by strategy; habits: (3, k) share of marketable children, mean wait in ns, mean
    number of children, which ``factor`` multiplies."""
    last = len(shares) - 1
    for i in range(len(chances)):
        drawn = min(_find(shares, chances[i] * shares[-1]), last)
        taken[3, i] = strategy if strategy >= 0 else drawn
        taken[4, i] = like if like >= 0 else taken[3, i]
        chances[i] = 1.0 / max(habits[2, taken[4, i]] * factor, 1.0)


@compiled
def write(
    parents: Rows, first: int, recs: Rows, taken: I64, share: F64, habits: F64, clip_factor: float,
    clip: F64, lots: F64, children: I64, sells: F64, buys: F64, account: I64,
) -> None:  # fmt: skip
    """Parents from row ``first`` on, and their records. clip to account: (n,) drawn."""
    for i in range(len(clip)):
        parent, ts, habit = parents[first + i], taken[0, i], taken[4, i]
        size = _lot(max(1.0, np.rint(clip[i] * clip_factor)), lots[i])
        wait = habits[1, habit]
        parent["ts"] = parent["next_ts"] = ts
        parent["qty"], parent["clip"] = np.int64(max(1.0, size * children[i])), np.int64(size)
        parent["interval_ns"] = np.int64(wait)
        parent["deadline"] = ts + np.int64(wait * (children[i] + 10) * 2) + _GRACE_NS
        parent["server"], parent["sym"], parent["strat"] = taken[1, i], taken[2, i], taken[3, i]
        parent["side"] = BUY if buys[i] < share[i] else (SHORT if sells[i] < _SHORT_SHARE else SELL)
        parent["acct"] = RETAIL if taken[3, i] == RLP else account[i]
        parent["aggressive"] = habits[0, habit]
        parent["managed"] = True
        put_parent(recs[i], parents, first + i, PARENT, ts)


@compiled
def _lot(clip: float, draw: float) -> Int:
    """Most of the greater sizes are round lots."""
    if clip > _LOT_FROM and draw < _LOT_SHARE:
        return max(100.0, np.rint(clip / 100) * 100)
    return clip
