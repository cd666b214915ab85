"""What stands on ``halts``: the truth that a desk which starts must not fall behind."""

from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from mode import get_logger

from halts.gate_state import GateState
from halts.gate_trust import Trust
from schemas.records import AuditRecord, HaltRecord, Heartbeat, decode
from schemas.topics import AUDIT, HALTS, topic_name
from streams.tail import reader, scan

logger = get_logger(__name__)

AUDIT_TAIL: Final = 100
"""Records at the end of ``audit`` that are looked at for the last good one."""


class HaltsLog:
    """What stands for each scope, and the highest generation of a desk that wrote anything: ``halts`` folded as the
    gates fold it, so that a desk never starts from a state that no gate is in.

    trust: whose word counts; None: everybody's.
    """

    def __init__(self, trust: Trust | None = None) -> None:
        self._state = GateState("-", fail_closed_after_ns=1, clock_skew_ns_max=0, trust=trust)

    @property
    def records(self) -> dict[str, HaltRecord]:
        """Scope -> the record that stands."""
        return self._state.records

    @property
    def generation(self) -> int:
        """Of the last desk that is believed."""
        return self._state.generation

    @property
    def undecodable(self) -> dict[str, str]:
        """Keys that close the gates until they are overwritten, and why."""
        return self._state.undecodable

    @property
    def beat(self) -> Heartbeat | None:
        """The last heartbeat."""
        return self._state.beat

    def feed(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Take one record, in offset order."""
        self._state.apply(offset, key, value, 0, 0)
        for refusal in self._state.take_refusals():
            logger.error("halts, offset %s, key %r: %s", offset, refusal.scope, refusal.reason)


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


async def read_halts(bootstrap: str, prefix: str, trust: Trust | None = None, **client: Any) -> HaltsLog:
    """All of ``halts`` from its beginning to its present end."""
    log = HaltsLog(trust)
    async with reader(bootstrap, **client) as consumer:
        tp = TopicPartition(topic_name(HALTS, prefix), 0)
        await scan(consumer, {tp: 0}, lambda _, record: log.feed(record.offset, record.key, record.value))
    return log
