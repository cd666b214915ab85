"""What makes an order event acceptable: the rules as tables, and as one plain function over one event.

The vectorised check (``schemas.codec_check``), the JSON decoder's types (``schemas.codec_json``) and
``order-event.schema.json`` are all derived from the tables here; ``explain`` is the specification they are tested
against, and writes the sentence that a person reads on ``dead-letters``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeGuard

from schemas.events import EVENT, VERSION, Kind, Phase, Side
from schemas.units import PRICE9, PX9_MAX, QTY_MAX, TS_NS_MAX, TS_NS_MIN, price9

SEQ_MAX: Final = 2**63 - 1
PX_MAX: Final = PX9_MAX // PRICE9
STRINGS: Final = {name: EVENT[name].itemsize for name in EVENT.names or () if EVENT[name].kind == "S"}
"""Text fields and their width in bytes; contents are printable ASCII, padded with NUL on the wire."""
INTEGERS: Final = {"seq": (0, SEQ_MAX), "ts": (TS_NS_MIN, TS_NS_MAX), "qty": (0, QTY_MAX)}
"""Integer fields and their range, both ends included."""
PRICES: Final = ("px", "bid", "ask")
"""Fields that are numbers of currency units in JSON and int64 of 1e-9 in SBE: 0 to PX_MAX."""
WORDS: Final = {
    "side": tuple(s.name for s in Side if s is not Side.none),
    "phase": tuple(p.name for p in Phase if p is not Phase.none),
}
ALWAYS: Final = ("v", "kind", "server", "seq", "ts")
EITHER_ID: Final = ("cl_ord_id", "orig_cl_ord_id")
REQUIRED: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.parent: ("parent_id", "symbol", "side", "qty"),
    Kind.parent_done: ("parent_id",),
    Kind.order: ("cl_ord_id", "symbol", "side", "qty"),
    Kind.replace: ("cl_ord_id", "orig_cl_ord_id", "qty"),
    Kind.cancel: ("orig_cl_ord_id",),
    Kind.ack: ("cl_ord_id",),
    Kind.fill: ("cl_ord_id", "symbol", "side", "qty", "px"),
    Kind.replaced: ("cl_ord_id", "orig_cl_ord_id"),
    Kind.canceled: (),
    Kind.rejected: ("cl_ord_id",),
    Kind.expired: ("cl_ord_id",),
}
"""What a kind needs besides ALWAYS. A required qty is at least 1, a required px above 0, a required text not empty."""
NEEDS_EITHER_ID: Final = frozenset({Kind.canceled})
"""Kinds that need one of EITHER_ID, whichever."""


class Reason(StrEnum):
    """Why a value, or one event of it, was refused. Closed: dashboards and alerts name these words."""

    empty = "empty"
    """A tombstone, no bytes, or an array without events."""
    undecodable = "undecodable"
    """Neither JSON nor SBE, or JSON with a syntax error."""
    truncated = "truncated"
    """It begins well and ends too early."""
    wrong_schema = "wrong_schema"
    """SBE of another schema, template or block length."""
    wrong_version = "wrong_version"
    wrong_type = "wrong_type"
    missing_field = "missing_field"
    unknown_kind = "unknown_kind"
    unknown_word = "unknown_word"
    """A side, phase or flag that is not in the list."""
    oversized_field = "oversized_field"
    not_printable = "not_printable"
    """A character outside printable ASCII, or a NUL that is not trailing padding."""
    out_of_range = "out_of_range"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused event: ``value`` is the index of its value in the call, ``item`` its position in that value."""

    reason: Reason
    detail: str
    value: int = 0
    item: int = 0
    payload: bytes = b""
    key: str = ""


Fault = tuple[Reason, str]


def explain(event: object) -> Fault | None:
    """Reason and sentence for the first rule that ``event`` (as parsed from JSON) breaks; None if it breaks none."""
    if not isinstance(event, Mapping):
        return Reason.wrong_type, f"an event must be a JSON object, found {_found(event)}"
    return _header_fault(event) or _field_fault(event) or _kind_fault(Kind[event["kind"]], event)


