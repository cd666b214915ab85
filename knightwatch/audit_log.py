"""``audit`` and what stands beside it, read from Kafka once, from beginning to end."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from halts.audit import Chain
from halts.config import Config
from halts.evidence import Line
from halts.gate_io import COMMON
from knightwatch.config import kafka_options
from knightwatch.desk_client import DeskError
from schemas.records import Declared, Heartbeat, NodeState, decode
from schemas.topics import AUDIT, DECLARED, HALTS, HEARTBEAT_KEY, NODES, Topic, topic_name

READ_S: Final = 120.0
"""Longest without a record before reading is given up."""


@dataclass(frozen=True, slots=True)
class AuditLog:
    """What was read. ``begin``: first offset that the broker still has (0: nothing was deleted)."""

    begin: int
    lines: list[Line]
    beat: Heartbeat | None
    builds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def start(self) -> Chain | None:
        """Where the chain must start, if its beginning is there."""
        return Chain() if self.begin == 0 else None

    @property
    def head(self) -> Chain | None:
        """What the last heartbeat said of the chain."""
        return Chain(self.beat.audit_n, self.beat.audit_head) if self.beat is not None else None


def read_audit(config: Config, builds: bool = False) -> AuditLog:
    """All of ``audit``, and the last heartbeat on ``halts`` (read first, so that what it names must be there). builds:
    also what each node and the release process last said. Raises DeskError."""
    try:
        consumer = KafkaConsumer(
            **{**COMMON, **kafka_options(config)},
            bootstrap_servers=config.kafka.bootstrap.split(","), group_id=None, enable_auto_commit=False,
            client_id="knightwatch-audit", fetch_max_wait_ms=100,
        )  # fmt: skip
    except KafkaError as error:
        raise DeskError(f"no Kafka broker answers at {config.kafka.bootstrap} ({error}); check --bootstrap") from error
    try:
        prefix = config.kafka.prefix
        beat = _last_beat(consumer, topic_name(HALTS, prefix))
        _, begin, records = _read(consumer, AUDIT, prefix)
        lines = [Line(r.offset, r.timestamp, r.value) for r in records if r.value is not None]
        return AuditLog(begin, lines, beat, _builds(consumer, prefix) if builds else [])
    finally:
        consumer.close(autocommit=False, timeout_ms=1_000)


def _last_beat(consumer: KafkaConsumer, name: str) -> Heartbeat | None:
    last = None
    for record in _records(consumer, [TopicPartition(name, 0)])[1]:
        if record.key == HEARTBEAT_KEY.encode() and record.value is not None:
            try:
                last = decode(record.value, Heartbeat)
            except msgspec.DecodeError:
                continue  # the gates are closed over it; 'knightwatch status' says so
    return last


def _read(consumer: KafkaConsumer, topic: Topic, prefix: str) -> tuple[str, int, Iterator[Any]]:
    name = topic_name(topic, prefix)
    if not consumer.partitions_for_topic(name):
        raise DeskError(f"topic {name!r} does not exist; check --prefix, or make it with 'knightwatch topics'")
    begin, records = _records(consumer, [TopicPartition(name, 0)])
    return name, begin, records


def _records(consumer: KafkaConsumer, places: list[TopicPartition]) -> tuple[int, Iterator[Any]]:
    """First offset (least over the partitions), and the records up to the present end."""
    begin, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
    consumer.assign(places)
    for place in places:
        consumer.seek(place, begin[place])

    def rest() -> Iterator[Any]:
        deadline = time.monotonic() + READ_S
        while any(consumer.position(p) < end[p] for p in places):
            for place, records in consumer.poll(timeout_ms=200).items():
                deadline = time.monotonic() + READ_S
                yield from (r for r in records if r.offset < end[place])
            if time.monotonic() > deadline:
                raise DeskError(f"{places[0].topic}: nothing more came within {READ_S:g} s; is the broker well?")

    return min(begin.values(), default=0), rest()


def _builds(consumer: KafkaConsumer, prefix: str) -> list[dict[str, Any]]:
    """The last record of every node on ``nodes`` and ``declared``."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for topic, kind in ((NODES, NodeState), (DECLARED, Declared)):
        name = topic_name(topic, prefix)
        places = [TopicPartition(name, p) for p in sorted(consumer.partitions_for_topic(name) or ())]
        if not places:
            continue
        for record in _records(consumer, places)[1]:
            try:
                said = msgspec.to_builtins(decode(record.value or b"", kind))
            except msgspec.DecodeError:
                continue
            found[(said["server"], topic.name)] = {"from": topic.name, **said}
    return [found[key] for key in sorted(found)]
