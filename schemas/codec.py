"""Order events on the wire: JSON and SBE, mixed as they come, to columns and back.

``decode`` never raises for what stands in a value: every event is either in the batch or among the refusals.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas import codec_json, codec_sbe, json_scan
from schemas.codec_json import encode as encode_json
from schemas.codec_json import encode_each as encode_json_each
from schemas.codec_json import to_dicts
from schemas.codec_rules import Reason, Refusal
from schemas.codec_sbe import Rows, merge, positions
from schemas.codec_sbe import encode as encode_sbe
from schemas.codec_sbe import encode_each as encode_sbe_each
from schemas.events import Batch, empty_events
from schemas.records import DeadLetter

__all__ = [
    "CodecError", "Decoded", "Reason", "Refusal", "decode", "encode_json", "encode_json_each", "encode_sbe",
    "encode_sbe_each", "from_dicts", "from_dicts_tolerant", "peek_server", "to_dicts",
]  # fmt: skip

PAYLOAD_BYTES_MAX: Final = 4096
"""How much of a refused value goes to ``dead-letters``."""


class CodecError(ValueError):
    """An event that was to be written does not keep the rules; the message says which, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one call made of the values of one partition: accepted events, and a dead letter for each refused one,
    both in log order (offset, item)."""

    batch: Batch
    refused: list[DeadLetter]


def decode(
    topic: str, partition: int, values: Sequence[bytes | None], offsets: Sequence[int] | NDArray[np.int64]
) -> Decoded:
    """Consecutive values of one partition -> columns.

    values: n Kafka values, each one or more events as JSON or SBE. offsets: n, ascending (an int64 array saves 20 ns
    each). The events of the batch may be read-only: they are the bytes that came in. Cutting does not matter: what an
    event becomes depends on its own value alone.
    """
    if len(values) != len(offsets):
        raise ValueError(f"{len(values)} values came with {len(offsets)} offsets; expected one offset for each value")
    at = offsets if isinstance(offsets, np.ndarray) else np.fromiter(offsets, np.int64, len(offsets))
    head = values[0] if len(values) else None
    if head and head[0] == codec_sbe.FIRST_BYTE:
        whole = codec_sbe.decode_whole(values)
        if whole is not None:
            return _whole(topic, partition, values, at, *whole)
    rows, left = json_scan.scan(values)
    refused: list[Refusal] = []
    if len(left):
        careful, refused = _careful([values[i] for i in left.tolist()], left)
        rows = merge([rows, careful])
    batch = Batch(topic, partition, rows.events, at[rows.values], rows.items)
    return Decoded(batch, [_letter(refusal, topic, partition, at) for refusal in refused])


def _whole(
    topic: str,
    partition: int,
    values: Sequence[bytes | None],
    at: NDArray[np.int64],
    events: NDArray[Any],
    counts: NDArray[np.int64] | None,
) -> Decoded:
    """The fast path: every value is whole SBE messages of our schema."""
    if counts is None:
        where, items = np.arange(len(events)), np.zeros(len(events), np.int32)
        row_offsets = at
    else:
        where, items = np.repeat(np.arange(len(counts)), counts), positions(counts)
        row_offsets = at[where]
    rows, refused = codec_sbe.sift(Rows(events, where, items))
    if refused:
        row_offsets = at[rows.values]
    batch = Batch(topic, partition, rows.events, row_offsets, rows.items)
    return Decoded(batch, [_letter(refusal, topic, partition, at) for refusal in refused])


def _careful(values: Sequence[bytes | None], index: NDArray[np.int64]) -> tuple[Rows, list[Refusal]]:
    """Values of both encodings, and whatever else came along; ``index`` (n,) says which value of the call each one is."""
    sbe: list[int] = []
    json: list[int] = []
    refused: list[Refusal] = []
    for i, value in enumerate(values):
        if not value:
            found = "null" if value is None else "no bytes"
            refused.append(Refusal(Reason.empty, f"the value is {found}; expected one event or more", int(index[i])))
        elif value[0] == codec_sbe.FIRST_BYTE:
            sbe.append(i)
        else:
            json.append(i)
    parts = []
    for module, chosen in ((codec_sbe, sbe), (codec_json, json)):
        if chosen:
            rows, faults = module.decode([values[i] or b"" for i in chosen], index[chosen])
            parts.append(rows)
            refused += faults
    rows = merge(parts) if parts else Rows(empty_events(0), np.empty(0, np.int64), np.empty(0, np.int32))
    refused.sort(key=lambda refusal: (refusal.value, refusal.item))
    return rows, refused


def _letter(refusal: Refusal, topic: str, partition: int, at: NDArray[np.int64]) -> DeadLetter:
    return DeadLetter(
        reason=refusal.reason.value,
        detail=refusal.detail,
        topic=topic,
        partition=partition,
        offset=int(at[refusal.value]),
        item=refusal.item,
        payload=b64encode(refusal.payload[:PAYLOAD_BYTES_MAX]).decode("ascii"),
        key=refusal.key,
    )


def peek_server(value: bytes | None) -> str:
    """The server that a value seems to be about, "" if it does not say: the key of its dead letter."""
    if not value:
        return ""
    is_sbe = value[0] == codec_sbe.FIRST_BYTE
    return codec_sbe.peek_server(value) if is_sbe else codec_json.peek_server(value)


def from_dicts(dicts: Sequence[Mapping[str, Any]]) -> NDArray[Any]:
    """(n,) of EVENT from dicts with JSON's words (design section 3). CodecError names the first that breaks a rule."""
    events, refused = codec_json.from_dicts(dicts)
    if refused:
        first = refused[0]
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise CodecError(f"event {first.item} of {len(dicts)}: {first.reason.value}: {first.detail}{more}")
    return events


def from_dicts_tolerant(dicts: Sequence[Mapping[str, Any]]) -> tuple[NDArray[Any], list[Refusal]]:
    """As ``from_dicts``, but what breaks a rule comes back as refusals (``item``: its index in ``dicts``)."""
    return codec_json.from_dicts(dicts)