def _header_fault(event: Mapping[str, Any]) -> Fault | None:
    for name in ALWAYS:
        if name not in event:
            return Reason.missing_field, f"{name} is missing; every event needs {', '.join(ALWAYS)}"
    version, kind = event["v"], event["kind"]
    if not _is_number(version):
        return Reason.wrong_type, f"v is {_found(version)}; expected the integer {VERSION}"
    if version != VERSION:
        return Reason.wrong_version, f"v is {_found(version)}; this decoder knows version {VERSION}"
    if isinstance(kind, str) and kind in Kind.__members__:
        return None
    if isinstance(kind, str) or _is_number(kind):
        return Reason.unknown_kind, f"kind is {_found(kind)}; expected one of {', '.join(Kind.__members__)}"
    return Reason.wrong_type, f"kind is {_found(kind)}; expected text"


def _field_fault(event: Mapping[str, Any]) -> Fault | None:
    for name, value in event.items():
        fault: Fault | None = None
        if name in STRINGS:
            fault = _text_fault(name, value)
        elif name in INTEGERS:
            fault = _integer_fault(name, value)
        elif name in PRICES:
            fault = _price_fault(name, value)
        elif name in WORDS:
            fault = _word_fault(name, value)
        elif name == "poss_dup" and not isinstance(value, bool):
            fault = Reason.wrong_type, f"poss_dup is {_found(value)}; expected true or false"
        if fault:
            return fault
    return None


def _text_fault(name: str, value: object) -> Fault | None:
    width = STRINGS[name]
    if not isinstance(value, str):
        return Reason.wrong_type, f"{name} is {_found(value)}; expected text of at most {width} characters"
    if len(value) > width:
        return Reason.oversized_field, f"{name} has {len(value)} characters; expected at most {width}"
    if not (value.isascii() and value.isprintable()):
        return Reason.not_printable, f"{name} is {_found(value)}; expected printable ASCII"
    return None


def _integer_fault(name: str, value: object) -> Fault | None:
    low, high = INTEGERS[name]
    if not _is_number(value) or (isinstance(value, float) and math.isfinite(value) and not value.is_integer()):
        return Reason.wrong_type, f"{name} is {_found(value)}; expected an integer"
    if not low <= value <= high:
        return Reason.out_of_range, f"{name} is {_found(value)}; expected {low} to {high}"
    return None


def _price_fault(name: str, value: object) -> Fault | None:
    if not _is_number(value):
        return Reason.wrong_type, f"{name} is {_found(value)}; expected a number"
    if not 0 <= value <= PX_MAX:
        return Reason.out_of_range, f"{name} is {_found(value)}; expected 0 to {PX_MAX}"
    return None


def _word_fault(name: str, value: object) -> Fault | None:
    if isinstance(value, str) and (value == "" or value in WORDS[name]):
        return None
    reason = Reason.unknown_word if isinstance(value, str) or _is_number(value) else Reason.wrong_type
    return reason, f"{name} is {_found(value)}; expected one of {', '.join(WORDS[name])}"


def _kind_fault(kind: Kind, event: Mapping[str, Any]) -> Fault | None:
    for name in ("server", *REQUIRED[kind]):
        value = event.get(name)
        if value is None or value == "":
            return Reason.missing_field, f"{name} is missing or empty; {_a(kind)} needs it"
        if name == "qty" and value < 1:
            return Reason.out_of_range, f"qty is {_found(value)}; {_a(kind)} needs 1 to {QTY_MAX}"
        if name == "px" and price9(value) < 1:
            return Reason.out_of_range, f"px is {_found(value)}; {_a(kind)} needs a price above 0"
    if kind in NEEDS_EITHER_ID and not any(event.get(name) for name in EITHER_ID):
        return Reason.missing_field, f"{_a(kind)} needs {' or '.join(EITHER_ID)}; both are missing or empty"
    return None


def _a(kind: Kind) -> str:
    return f"{'an' if kind.name[0] in 'aeo' else 'a'} {kind.name}"


def _is_number(value: object) -> TypeGuard[int | float]:
    """JSON numbers only: Python's bool is an int, JSON's is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _found(value: object) -> str:
    """A short, safe picture of what was found."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    text = ascii(value)
    return text if len(text) <= 48 else text[:45] + "..."
