"""JSON order events <-> columns: msgspec decodes each value into a typed struct, numpy takes the columns from there.

What producers usually write never comes here: ``schemas.json_scan`` takes it straight from the bytes. This is for all the
rest, and the judge of what is refused and why. Measured on 258-byte events, one per value: typed structs 1.2 us, generic
dicts 2.0 us, joining the values into one array 1.4 us (and it would let one broken value reach into the next); the columns
add about 1 us.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct
from numpy.typing import NDArray

from schemas.codec_check import bad_rows
from schemas.codec_rules import INTEGERS, PRICES, PX_MAX, SEQ_MAX, STRINGS, Fault, Reason, Refusal, explain
from schemas.codec_sbe import Rows, merge, positions
from schemas.events import EVENT, FLAG_POSS_DUP, RAW, VERSION, Kind, Phase, Side, empty_events
from schemas.units import PRICE9, QTY_MAX, TS_NS_MAX, TS_NS_MIN

_Seq = Annotated[int, Meta(ge=0, le=SEQ_MAX)]
_Ts = Annotated[int, Meta(ge=TS_NS_MIN, le=TS_NS_MAX)]
_Qty = Annotated[int, Meta(ge=0, le=QTY_MAX)]
_Price = Annotated[float, Meta(ge=0, le=PX_MAX)]
_Id = Annotated[str, Meta(max_length=24)]
_Name = Annotated[str, Meta(max_length=12)]


class _Wire(Struct, gc=False):
    """One event as it stands in JSON; whatever does not fit is looked at again, slowly, by ``explain``."""

    v: Literal[1]
    kind: Literal[
        "parent", "parent_done", "order", "replace", "cancel", "ack", "fill", "replaced", "canceled", "rejected",
        "expired",
    ]  # fmt: skip
    server: Annotated[str, Meta(max_length=16)]
    seq: _Seq
    ts: _Ts
    parent_id: _Id = ""
    cl_ord_id: _Id = ""
    orig_cl_ord_id: _Id = ""
    exec_id: _Id = ""
    symbol: _Name = ""
    strategy: _Name = ""
    account: _Name = ""
    venue: _Name = ""
    side: Literal["", "B", "S", "SS"] = ""
    qty: _Qty = 0
    px: _Price = 0.0
    bid: _Price = 0.0
    ask: _Price = 0.0
    phase: Literal["", "pre", "open", "cont", "close", "post", "halt"] = ""
    poss_dup: bool = False


NAMES: Final = _Wire.__struct_fields__
"""JSON field names, in the order in which they are written."""
_one_or_many: Final[msgspec.json.Decoder[_Wire | list[_Wire]]] = msgspec.json.Decoder(_Wire | list[_Wire])
_raws: Final = msgspec.json.Decoder(list[Raw])
_KINDS: Final = {kind.name: int(kind) for kind in Kind}
_SIDES: Final = {"" if side is Side.none else side.name: int(side) for side in Side}
_PHASES: Final = {"" if phase is Phase.none else phase.name: int(phase) for phase in Phase}
CODES: Final = {"kind": _KINDS, "side": _SIDES, "phase": _PHASES}
"""JSON field -> word -> code in a row."""
_BLANK: Final = _Wire(v=1, kind="ack", server="", seq=0, ts=TS_NS_MIN)
"""Stands in for an event whose text cannot be held; it breaks the rules, so that its value is read again."""
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SERVER_TEXT: Final = re.compile(rb'"server"\s*:\s*"([ !#-\[\]-~]{1,16})"')


class _OddText(ValueError):
    """A text is not ASCII or holds a NUL, which numpy would take for padding."""


def decode(values: Sequence[bytes], index: NDArray[np.int64]) -> tuple[Rows, list[Refusal]]:
    """JSON values (an object or an array of objects each) -> accepted rows and refusals; ``index`` as in codec_sbe.

    What a value gives depends on that value alone. One that does not go straight through is read again item by item.
    """
    done: list[Any] = []
    where: list[int] = []
    slow: list[int] = []
    one = _one_or_many.decode
    for i, value in enumerate(values):
        try:
            done.append(one(value))
            where.append(i)
        except _BROKEN:
            slow.append(i)
    rows, odd = _straight(done, np.array(where, np.int64))
    wires: list[_Wire] = []
    places: list[tuple[int, int]] = []
    refused: list[Refusal] = []
    for i in sorted(slow + odd):
        for item, result in enumerate(_items(values[i], int(index[i]))):
            if isinstance(result, Refusal):
                refused.append(result)
            else:
                wires.append(result)
                places.append((i, item))
    if wires:
        at = np.array(places, np.int64)
        rows = merge([rows, Rows(_columns(wires), at[:, 0], at[:, 1].astype(np.int32))])
    return Rows(rows.events, index[rows.values], rows.items), refused


def _straight(done: list[Any], where: NDArray[np.int64]) -> tuple[Rows, list[int]]:
    """Rows of the values in which every event keeps the rules, and ``where`` of the values in which one does not."""
    several = list in set(map(type, done))
    lists = [entry if isinstance(entry, list) else [entry] for entry in done] if several else None
    counts = np.fromiter(map(len, lists), np.int64, len(lists)) if lists else np.ones(len(done), np.int64)
    wires: list[_Wire] = list(chain.from_iterable(lists)) if lists else done
    at = np.repeat(where, counts)
    odd = set(where[counts == 0].tolist())
    try:
        events = _columns(wires)
    except _OddText:
        good = np.fromiter(map(_plain, wires), np.bool_, len(wires))
        odd |= set(at[~good].tolist())
        events = _columns([wire if ok else _BLANK for wire, ok in zip(wires, good.tolist(), strict=True)])
    odd |= set(at[bad_rows(events)].tolist())
    rows = Rows(events, at, positions(counts))
    if odd:
        keep = ~np.isin(at, list(odd))
        rows = Rows(events.view(RAW)[keep].view(EVENT), at[keep], rows.items[keep])
    return rows, sorted(odd)


def _items(value: bytes, at: int) -> Iterator[_Wire | Refusal]:
    """The events of one value, each accepted or refused."""
    try:
        raws = _raws.decode(value) if value.lstrip(b" \t\r\n")[:1] == b"[" else [Raw(value)]
    except _BROKEN as error:
        yield Refusal(*_syntax_fault(error), at, 0, value, peek_server(value))
        return
    if not raws:
        yield Refusal(Reason.empty, "the array holds no event; expected at least one", at, 0, value)
    for item, raw in enumerate(raws):
        piece = bytes(raw)
        try:
            event = msgspec.json.decode(piece)
        except _BROKEN as error:
            yield Refusal(*_syntax_fault(error), at, item, piece, peek_server(piece))
            continue
        result = _wire_or_fault(event)
        yield result if isinstance(result, _Wire) else Refusal(*result, at, item, piece, peek_server(piece))


def _wire_or_fault(event: object) -> "_Wire | Fault":
    """An event as parsed from JSON, made strict; or what is wrong with it."""
    fault = explain(event)
    if fault is not None:
        return fault
    assert isinstance(event, Mapping)
    whole = {name: int(event[name]) for name in ("v", *INTEGERS) if name in event}  # 100.0 is an integer in JSON
    known = {name: event[name] for name in NAMES if name in event}
    return msgspec.convert(known | whole, _Wire)


def _syntax_fault(error: Exception) -> Fault:
    if isinstance(error, RecursionError):
        return Reason.undecodable, "JSON is nested too deeply; expected an object or an array of objects"
    if isinstance(error, UnicodeDecodeError):
        return Reason.undecodable, f"JSON is not UTF-8: {error.reason} at byte {error.start} of a text"
    if "truncated" in str(error):
        return Reason.truncated, "JSON ends too early; publish whole values"
    return Reason.undecodable, str(error)[:200]


def _taken(wires: Sequence[_Wire]) -> dict[str, list[Any]]:
    """One list per field. Spelled out, because Python reads a named slot twice as fast as ``attrgetter`` does."""
    return {
        "kind": [wire.kind for wire in wires],
        "server": [wire.server for wire in wires],
        "seq": [wire.seq for wire in wires],
        "ts": [wire.ts for wire in wires],
        "parent_id": [wire.parent_id for wire in wires],
        "cl_ord_id": [wire.cl_ord_id for wire in wires],
        "orig_cl_ord_id": [wire.orig_cl_ord_id for wire in wires],
        "exec_id": [wire.exec_id for wire in wires],
        "symbol": [wire.symbol for wire in wires],
        "strategy": [wire.strategy for wire in wires],
        "account": [wire.account for wire in wires],
        "venue": [wire.venue for wire in wires],
        "side": [wire.side for wire in wires],
        "qty": [wire.qty for wire in wires],
        "px": [wire.px for wire in wires],
        "bid": [wire.bid for wire in wires],
        "ask": [wire.ask for wire in wires],
        "phase": [wire.phase for wire in wires],
        "poss_dup": [wire.poss_dup for wire in wires],
    }


def _columns(wires: Sequence[_Wire]) -> NDArray[Any]:
    """(n,) of EVENT from typed structs; _OddText if a text cannot be held as it is."""
    events = empty_events(len(wires))
    for name, column in _taken(wires).items():
        if name in STRINGS:
            joined = "".join(column)
            if not joined.isascii() or "\0" in joined:
                raise _OddText(f"{name} is not ASCII or holds a NUL")
            if joined:
                events[name] = np.array(column, EVENT[name])
        elif name in PRICES:
            events[name] = np.rint(np.array(column, np.float64) * PRICE9)
        elif name in CODES:
            events[name] = list(map(CODES[name].__getitem__, column))
        elif name == "poss_dup":
            events["flags"] = np.array(column, np.bool_) * np.uint8(FLAG_POSS_DUP)
        else:
            events[name] = np.array(column, np.int64)
    return events


def _plain(wire: _Wire) -> bool:
    return all(text.isascii() and "\0" not in text for text in (getattr(wire, name) for name in STRINGS))


def from_dicts(dicts: Sequence[Mapping[str, Any]]) -> tuple[NDArray[Any], list[Refusal]]:
    """Events from plain dicts with JSON's words; refused ones (``item``: index in ``dicts``) are left out."""
    try:
        events = _columns(msgspec.convert(dicts, list[_Wire]))
        if not bad_rows(events).any():
            return events, []
    except (msgspec.ValidationError, _OddText):
        pass  # one of them is not as it should be: look at each
    wires: list[_Wire] = []
    refused: list[Refusal] = []
    for item, event in enumerate(dicts):
        result = _wire_or_fault(event)
        if isinstance(result, _Wire):
            wires.append(result)
        else:
            refused.append(Refusal(*result, item=item))
    return _columns(wires), refused


