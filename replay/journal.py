"""The desk's inputs as they were: which records it read, in which order it took them.

The desk writes that order to ``audit`` (kind ``inputs``: runs of offsets of one topic), at every tick when topics
interleave and every few seconds else. What a crash or the end of the recording left unwritten can only have come from
``verdicts``, or within one tick; there Kafka's timestamps stand in.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Struct

from replay.recorded import RecordedLog
from schemas.records import Ack, AuditRecord, Command, Verdict, decode, decode_verdict
from schemas.topics import ACKS, AUDIT, COMMANDS, VERDICTS

DESK_TOPICS: Final = (VERDICTS.name, ACKS.name, COMMANDS.name)

Place = tuple[str, int]
"""(topic, offset); each of these topics has one partition."""


class Run(Struct, frozen=True, array_like=True):
    """Inputs of one topic taken one after the other, as ``halts.desk`` writes them."""

    topic: str
    partition: int
    first: int
    last: int


class _Inputs(Struct, frozen=True):
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """One record of a topic with one partition."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes


class DeskLog:
    """All that the desk read and wrote, held in memory (about 1 KB a record)."""

    def __init__(self, log: RecordedLog) -> None:
        self.inputs = {topic: _kept(log, topic) for topic in DESK_TOPICS}
        self.audit = _kept(log, AUDIT.name)
        self._offsets = {topic: [kept.offset for kept in found] for topic, found in self.inputs.items()}
        self.runs = _runs(self.audit)

    def at(self, place: Place) -> Kept | None:
        """The record at an offset; None if it was not recorded (or has no value)."""
        topic, offset = place
        offsets = self._offsets[topic]
        i = bisect_left(offsets, offset)
        return self.inputs[topic][i] if i < len(offsets) and offsets[i] == offset else None

    def order_of(self, generation: int) -> Iterator[Place]:
        """Inputs of the desk of one generation in the order that it wrote down. What it took in again stands again."""
        for run in self.runs.get(generation, ()):
            for offset in range(run.first, run.last + 1):
                yield run.topic, offset

    def rest(self, reached: dict[str, int]) -> Iterator[Place]:
        """What comes after ``reached`` (topic -> next offset), by Kafka timestamp, topic and offset."""
        streams = (
            [
                (kept.timestamp_ms, rank, kept.offset, topic)
                for kept in self.inputs[topic][bisect_left(self._offsets[topic], reached[topic]) :]
            ]
            for rank, topic in enumerate(DESK_TOPICS)
        )
        for _, _, offset, topic in heapq.merge(*streams):
            yield topic, offset


def decode_input(topic: str, value: bytes) -> Verdict | Ack | Command | None:
    """The record as the desk got it; None for one that went to dead letters instead."""
    try:
        if topic == VERDICTS.name:
            return decode_verdict(value)
        return decode(value, Ack) if topic == ACKS.name else decode(value, Command)
    except msgspec.DecodeError:
        return None


def _kept(log: RecordedLog, topic: str) -> list[Kept]:
    records = log.records(topic)
    return [Kept(r.offset, r.timestamp_ms, r.key, r.value) for r in records if r.value is not None]


def _runs(audit: list[Kept]) -> dict[int, list[Run]]:
    """Generation -> runs. A desk that starts again may write a record of its chain again: it counts once."""
    found: dict[int, list[Run]] = {}
    seen: set[tuple[int, int]] = set()
    for kept in audit:
        try:
            record = decode(kept.value, AuditRecord)
            runs = msgspec.convert(record.body, _Inputs).runs if record.kind == "inputs" else ()
        except msgspec.ValidationError:
            continue
        if runs and (record.generation, record.n) not in seen:
            seen.add((record.generation, record.n))
            found.setdefault(record.generation, []).extend(run for run in runs if run.topic in DESK_TOPICS)
    return found
