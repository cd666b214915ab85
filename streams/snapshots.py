"""Storing engines' states in Kafka, and finding the newest one again.

docs/adr/0004-snapshots.md says why this is a topic read by hand and not a Faust table. The broker keeps, beside each
committed offset, where on ``snapshots`` the state that covers it begins; that is only a hint for where to look first.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import SNAPSHOTS, topic_name
from streams.outbox import Outbox, confirmed
from streams.snapshot_form import SLOTS, Collector, Snapshot, pack
from streams.tail import reader, scan


@dataclass(frozen=True, slots=True)
class Place:
    """Where the snapshots of an engine stand. ``hint``: offset from which a whole one can be found, None if unknown."""

    partition: int
    hint: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A snapshot that is durable. ``hint``: for ``Place``. ``bytes``: what it took on the topic."""

    hint: int
    bytes: int


class SnapshotWriter:
    """Writes the snapshots of one engine into ``partition``, in alternate slots."""

    def __init__(self, outbox: Outbox, partition: int, slot: int = 0) -> None:
        self._outbox = outbox
        self._partition = partition
        self._slot = slot

    async def store(self, snapshot: Snapshot) -> Stored:
        """Returns when every replica has it. Raises what the producer raises; the one before is then still whole."""
        loop = asyncio.get_running_loop()
        records = await loop.run_in_executor(None, pack, snapshot, self._slot, time.time_ns())
        sent = [await self._outbox.send(SNAPSHOTS, key, value, self._partition) for key, value in records]
        await confirmed(sent)
        self._slot = (self._slot + 1) % SLOTS
        return Stored(sent[0].result().offset, sum(len(value) for _, value in records))


async def load(bootstrap: str, prefix: str, wanted: Mapping[str, Place], **client: Any) -> dict[str, Collector]:
    """The newest whole snapshot of each engine in ``wanted`` (``Collector.best``, None when there is none)."""
    collectors = {name: Collector(name) for name in wanted}
    if not wanted:
        return collectors
    async with reader(bootstrap, **client) as consumer:
        await _look(consumer, prefix, wanted, collectors)
        lost = {name for name, place in wanted.items() if place.hint and collectors[name].best is None}
        missing = {name: Place(wanted[name].partition) for name in lost}
        await _look(consumer, prefix, missing, collectors)
    return collectors


async def _look(
    consumer: AIOKafkaConsumer, prefix: str, wanted: Mapping[str, Place], collectors: Mapping[str, Collector]
) -> None:
    """Feed the collectors from the hints to the present end."""
    readers: dict[TopicPartition, list[Collector]] = {}
    start: dict[TopicPartition, int] = {}
    for name, place in wanted.items():
        tp = TopicPartition(topic_name(SNAPSHOTS, prefix), place.partition)
        readers.setdefault(tp, []).append(collectors[name])
        hint = place.hint or 0
        start[tp] = min(start.get(tp, hint), hint)

    def feed(tp: TopicPartition, record: Any) -> None:
        for collector in readers[tp]:
            collector.feed(record.key, record.value)

    await scan(consumer, start, feed)


def engine_name(topic: str, partition: int) -> str:
    """Name under which the engine of an input partition keeps its snapshots: ``orderflow/3``."""
    return f"{topic}/{partition}"


def hint_of(note: str) -> int | None:
    """The hint in the note of a commit; None when there is none (the topic is then read from its beginning)."""
    return int(note) if note.isdigit() else None


def oldest_hint(notes: Iterable[str]) -> int | None:
    """Of an engine with several inputs: the hint that lies before all others."""
    hints = [hint_of(note) for note in notes]
    return min((hint for hint in hints if hint is not None), default=None) if None not in hints else None