def to_dicts(events: NDArray[Any]) -> list[dict[str, Any]]:
    """Plain dicts with JSON's words, keys in the order of NAMES. Empty text and side or phase ``none`` are left out;
    prices are numbers of currency units. ValueError if an event holds a code or a byte that has no word."""
    columns: list[Sequence[Any]] = [[VERSION] * len(events)]
    for name in NAMES[1:]:
        if name in STRINGS:
            columns.append([text.decode("ascii") for text in events[name].tolist()])
        elif name in PRICES:
            columns.append((events[name] / PRICE9).tolist())
        elif name in CODES:
            columns.append(_words(name, events[name].tolist()))
        elif name == "poss_dup":
            columns.append(((events["flags"] & FLAG_POSS_DUP) != 0).tolist())
        else:
            columns.append(events[name].tolist())
    rows = zip(*columns, strict=True)
    return [{name: value for name, value in zip(NAMES, row, strict=True) if value != ""} for row in rows]


def _words(name: str, codes: list[int]) -> list[str]:
    words = {code: word for word, code in CODES[name].items()}
    unknown = set(codes) - set(words)
    if unknown:
        raise ValueError(f"{name} has the codes {sorted(unknown)}, which have no word; expected {sorted(words)}")
    return [words[code] for code in codes]


def encode(events: NDArray[Any]) -> bytes:
    """One object for one event, else an array of objects. Raises as ``to_dicts``."""
    dicts = to_dicts(events)
    return msgspec.json.encode(dicts[0] if len(dicts) == 1 else dicts)


def encode_each(events: NDArray[Any]) -> list[bytes]:
    """One object per event, for one event per Kafka record or per line of a file. Raises as ``to_dicts``."""
    encoder = msgspec.json.Encoder()
    return [encoder.encode(event) for event in to_dicts(events)]


def peek_server(value: bytes) -> str:
    """The first thing in ``value`` that looks like ``"server": "NAME"``, or ""; works on broken JSON too."""
    match = _SERVER_TEXT.search(value)
    return match[1].decode("ascii") if match else ""
