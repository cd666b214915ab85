"""The rules of ``schemas.codec_rules`` over whole columns: which rows of a batch of order events are bad.

One compiled pass, eight characters at a time.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.codec_rules import EITHER_ID, INTEGERS, NEEDS_EITHER_ID, PRICES, REQUIRED, STRINGS, Fault, Reason, explain
from schemas.events import EVENT, FLAG_POSS_DUP, HEADER, VERSION, Kind, Phase, Side, as_words
from schemas.jit import compiled
from schemas.units import PRICE9, PX9_MAX

SIZE: Final = EVENT.itemsize
_FIELDS: Final[Mapping[str, Any]] = EVENT.fields or {}
_AT: Final = {name: int(spec[1]) for name, spec in _FIELDS.items()}
_BITS: Final = {"parent_id": 1, "cl_ord_id": 2, "orig_cl_ord_id": 4, "symbol": 8, "side": 16, "qty": 32, "px": 64}
_EITHER: Final = 128


def _needs() -> NDArray[np.uint8]:
    """(256,) bits of _BITS that each kind code needs; codes that are no kind are caught elsewhere."""
    table = np.zeros(256, np.uint8)
    for kind, names in REQUIRED.items():
        table[kind] = sum(_BITS[name] for name in names) + (_EITHER if kind in NEEDS_EITHER_ID else 0)
    return table


def _allowed(codes: type[Side] | type[Phase]) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[[int(code) for code in codes]] = True
    return table


def _text_masks() -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """(w,) for each word of text, the top bit of bytes whose next byte, in the same word or at the start of the next one,
    belongs to the same field; and (w,) the top bit of the last byte, likewise, for the step into the next word."""
    inside = np.zeros(SIZE, np.uint8)
    text = np.zeros(SIZE, np.uint8)
    for name, width in STRINGS.items():
        text[_AT[name] : _AT[name] + width] = 0x80
        inside[_AT[name] : _AT[name] + width - 1] = 0x80
    words = slice(_TEXT_FROM, _TEXT_TO)
    across = inside.copy()
    across.reshape(-1, 8)[:, :7] = 0
    inside.reshape(-1, 8)[:, 7] = 0
    return text.view("<u8")[words], inside.view("<u8")[words], across.view("<u8")[words]


_RANGES: Final = np.array(
    [(_AT[name] // 8, low, high) for name, (low, high) in INTEGERS.items()]
    + [(_AT[name] // 8, 0, PX9_MAX) for name in PRICES],
    np.uint64,
)
"""(k, 3) word of a number, its least and its largest value."""
_FIELDS_NEEDED: Final = tuple(
    (_AT[name] // 8, np.uint64(0xFF if name in STRINGS else 0xFFFFFFFFFFFFFFFF), bit)
    for name, bit in _BITS.items()
    if name != "side"
)
"""Word, mask (of the first character, or of the number) and bit of what a kind may need."""
_SIDE_BIT: Final = _BITS["side"]
_EITHER_OF: Final = sum(_BITS[name] for name in EITHER_ID)
_SERVER: Final = _AT["server"] // 8
_CODES: Final = _AT["kind"] // 8
"""The word of kind, side, phase and flags, in this order from its lowest byte."""
_BYTE, _8, _16, _24, _56 = np.uint64(0xFF), np.uint64(8), np.uint64(16), np.uint64(24), np.uint64(56)
_01, _60 = np.uint64(0x0101010101010101), np.uint64(0x6060606060606060)
_7F, _80 = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
_NEEDS: Final = _needs()
_BAD_KIND: Final = np.array([code not in tuple(Kind) for code in range(256)])
_BAD_SIDE: Final = ~_allowed(Side)
_BAD_PHASE: Final = ~_allowed(Phase)
_TEXT_FROM: Final = min(_AT[name] for name in STRINGS) // 8
_TEXT_TO: Final = max(_AT[name] + width for name, width in STRINGS.items()) // 8
"""The text fields stand together, from one whole word to another."""
_TEXT, _INSIDE, _ACROSS = _text_masks()
assert (_TEXT == 0x8080808080808080).all(), "a number stands between the text fields of order-event.xml"


def bad_rows(events: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) True where an event breaks a rule. ``events``: (n,) of EVENT, headers already checked."""
    words = as_words(events)
    bad = np.empty(len(words), np.bool_)
    _bad_rows(words, _RANGES, _NEEDS, bad)
    return bad


