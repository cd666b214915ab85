"""Order events out of JSON by a compiled loop: one pass over the bytes of all values, straight into rows of EVENT.

It takes what producers write: objects of known keys in any order, each once, spaces or not, and arrays of them. Anything
else it declines, whole values at a time, and ``schemas.codec_json`` alone says what becomes of those. What it takes is,
bit for bit, what ``codec_json`` makes of the same text.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.codec_check import SIZE, bad_rows
from schemas.codec_json import CODES, NAMES
from schemas.codec_rules import ALWAYS, INTEGERS, PRICES, PX_MAX, STRINGS
from schemas.codec_sbe import Rows, positions
from schemas.events import EVENT, FLAG_POSS_DUP, HEADER, RAW, VERSION
from schemas.jit import Int, compiled
from schemas.packed import I64, Bytes, Packed
from schemas.units import PRICE9

Words = NDArray[np.uint64]

_LEAST: Final = len('{"v":1,"kind":"ack","server":"","seq":0,"ts":0}')
"""No event that is taken has fewer bytes: so many rows are enough."""
_QUOTE, _COMMA, _COLON, _POINT, _ZERO, _NINE, _ESCAPE = map(ord, '",:.09\\')
_OPEN, _CLOSE, _OPEN_ARRAY, _CLOSE_ARRAY = map(ord, "{}[]")
_SPACE, _LAST_PRINTABLE = 0x20, 0x7E
_NUMBER_MAX: Final = 19
"""So many digits never pass 2**64."""
_EXACT_MAX: Final = 2**53
"""Integers up to here are floats as they are, and so are the powers of ten up to 10**22: one division of them gives the
float nearest to the decimal text, which is what every right reader of JSON gives (Clinger 1990)."""
_TENS: Final = np.array([10.0**k for k in range(_NUMBER_MAX + 1)])
_TEN, _NONE, _EIGHT = np.uint64(10), np.uint64(0), 8
_TEXT, _INTEGER, _PRICE, _WORD, _FLAG, _ONLY_VERSION = range(6)
_NAME_MAX: Final = 16


def _two_words(text: str) -> tuple[int, int]:
    """A name as the two numbers that ``_name`` reads: sixteen bytes, NUL behind the end."""
    low, high = np.frombuffer(text.encode("ascii").ljust(_NAME_MAX, b"\0"), "<u8").tolist()
    return low, high


def _sort(name: str) -> int:
    sorts = ((STRINGS, _TEXT), (INTEGERS, _INTEGER), (PRICES, _PRICE), (CODES, _WORD), (("poss_dup",), _FLAG))
    return next((sort for names, sort in sorts if name in names), _ONLY_VERSION)


def _place(name: str) -> int:
    """Byte of the row at which the field begins; 0 for the version, which is in no row."""
    column = {"poss_dup": "flags"}.get(name, name)
    return int(EVENT.fields[column][1]) if EVENT.fields and column in EVENT.fields else 0


_KEYS: Final = np.array([_two_words(name) for name in NAMES], np.uint64)
"""(20, 2) names of the fields, in the order in which they are usually written."""
_SORTS: Final = np.array([_sort(name) for name in NAMES])
_PLACES: Final = np.array([_place(name) for name in NAMES])
_WIDTHS: Final = np.array([STRINGS.get(name, 0) for name in NAMES])
_FIRST_WORD: Final = np.cumsum([0] + [len(CODES.get(name, ())) for name in NAMES])
"""(21,) which of _WORDS and _WORD_CODES belong to a field: those up to where the next field's begin."""
_WORDS: Final = np.array([_two_words(word) for name in NAMES for word in CODES.get(name, ())], np.uint64)
_WORD_CODES: Final = np.array([code for name in NAMES for code in CODES.get(name, {}).values()], np.uint8)
_TRUE, _FALSE = np.frombuffer(b"true", np.uint8), np.frombuffer(b"false", np.uint8)
_NEEDED: Final = sum(1 << NAMES.index(name) for name in ALWAYS)


