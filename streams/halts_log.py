"""What stands on ``halts``: the truth that a desk which starts must not fall behind."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from mode import get_logger

from schemas.records import AuditRecord, HaltRecord, Heartbeat, decode
from schemas.topics import AUDIT, HALTS, HEARTBEAT_KEY, topic_name
from streams.tail import reader, scan

logger = get_logger(__name__)

AUDIT_TAIL: Final = 100
"""Records at the end of ``audit`` that are looked at for the last good one."""


@dataclass
class HaltsLog:
    """The last record of each scope, and the highest generation of a desk that wrote anything."""

    records: dict[str, HaltRecord] = field(default_factory=dict)
    generation: int = 0
    undecodable: list[int] = field(default_factory=list)

    def feed(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Take one record. Of one scope the higher (generation, epoch) stands, as the gates have it."""
        name = (key or b"").decode(errors="replace")
        if value is None:
            return  # a tombstone opens nothing
        try:
            if name == HEARTBEAT_KEY:
                self.generation = max(self.generation, decode(value, Heartbeat).generation)
                return
            record = decode(value, HaltRecord)
        except msgspec.DecodeError as error:
            self.undecodable.append(offset)
            logger.error("halts, offset %s, key %r: %s. Gates are closed until it is overwritten.", offset, name, error)
            return
        self.generation = max(self.generation, record.generation)
        held = self.records.get(record.scope)
        if held is None or (record.generation, record.epoch) >= (held.generation, held.epoch):
            self.records[record.scope] = record


async def read_audit_tail(bootstrap: str, prefix: str, **client: Any) -> AuditRecord | None:
    """The last record on ``audit`` that decodes; None when there is none among the last ``AUDIT_TAIL``."""
    found: list[AuditRecord] = []

    def feed(record: Any) -> None:
        try:
            found[:] = [decode(record.value or b"", AuditRecord)]
        except msgspec.DecodeError as error:
            logger.error("audit, offset %s: %s", record.offset, error)

    async with reader(bootstrap, **client) as consumer:
        tp = TopicPartition(topic_name(AUDIT, prefix), 0)
        end = (await consumer.end_offsets([tp]))[tp]
        await scan(consumer, {tp: max(0, end - AUDIT_TAIL)}, lambda _, record: feed(record))
    return found[0] if found else None


async def read_halts(bootstrap: str, prefix: str, **client: Any) -> HaltsLog:
    """All of ``halts`` from its beginning to its present end."""
    log = HaltsLog()
    async with reader(bootstrap, **client) as consumer:
        tp = TopicPartition(topic_name(HALTS, prefix), 0)
        await scan(consumer, {tp: 0}, lambda _, record: log.feed(record.offset, record.key, record.value))
    return log