@compiled
def headers_good(words: NDArray[np.uint64]) -> bool:
    """Has each message (n, 28) the header of this schema and version?"""
    for i in range(len(words)):  # noqa: SIM110 - a generator does not compile
        if words[i, 0] != HEADER:
            return False
    return True


@compiled
def _bad_rows(words: NDArray[np.uint64], ranges: NDArray[np.uint64], needs: NDArray[np.uint8], bad: Any) -> None:
    for i in range(len(words)):
        row = words[i]
        wrong = _text_wrong(row)
        for k in range(len(ranges)):
            low, high = ranges[k, 1], ranges[k, 2]
            # a number below the range, or a negative one, wraps to a very large one
            wrong |= np.uint64(row[ranges[k, 0]] - low > high - low)
        codes = row[_CODES]
        kind, side = codes & _BYTE, (codes >> _8) & _BYTE
        phase, flags = (codes >> _16) & _BYTE, (codes >> _24) & _BYTE
        have = np.uint8(0)
        for w, mask, bit in _FIELDS_NEEDED:
            if row[w] & mask != 0:
                have |= np.uint8(bit)
        if side != 0:
            have |= np.uint8(_SIDE_BIT)
        if have & np.uint8(_EITHER_OF):
            have |= np.uint8(_EITHER)
        lacks = needs[kind] & ~have
        bad[i] = (
            wrong != 0 or row[_SERVER] & _BYTE == 0 or lacks != 0 or flags > FLAG_POSS_DUP
            or _BAD_KIND[kind] or _BAD_SIDE[side] or _BAD_PHASE[phase]
        )  # fmt: skip


@compiled
def _text_wrong(row: NDArray[np.uint64]) -> np.uint64:
    """Not zero when a text field is not printable ASCII with trailing NULs only. Eight characters at a time: below, the
    top bit of each byte of ``there`` says that it is not NUL, of ``visible`` that it is 0x20 or more."""
    wrong = np.uint64(0)
    for w in range(_TEXT_TO - _TEXT_FROM):
        text, after = row[_TEXT_FROM + w], row[_TEXT_FROM + w + 1]
        there = (text + _7F) & _80
        visible = ((text & _60) + _7F) & _80
        wrong |= (text & _80) | ((text + _01) & _80) | (there ^ visible)
        next_there = ((after + _7F) & np.uint64(0x80)) << _56
        wrong |= ~there & (((there >> _8) & _INSIDE[w]) | (next_there & _ACROSS[w]))
    return wrong


def explain_row(event: np.void) -> Fault:
    """The reason and the sentence for a row that ``bad_rows`` marked."""
    row = dict(zip(EVENT.names or (), event.item(), strict=True))
    words: dict[str, Any] = {name: row[name].decode("latin-1") for name in STRINGS}
    words |= {name: row[name] for name in INTEGERS} | {name: row[name] / PRICE9 for name in PRICES}
    words |= {"v": VERSION, "kind": _word(Kind, row["kind"])}
    words["side"] = _word(Side, row["side"]) if row["side"] else ""
    words["phase"] = _word(Phase, row["phase"]) if row["phase"] else ""
    fault = explain(words)
    if fault is None and row["flags"] > FLAG_POSS_DUP:
        fault = Reason.unknown_word, f"flags is {row['flags']}; expected 0 or {FLAG_POSS_DUP} (poss_dup)"
    assert fault is not None, "bad_rows marked an event in which explain finds no fault"
    return fault


def _word(codes: type[Kind] | type[Side] | type[Phase], code: int) -> str | int:
    """The wire word of a code, or the code itself if it has none."""
    try:
        return codes(code).name
    except ValueError:
        return code
