"""Arrow columns to events in one pass: for record batches in the very form that ``schemas.arrow`` writes.

Column by column, every field is a strided write over memory that no cache holds; row by row, an event is written once.
Whatever is not in that form (nulls, other types, unknown words) goes the long way, which also says what is wrong with it.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.events import EVENT, FLAG_POSS_DUP, MESSAGE, place_of
from schemas.jit import compiled

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


_SEQ, _TS, _QTY, _PX, _BID, _ASK = (place_of(name, 8) for name in ("seq", "ts", "qty", "px", "bid", "ask"))
_PARENT, _CL, _ORIG, _EXEC = (place_of(name, 8) for name in ("parent_id", "cl_ord_id", "orig_cl_ord_id", "exec_id"))
_SERVER, _SYMBOL, _STRATEGY = place_of("server", 4), place_of("symbol", 4), place_of("strategy", 4)
_ACCOUNT, _VENUE, _CODES = place_of("account", 4), place_of("venue", 4), place_of("kind", 4)
_ID_WORDS: Final = EVENT["cl_ord_id"].itemsize // 8
_HEADER: Final = int(np.array([MESSAGE.header], "<u2").view("<u8")[0, 0])
"""The four header fields, which stand before ``seq``, as one word."""
_PADDING: Final = EVENT.itemsize // 4 - 1
assert (_SEQ, _CODES) == (1, _PADDING - 1), "an event is a header, its fields, and four bytes of padding"
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
    """(n, 3) each, as 64-bit words."""

    parent_id: U64
    cl_ord_id: U64
    orig_cl_ord_id: U64
    exec_id: U64


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


class Columns(NamedTuple):
    """All columns of n events. Indices lie within their dictionaries. poss_dup: (n,) 0 or 1."""

    numbers: Numbers
    ids: Ids
    names: Names
    codes: Codes
    poss_dup: U8


def scatter(events: NDArray[Any], at: I64, columns: Columns, start: int) -> None:
    """Write events whole, header and padding too: that in row ``start + k`` to row ``at[k]`` of ``events`` (m,)."""
    rows = events.view("<u8").reshape(len(events), -1)
    _scatter(rows, rows.view("<u4"), at, columns, start)


def arrange(keys: I64, counts: I64) -> I64:
    """(n,) the row of each event when they are put together by key, smallest first, and otherwise stay in order.

    counts: (k,) how many there are of each key from 0 on.

    >>> arrange(np.array([1, 0, 1, 0, 2]), np.array([2, 2, 1]))
    array([2, 0, 3, 1, 4])
    """
    at = np.empty(len(keys), np.int64)
    number(keys, np.cumsum(counts) - counts, at)
    return at


@compiled
def number(keys: I64, following: I64, at: I64) -> None:
    """at: (n,) the running number of each event among those of its key, going on from ``following`` (k,), which is moved
    on."""
    for i in range(len(keys)):
        key = keys[i]
        at[i] = following[key]
        following[key] += 1


@compiled
def _id(row: U64, at: int, ids: U64, i: int) -> None:
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
def _scatter(wide: U64, narrow: U32, at: I64, columns: Columns, start: int) -> None:
    numbers, ids, names, codes, poss_dup = columns
    for k in range(len(at)):
        i = start + k
        words, row = wide[at[k]], narrow[at[k]]
        words[0] = np.uint64(_HEADER)
        words[_SEQ], words[_TS] = numbers.seq[i], numbers.ts[i]
        words[_QTY], words[_PX] = numbers.qty[i], numbers.px[i]
        words[_BID], words[_ASK] = numbers.bid[i], numbers.ask[i]
        _id(words, _PARENT, ids.parent_id, i)
        _id(words, _CL, ids.cl_ord_id, i)
        _id(words, _ORIG, ids.orig_cl_ord_id, i)
        _id(words, _EXEC, ids.exec_id, i)
        _name(row, _SERVER, names.server, i)
        _name(row, _SYMBOL, names.symbol, i)
        _name(row, _STRATEGY, names.strategy, i)
        _name(row, _ACCOUNT, names.account, i)
        _name(row, _VENUE, names.venue, i)
        code = _code(codes.kind, i) | (_code(codes.side, i) << _8) | (_code(codes.phase, i) << _16)
        row[_CODES] = code | _DUP if poss_dup[i] else code
        row[_PADDING] = np.uint32(0)
