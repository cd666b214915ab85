"""SBE messages back to back <-> columns. Nothing is copied that need not be, and no loop runs over events."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.codec_check import SIZE, bad_rows, explain_row, headers_good
from schemas.codec_rules import Fault, Reason, Refusal
from schemas.events import EVENT, HEADER, MESSAGE, RAW, as_words, join_rows, take
from schemas.packed import Packed

FIRST_BYTE: Final = MESSAGE.header[0] & 0xFF
"""What a good SBE value begins with (0xD8); no JSON text does."""
_BLOCK, _TEMPLATE, _SCHEMA, _VERSION = MESSAGE.header
_HEADER: Final = struct.Struct("<4H")
_FIELDS: Final[Mapping[str, Any]] = EVENT.fields or {}
_END: Final = max(int(spec[1]) + spec[0].itemsize for spec in _FIELDS.values())
_SERVER: Final = _FIELDS["server"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Accepted events and where they stood: ``values`` (n,) index of the value in the call, ``items`` (n,) position
    in it; sorted by (value, item)."""

    events: NDArray[Any]
    values: NDArray[np.int64]
    items: NDArray[np.int32]


def encode(events: NDArray[Any]) -> bytes:
    """(n,) of EVENT -> n x 224 bytes. Header and padding are written afresh, so that equal events are equal bytes."""
    raw = np.empty((len(events), SIZE), np.uint8)
    raw[:] = np.ascontiguousarray(events, EVENT).view(np.uint8).reshape(-1, SIZE)
    raw[:, _END:] = 0
    raw.view("<u8")[:, 0] = HEADER
    return raw.tobytes()


def encode_each(events: NDArray[Any]) -> list[bytes]:
    """One message per event, for one event per Kafka record."""
    data = encode(events)
    return [data[start : start + SIZE] for start in range(0, len(data), SIZE)]


def decode_whole(values: Sequence[bytes | None]) -> tuple[NDArray[Any], NDArray[np.int64] | None] | None:
    """The fast path: events, and how many each value holds (None: one each), or None if any value is not whole SBE
    messages of this schema and version (the careful path must then look at each)."""
    if isinstance(values, Packed):
        return _packed_whole(values)
    try:
        lengths = set(map(len, values))  # type: ignore[arg-type]  # a tombstone is the TypeError below
        data = bytearray().join(values)  # type: ignore[arg-type]  # not bytes: the loops want writable memory
    except TypeError:
        return None
    counts = None
    if lengths != {SIZE}:
        if any(length % SIZE or not length for length in lengths):
            return None
        counts = np.fromiter(map(len, values), np.int64, len(values)) // SIZE  # type: ignore[arg-type]
    events = np.frombuffer(data, EVENT)
    return (events, counts) if headers_good(as_words(events)) else None


def _packed_whole(values: Packed) -> tuple[NDArray[Any], NDArray[np.int64] | None] | None:
    lengths = values.lengths
    if (lengths < SIZE).any() or (lengths % SIZE).any():
        return None
    events = values.joined().view(EVENT)
    counts = None if len(events) == len(values) else lengths // SIZE
    return (events, counts) if headers_good(as_words(events)) else None