def scan(values: Sequence[bytes | None]) -> tuple[Rows, I64]:
    """The events of those values that go straight through, and the indices of the others, ascending.

    Every row keeps the rules of ``schemas.codec_rules``. What a value gives depends on that value alone.
    """
    packed = values if isinstance(values, Packed) else _pack(values)
    lengths = np.ascontiguousarray(packed.lengths)
    n = len(lengths)
    words = np.empty((int(lengths.sum()) // _LEAST + n + 1, SIZE // 8), np.uint64)
    counts = np.empty(n, np.int64)
    data = np.frombuffer(packed.data, np.uint8)
    taken = _scan(data, np.ascontiguousarray(packed.starts), lengths, words, words.view(np.uint8), counts)
    events = words[:taken].view(EVENT).reshape(taken)
    bad = bad_rows(events)
    single = taken == n and int(counts.max(initial=1)) == 1
    if single and not bad.any():
        return Rows(events, np.arange(n), np.zeros(n, np.int32)), np.empty(0, np.int64)
    where = np.repeat(np.arange(n), counts)
    counts[where[bad]] = 0
    keep = counts[where] > 0
    rows = Rows(events.view(RAW)[keep].view(EVENT), where[keep], positions(counts))
    return rows, np.flatnonzero(counts == 0)


def _pack(values: Sequence[bytes | None]) -> Packed:
    """Values that are objects, one behind the other; no bytes where there is none."""
    filled = [value or b"" for value in values]
    lengths = np.fromiter(map(len, filled), np.int64, len(filled))
    return Packed(b"".join(filled), lengths.cumsum() - lengths, lengths)


@compiled
def _scan(data: Bytes, starts: I64, lengths: I64, words: Words, octets: Bytes, counts: I64) -> int:
    """Fills ``words`` (which ``octets`` shows byte by byte) with the events of the values that are taken, ``counts`` with
    how many each value gave (0: declined); returns how many in all."""
    n = 0
    for i in range(len(starts)):
        first, end = n, starts[i] + lengths[i]
        at = _skip(data, starts[i], end)
        if at < end and data[at] == _OPEN:
            at = _event(data, at + 1, end, words[n], octets[n])
            n += 1
        elif at < end and data[at] == _OPEN_ARRAY:
            more = True
            while more:
                at = _skip(data, at + 1, end)
                if at >= end or data[at] != _OPEN:
                    at = -1
                    break
                at = _event(data, at + 1, end, words[n], octets[n])
                if at < 0:
                    break
                n += 1
                at = _skip(data, at, end)
                more = at < end and data[at] == _COMMA
            if at >= 0:
                at = at + 1 if at < end and data[at] == _CLOSE_ARRAY else -1
        else:
            at = -1
        if at < 0 or _skip(data, at, end) != end:
            n = first
        counts[i] = n - first
    return n


@compiled
def _skip(data: Bytes, at: int, end: int) -> int:
    """The place of the next byte that is no white space."""
    while at < end and data[at] <= _SPACE and (data[at] == _SPACE or data[at] in (9, 10, 13)):
        at += 1
    return at


@compiled
def _event(data: Bytes, at: int, end: int, row: Words, octets: Bytes) -> int:
    """Reads an object from behind its brace into a row. The place behind it, -1 where it is declined."""
    row[:] = _NONE
    row[0] = HEADER
    seen, field = 0, -1
    while True:
        at = _skip(data, at, end)
        if at >= end or data[at] != _QUOTE:
            return -1
        field, at = _key(data, at + 1, end, field)
        if at < 0 or (seen >> field) & 1:
            return -1
        seen |= 1 << field
        at = _skip(data, at, end)
        if at >= end or data[at] != _COLON:
            return -1
        at = _skip(data, at + 1, end)
        if at >= end:
            return -1
        at = _field(data, at, end, field, row, octets)
        if at < 0:
            return -1
        at = _skip(data, at, end)
        if at >= end:
            return -1
        if data[at] == _CLOSE:
            return at + 1 if seen & _NEEDED == _NEEDED else -1
        if data[at] != _COMMA:
            return -1
        at += 1


@compiled
def _field(data: Bytes, at: int, end: int, field: int, row: Words, octets: Bytes) -> int:
    """Reads the value of a field into its place. The place behind it, -1 where it is declined."""
    sort, place = _SORTS[field], _PLACES[field]
    if sort == _TEXT:
        return _text(data, at, end, octets, place, _WIDTHS[field])
    if sort == _WORD:
        return _word(data, at, end, field, octets, place)
    if sort == _FLAG:
        return _flag(data, at, end, octets, place)
    number, at, decimals = _number(data, at, end, sort == _PRICE)
    if at < 0:
        return -1
    if sort == _PRICE:
        if number > _EXACT_MAX:
            return -1
        price = np.float64(np.int64(number)) / _TENS[decimals]
        if price > PX_MAX:
            return -1
        row[place // _EIGHT] = np.uint64(np.rint(price * PRICE9))  # in the very steps of codec_json
    elif sort == _INTEGER:
        row[place // _EIGHT] = number
    elif number != VERSION:
        return -1
    return at


@compiled
def _name(data: Bytes, at: int, end: int) -> tuple[Int, Int, Int]:
    """A text of up to sixteen bytes as two numbers, and the place behind its closing quote; -1 where it is longer."""
    low, high, shift = np.uint64(0), np.uint64(0), np.uint64(0)
    for k in range(_NAME_MAX + 1):
        if at >= end or data[at] == 0:  # NUL would look like the end
            return low, high, -1
        byte = data[at]
        at += 1
        if byte == _QUOTE:
            return low, high, at
        if k < _EIGHT:
            low |= np.uint64(byte) << shift
        else:
            high |= np.uint64(byte) << shift
        shift = (shift + np.uint64(8)) & np.uint64(63)
    return low, high, -1


@compiled
def _key(data: Bytes, at: int, end: int, last: int) -> tuple[Int, Int]:
    """Number of the field that is named from ``at`` on, and the place behind the closing quote; -1 where there is none
    of this name. Looked for from behind the last one: mostly they come in this order."""
    low, high, at = _name(data, at, end)
    field = last
    for _ in range(len(_KEYS)):
        field = field + 1 if field + 1 < len(_KEYS) else 0
        if low == _KEYS[field, 0] and high == _KEYS[field, 1]:
            return field, at
    return 0, -1


@compiled
def _word(data: Bytes, at: int, end: int, field: int, octets: Bytes, place: int) -> int:
    if data[at] != _QUOTE:
        return -1
    low, high, at = _name(data, at + 1, end)
    for k in range(_FIRST_WORD[field], _FIRST_WORD[field + 1]):
        if low == _WORDS[k, 0] and high == _WORDS[k, 1]:
            octets[place] = _WORD_CODES[k]
            return at
    return -1


@compiled
def _text(data: Bytes, at: int, end: int, octets: Bytes, place: int, width: int) -> int:
    if data[at] != _QUOTE:
        return -1
    to, stop = place, place + width
    for k in range(at + 1, end):
        byte = data[k]
        if byte == _QUOTE:
            return k + 1
        if byte < _SPACE or byte > _LAST_PRINTABLE or byte == _ESCAPE or to == stop:
            return -1
        octets[to] = byte
        to += 1
    return -1


@compiled
def _flag(data: Bytes, at: int, end: int, octets: Bytes, place: int) -> int:
    yes = data[at] == _TRUE[0]
    word = _TRUE if yes else _FALSE
    if end - at < len(word):
        return -1
    for k in range(len(word)):
        if data[at + k] != word[k]:
            return -1
    octets[place] = FLAG_POSS_DUP if yes else 0
    return at + len(word)


@compiled
def _number(data: Bytes, at: int, end: int, pointed: bool) -> tuple[Int, Int, Int]:
    """Digits, with a point among them where that is allowed, as one whole number; the place behind them, -1 where they are
    no number of JSON; how many stood behind the point. A sign is declined; what is too long, or goes on with an exponent,
    is left standing where nothing may stand."""
    number, start, point = np.uint64(0), at, -1
    stop = min(end, start + _NUMBER_MAX)
    while at < stop:
        byte = data[at]
        if _ZERO <= byte <= _NINE:
            number = number * _TEN + np.uint64(byte - _ZERO)
        elif byte == _POINT and pointed and point < 0:
            point = at
        else:
            break
        at += 1
    whole = (point if point >= 0 else at) - start
    if whole < 1 or (whole > 1 and data[start] == _ZERO) or point == at - 1:
        return number, -1, 0
    return number, at, at - 1 - point if point >= 0 else 0
