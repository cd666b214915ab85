"""The desks of a recorded day: which generation wrote what, and what stood there when the next one took over."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import msgspec
from msgspec import Struct

from replay.journal import DESK_TOPICS, DeskLog, Kept, Place, decode_input
from replay.recorded import RecordedLog
from schemas.records import AuditRecord, HaltRecord, Heartbeat, Tick, decode
from schemas.topics import AUDIT, HALTS, HEARTBEAT_KEY, VERDICTS

T = TypeVar("T", HaltRecord, Heartbeat, AuditRecord)


class _Head(Struct):
    """What says which desk wrote a record."""

    generation: int = 0
    type: str = ""
    seq: int = -1


_head = msgspec.json.Decoder(_Head)


class _Cause(Struct):
    """The body of an audit record, as far as it says which input it follows from: topic, partition, offset."""

    input: tuple[str, int, int] = ("", 0, -1)


@dataclass
class Written:
    """What one generation wrote, in order: topic -> records."""

    records: dict[str, list[Kept]] = field(default_factory=lambda: {HALTS.name: [], AUDIT.name: []})
    first_beat: int = -1


@dataclass(frozen=True, slots=True)
class Life:
    """One desk of the day. first_beat: beats that the state it began with had seen (-1: it never beat). beats: (seq, ts
    ns) of its heartbeats. halts: (scope, state) of its halts. traces: inputs from which something followed that it
    published. direct: what people had written on ``halts`` without a desk before it began."""

    generation: int
    first_beat: int
    beats: tuple[tuple[int, int], ...]
    halts: tuple[tuple[str, str], ...]
    traces: frozenset[Place]
    direct: tuple[Kept, ...]


def lives(log: DeskLog, halts: Iterable[Kept]) -> list[Life]:
    """The desks in the order of their generations. halts: the records of that topic. Where no desk wrote anything (its
    topics were not recorded), one that counts the newest ticks."""
    halts = list(halts)
    written, _ = by_generation(halts, log.audit)
    ticks = _tick_places(log)
    found = []
    for generation, own in sorted(written.items()):
        said = own.records[HALTS.name]
        beats = [beat for k in said if _is_beat(k) and (beat := _decoded(k.value, Heartbeat)) is not None]
        records = [record for k in said if not _is_beat(k) and (record := _decoded(k.value, HaltRecord)) is not None]
        begun = said[0].offset if said else -1
        traces = {ticks[generation, beat.ts] for beat in beats if (generation, beat.ts) in ticks}
        traces |= {place for kept in own.records[AUDIT.name] if (place := _cause_of(kept)) is not None}
        found.append(
            Life(
                generation,
                own.first_beat,
                tuple((beat.seq, beat.ts) for beat in beats),
                tuple((record.scope, record.state) for record in records),
                frozenset(traces),
                tuple(k for k in halts if k.offset < begun and not _is_beat(k) and _is_direct(k.value)),
            )
        )
    newest_tick = max((generation for generation, _ in ticks), default=0)
    return found or [Life(newest_tick, -1, (), (), frozenset(), ())]


def halts_of(log: RecordedLog) -> list[Kept]:
    """All that stands on ``halts``."""
    return [Kept(r.offset, r.timestamp_ms, r.key, r.value) for r in log.records(HALTS.name) if r.value is not None]


def by_generation(halts: list[Kept], audit: list[Kept]) -> tuple[dict[int, Written], int]:
    """What each generation wrote; how many halts no desk wrote."""
    found: dict[int, Written] = {}
    direct = 0
    for topic, kept in chain(((HALTS.name, k) for k in halts), ((AUDIT.name, k) for k in audit)):
        try:
            head = _head.decode(kept.value)
        except msgspec.DecodeError:
            continue
        if topic == HALTS.name and not _is_beat(kept) and _is_direct(kept.value):
            direct += 1
            continue
        written = found.setdefault(head.generation, Written())
        written.records[topic].append(kept)
        if head.type == "heartbeat" and written.first_beat < 0:
            written.first_beat = head.seq
    return found, direct


def standing(halts: Iterable[Kept], end: int) -> list[HaltRecord]:
    """The last record of each scope before an offset, as a desk that starts reads it."""
    return newest(
        record
        for kept in halts
        if kept.offset < end and not _is_beat(kept) and (record := _decoded(kept.value, HaltRecord)) is not None
    )


def newest(records: Iterable[HaltRecord]) -> list[HaltRecord]:
    """The newest of each scope."""
    found: dict[str, HaltRecord] = {}
    for record in records:
        held = found.get(record.scope)
        if held is None or (record.generation, record.epoch) >= (held.generation, held.epoch):
            found[record.scope] = record
    return list(found.values())


def last_audit(audit: list[Kept]) -> AuditRecord | None:
    """The last record of the chain."""
    return next((record for k in reversed(audit) if (record := _decoded(k.value, AuditRecord)) is not None), None)


def _is_beat(kept: Kept) -> bool:
    return kept.key == HEARTBEAT_KEY.encode()


def _decoded(value: bytes, kind: type[T]) -> T | None:
    try:
        return decode(value, kind)
    except msgspec.DecodeError:
        return None


def _is_direct(value: bytes) -> bool:
    record = _decoded(value, HaltRecord)
    return record is not None and any(cause.evidence.get("direct") for cause in record.cause)


def _tick_places(log: DeskLog) -> dict[tuple[int, int], Place]:
    """(generation, ts) of each tick -> where it stands."""
    found = {}
    for kept in log.inputs[VERDICTS.name]:
        record = decode_input(VERDICTS.name, kept.value)
        if isinstance(record, Tick):
            found[record.generation, record.ts] = (VERDICTS.name, kept.offset)
    return found


def _cause_of(kept: Kept) -> Place | None:
    try:
        record = decode(kept.value, AuditRecord)
        topic, _, offset = msgspec.convert(record.body, _Cause).input
    except msgspec.DecodeError:
        return None
    return (topic, offset) if topic in DESK_TOPICS else None