def positions(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """0, 1, … within each value: ``positions([2, 1, 3]) == [0, 1, 0, 0, 1, 2]``."""
    ends = counts.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    return (np.arange(total) - np.repeat(ends - counts, counts)).astype(np.int32)


def merge(parts: Sequence[Rows]) -> Rows:
    """One set of rows in log order from several, whatever their order."""
    full = [part for part in parts if len(part.events)]
    if len(full) <= 1:
        return full[0] if full else parts[0]
    values = np.concatenate([part.values for part in full])
    items = np.concatenate([part.items for part in full])
    order = np.lexsort((items, values))
    return Rows(take(join_rows([part.events for part in full]), order), values[order], items[order])


def decode(values: Sequence[bytes], index: NDArray[np.int64]) -> tuple[Rows, list[Refusal]]:
    """The careful path over SBE values; ``index`` (len(values),) says which value of the call each one is.

    Values that are whole messages with good headers are still taken together; only the others are walked.
    """
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    straight = np.flatnonzero(sizes % SIZE == 0)
    counts = sizes[straight] // SIZE
    data = b"".join([values[i] for i in straight.tolist()])
    owner = np.repeat(straight, counts)
    good_header = np.frombuffer(data, "<u8")[:: SIZE // 8] == HEADER
    walked = sizes % SIZE != 0
    walked[owner[~good_header]] = True
    keep = ~walked[owner]
    events = np.frombuffer(data, RAW)[keep].view(EVENT)
    rows = [Rows(events, index[owner[keep]], positions(counts)[keep])]
    pieces: list[bytes] = []
    places: list[tuple[int, int]] = []
    refused: list[Refusal] = []
    for i in np.flatnonzero(walked).tolist():
        _walk(values[i], int(index[i]), pieces, places, refused)
    where = np.array(places, np.int64).reshape(-1, 2)
    rows.append(Rows(np.frombuffer(b"".join(pieces), EVENT), where[:, 0], where[:, 1].astype(np.int32)))
    kept, broken = sift(merge(rows))
    return kept, refused + broken


def _walk(value: bytes, at: int, pieces: list[bytes], places: list[tuple[int, int]], refused: list[Refusal]) -> None:
    """Cut one value into messages by their own block lengths; what cannot be cut on is refused to its end."""
    position = item = 0
    while position < len(value):
        left = len(value) - position
        step = left
        fault: Fault | None
        if left < _HEADER.size:
            fault = Reason.truncated, f"{left} bytes are left at byte {position}; an SBE header has {_HEADER.size}"
        else:
            block, template, schema, version = _HEADER.unpack_from(value, position)
            fault, step = _frame(block, template, schema, version, left)
        piece = value[position : position + step]
        if fault is None:
            pieces.append(piece)
            places.append((at, item))
        else:
            refused.append(Refusal(*fault, at, item, piece, peek_server(piece)))
        position += step
        item += 1


def _frame(block: int, template: int, schema: int, version: int, left: int) -> tuple[Fault | None, int]:
    """What is wrong with a header (None: nothing), and how many bytes to go on by."""
    if (template, schema) != (_TEMPLATE, _SCHEMA):
        found, expected = f"schema {schema} template {template}", f"schema {_SCHEMA} template {_TEMPLATE}"
        return (Reason.wrong_schema, f"the message is of {found}; expected {expected}"), left
    whole = _HEADER.size + block
    if version != _VERSION:
        text = f"the message is of version {version}; this decoder knows version {_VERSION}"
        return (Reason.wrong_version, text), whole if _BLOCK <= block <= left - _HEADER.size else left
    if block != _BLOCK:
        return (Reason.wrong_schema, f"the block length is {block}; version {_VERSION} has {_BLOCK}"), left
    if left < whole:
        return (Reason.truncated, f"the message has {left} of {whole} bytes; publish whole messages"), left
    return None, whole


def sift(rows: Rows) -> tuple[Rows, list[Refusal]]:
    """Rows that keep the rules, and a refusal for each that does not."""
    if not len(rows.events):
        return rows, []
    bad = bad_rows(rows.events)
    if not bad.any():
        return rows, []
    refused = []
    for i in np.flatnonzero(bad).tolist():
        piece = rows.events[i : i + 1].tobytes()
        fault = explain_row(rows.events[i])
        refused.append(Refusal(*fault, int(rows.values[i]), int(rows.items[i]), piece, peek_server(piece)))
    good = ~bad
    return Rows(rows.events.view(RAW)[good].view(EVENT), rows.values[good], rows.items[good]), refused


def peek_server(value: bytes) -> str:
    """The server of the first message, or "" if it does not say so legibly."""
    start, width = int(_SERVER[1]), _SERVER[0].itemsize
    if len(value) < start + width or _HEADER.unpack_from(value)[1:3] != (_TEMPLATE, _SCHEMA):
        return ""
    text = value[start : start + width].rstrip(b"\0").decode("latin-1")
    return text if text.isascii() and text.isprintable() else ""
