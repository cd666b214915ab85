"""Arrow columns to events in one pass: for record batches in the very form that ``schemas.arrow`` writes.

Column by column, every field is a strided write over memory that no cache holds; row by row, an event is written once.
Whatever is not in that form (nulls, other types, unknown words) goes the long way, which also says what is wrong with it.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.events import EVENT, FLAG_POSS_DUP
from schemas.jit import compiled

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]


def _at(name: str, unit: int) -> int:
    assert EVENT.fields is not None
    return int(EVENT.fields[name][1]) // unit


_SEQ, _TS, _QTY, _PX, _BID, _ASK = (_at(name, 8) for name in ("seq", "ts", "qty", "px", "bid", "ask"))
_PARENT, _CL, _ORIG, _EXEC = (_at(name, 4) for name in ("parent_id", "cl_ord_id", "orig_cl_ord_id", "exec_id"))
_SERVER, _SYMBOL, _STRATEGY = _at("server", 4), _at("symbol", 4), _at("strategy", 4)
_ACCOUNT, _VENUE, _CODES = _at("account", 4), _at("venue", 4), _at("kind", 4)
_ID_WORDS: Final = EVENT["cl_ord_id"].itemsize // 4
_DUP: Final = np.uint32(FLAG_POSS_DUP << 24)
_8, _16 = np.uint32(8), np.uint32(16)


class Numbers(NamedTuple):
    """(n,) each, as 64-bit words."""

    seq: U64
    ts: U64
    qty: U64
    px: U64
    bid: U64
    ask: U64


class Ids(NamedTuple):
    """(n, 6) each, as 32-bit words."""

    parent_id: U32
    cl_ord_id: U32
    orig_cl_ord_id: U32
    exec_id: U32


class Word(NamedTuple):
    """(n,) which word of a dictionary, and (k, width) its words as 32-bit words."""

    which: I32
    words: U32


class Names(NamedTuple):
    """The five names."""

    server: Word
    symbol: Word
    strategy: Word
    account: Word
    venue: Word


class Code(NamedTuple):
    """(n,) which word of a dictionary, and (k,) the code of each."""

    which: I32
    codes: U8


class Codes(NamedTuple):
    """The three codes."""

    kind: Code
    side: Code
    phase: Code


def scatter(events: NDArray[Any], numbers: Numbers, ids: Ids, names: Names, codes: Codes, poss_dup: U8) -> None:
    """Fill (n,) EVENT, but for its header. poss_dup: (n,) 0 or 1. Indices must lie within their dictionaries."""
    n = len(events)
    _scatter(events.view("<u8").reshape(n, -1), events.view("<u4").reshape(n, -1), numbers, ids, names, codes, poss_dup)


@compiled
def _id(row: U32, at: int, ids: U32, i: int) -> None:
    for k in range(_ID_WORDS):
        row[at + k] = ids[i, k]


@compiled
def _name(row: U32, at: int, word: Word, i: int) -> None:
    j = word.which[i]
    for k in range(word.words.shape[1]):
        row[at + k] = word.words[j, k]


@compiled
def _code(code: Code, i: int) -> np.uint32:
    return np.uint32(code.codes[code.which[i]])


@compiled
def _scatter(wide: U64, narrow: U32, numbers: Numbers, ids: Ids, names: Names, codes: Codes, poss_dup: U8) -> None:
    for i in range(len(wide)):
        words, row = wide[i], narrow[i]
        words[_SEQ], words[_TS] = numbers.seq[i], numbers.ts[i]
        words[_QTY], words[_PX] = numbers.qty[i], numbers.px[i]
        words[_BID], words[_ASK] = numbers.bid[i], numbers.ask[i]
        _id(row, _PARENT, ids.parent_id, i)
        _id(row, _CL, ids.cl_ord_id, i)
        _id(row, _ORIG, ids.orig_cl_ord_id, i)
        _id(row, _EXEC, ids.exec_id, i)
        _name(row, _SERVER, names.server, i)
        _name(row, _SYMBOL, names.symbol, i)
        _name(row, _STRATEGY, names.strategy, i)
        _name(row, _ACCOUNT, names.account, i)
        _name(row, _VENUE, names.venue, i)
        code = _code(codes.kind, i) | (_code(codes.side, i) << _8) | (_code(codes.phase, i) << _16)
        row[_CODES] = code | _DUP if poss_dup[i] else code
