"""From the simulator's records to order events: names, ids, quotes, phases and sequence numbers."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from producers.codes import (
    BAD,
    BUY,
    DUP,
    EXPIRED,
    FILL,
    I64,
    ORDER,
    PARENT,
    PARENT_DONE,
    PASSIVE,
    REPLACE,
    U8,
    U32,
    Bools,
    Rows,
)
from producers.ids import IdFormat, Words, write_id
from producers.market import BLOCK_NS, TICK9, Market
from producers.tables import copy_row
from producers.world import VENUES, World
from schemas.events import EVENT, FLAG_POSS_DUP, empty_events, place_of
from schemas.jit import compiled

_SEQ, _TS, _QTY, _PX, _BID, _ASK = (place_of(name, 8) for name in ("seq", "ts", "qty", "px", "bid", "ask"))
_PARENT, _CL, _ORIG, _EXEC = (place_of(name, 4) for name in ("parent_id", "cl_ord_id", "orig_cl_ord_id", "exec_id"))
_SERVER, _SYMBOL, _STRATEGY = place_of("server", 4), place_of("symbol", 4), place_of("strategy", 4)
_ACCOUNT, _VENUE = place_of("account", 4), place_of("venue", 4)
_KIND, _SIDE, _PHASE, _FLAGS = (place_of(name, 1) for name in ("kind", "side", "phase", "flags"))
_NO_VENUE: Final = len(VENUES)


class Names(NamedTuple):
    """(k, width) each: the names of one kind as 32-bit words."""

    server: U32
    symbol: U32
    strategy: U32
    account: U32
    venue: U32


class Quotes(NamedTuple):
    """(n_symbols,) best bid and offer in ticks, of this block and of the one before."""

    bid: I64
    ask: I64
    bid_before: I64
    ask_before: I64


def quotes(market: Market) -> Quotes:
    """Those of now."""
    return Quotes(market.bid, market.ask, market.bid_before, market.ask_before)


class Out(NamedTuple):
    """The same (n,) EVENT as 64-bit words, 32-bit words and bytes; bad: (n,) events of the incident."""

    wide: I64
    narrow: U32
    bytes: U8
    bad: Bools


def _words(names: Any, width: int) -> U32:
    """(k, width / 4) names, filled up with zeros."""
    return np.array(names, f"S{width}").view("<u4").reshape(len(names), -1)


class Emitter:
    """Makes EVENT rows; keeps the next sequence number of each server."""

    def __init__(self, world: World, ids: IdFormat, first_seq: int) -> None:
        self._world = world
        self._ids = ids.words
        self.next_seq = np.full(world.n_servers, first_seq, np.int64)
        self._names = self._name()

    def _name(self) -> Names:
        world = self._world
        return Names(
            _words(world.servers, 16), _words(world.universe.symbols, 12), _words(world.strategies, 12),
            _words(world.accounts, 12), _words([*VENUES, ""], 12),
        )  # fmt: skip

    def events(self, recs: NDArray[Any], phase_ts: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """(n,) EVENT from (n,) REC in order of time, and which of them are bad (n,). phase_ts: ns, start of the slice,
        whose session phase holds."""
        world, n = self._world, len(recs)
        if len(self._names.strategy) != len(world.strategies) or len(self._names.account) != len(world.accounts):
            self._names = self._name()
        events, bad = empty_events(n), np.empty(n, np.bool_)
        raw = events.view("u1").reshape(n, EVENT.itemsize)
        _emit(
            recs, Out(raw.view("<i8"), raw.view("<u4"), raw, bad), self._names, self._ids, quotes(world.market),
            phase_ts - (phase_ts - world.start_ns) % BLOCK_NS,
            world.phase_forced, int(world.phase(phase_ts)), world.skew_ns, self.next_seq,
        )  # fmt: skip
        return events, bad


@compiled
def _emit(
    recs: Rows, out: Out, names: Names, ids: Words, nbbo: Quotes, block_ns: int,
    phase_forced: U8, phase: int, skew_ns: I64, next_seq: I64,
) -> None:  # fmt: skip
    """One event a record. block_ns: start of the block; phase: of the session, where none is forced on the symbol.
    Counts next_seq on."""
    for i in range(len(recs)):
        rec, wide, row, codes = recs[i], out.wide[i], out.narrow[i], out.bytes[i]
        kind, server, sym = rec["kind"], rec["server"], rec["sym"]
        wide[_SEQ] = next_seq[server]
        next_seq[server] += 1
        wide[_TS] = rec["ts"] + skew_ns[server]
        wide[_QTY], wide[_PX] = rec["qty"], rec["px"]
        if kind in (ORDER, REPLACE, FILL):
            _quote(wide, rec, nbbo, block_ns)
        orderly = kind not in (PARENT, PARENT_DONE)
        write_id(row, _PARENT, ids, 0, server, rec["parent"])
        write_id(row, _CL, ids, 1, server, rec["cl"] if orderly else -1)
        write_id(row, _ORIG, ids, 1, server, rec["orig"])
        write_id(row, _EXEC, ids, 2, server, rec["exec"])
        _write_name(row, _SERVER, names.server, server)
        _write_name(row, _SYMBOL, names.symbol, sym)
        _write_name(row, _STRATEGY, names.strategy, rec["strat"])
        _write_name(row, _ACCOUNT, names.account, rec["acct"])
        _write_name(row, _VENUE, names.venue, rec["venue"] if orderly else _NO_VENUE)
        codes[_KIND], codes[_SIDE] = kind, rec["side"]
        codes[_PHASE] = phase_forced[sym] if phase_forced[sym] else phase
        codes[_FLAGS] = FLAG_POSS_DUP if rec["flags"] & DUP else 0
        out.bad[i] = (rec["flags"] & BAD) != 0


@compiled
def _write_name(row: U32, at: int, names: U32, which: int) -> None:
    for k in range(names.shape[1]):
        row[at + k] = names[which, k]


@compiled
def _quote(wide: I64, rec: Any, nbbo: Quotes, block_ns: int) -> None:
    """NBBO of the moment. A marketable order sent in the block before was filled at that one's quote; a resting order
    filled on its own side of the market *is* the quote just before."""
    sym = rec["sym"]
    bid, ask = nbbo.bid[sym] * TICK9, nbbo.ask[sym] * TICK9
    if rec["kind"] == FILL:
        px = rec["px"]
        if not rec["flags"] & PASSIVE:
            if rec["sent"] < block_ns:
                bid, ask = nbbo.bid_before[sym] * TICK9, nbbo.ask_before[sym] * TICK9
        elif rec["side"] == BUY:
            if px > bid:
                bid, ask = px, max(ask, px + TICK9)
        elif px < ask:
            bid, ask = max(min(bid, px - TICK9), TICK9), px
    wide[_BID], wide[_ASK] = bid, ask


@compiled
def happens(recs: Rows, words: I64, dead: Bools, nbbo: Quotes, halted: Bools) -> tuple[int, int]:
    """Which of ``recs`` happen: moved to the front, in order. Returns how many, and how many orders died.

    Nothing happens of ``dead`` orders (by number). A resting order that would be filled while its market is away (more
    than a tick outside the own side's quote, or halted) expires instead; what was to come of it is dropped. ``words``:
    the same memory as ``recs``."""
    kept, died = 0, 0
    for i in range(len(recs)):
        rec = recs[i]
        order = rec["order"]
        if 0 <= order < len(dead) and dead[order]:
            continue
        if rec["kind"] == FILL and rec["flags"] & PASSIVE and _away(rec, nbbo, halted):
            rec["kind"], rec["qty"], rec["px"], rec["exec"] = EXPIRED, rec["leaves"], 0, -1
            dead[order] = True
            died += 1
        if kept < i:
            copy_row(words, kept, words, i)
        kept += 1
    return kept, died


@compiled
def _away(rec: Any, nbbo: Quotes, halted: Bools) -> bool:
    sym, px = rec["sym"], rec["px"]
    if halted[sym]:
        return True
    if rec["side"] == BUY:
        return bool(px < nbbo.bid[sym] * TICK9 - TICK9)
    return bool(px > nbbo.ask[sym] * TICK9 + TICK9)
