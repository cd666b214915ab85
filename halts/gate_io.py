"""The gate's only contact with Kafka: reads ``halts`` without a consumer group, writes ``acks`` until delivered.

kafka-python >= 3.0.12. Timeouts are short: this is the kill path, and a gate that waits is a gate that does not know.
"""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.partitioner.default import murmur2

from schemas.records import Ack, encode
from schemas.topics import ACKS, HALTS, topic_name
from schemas.units import MS_NS

log = logging.getLogger(__name__)

BOOTSTRAP_MS: Final = 2_000
REQUEST_MS: Final = 1_000
FETCH_WAIT_MS: Final = 250
"""The broker answers a fetch at once when there is a record; this is only how long it holds an empty one."""
SEND_BLOCK_MS: Final = 200
DELIVERY_MS: Final = 2_000
RESEND_NS: Final = 500 * MS_NS
OUTBOX_MAX: Final = 10_000
RENEW_EVERY: Final = 3
"""Failures of delivery after which the producer is made anew."""

COMMON: Final[dict[str, Any]] = {
    "request_timeout_ms": REQUEST_MS,
    "bootstrap_timeout_ms": BOOTSTRAP_MS,
    "reconnect_backoff_ms": 50,
    "reconnect_backoff_max_ms": 1_000,
    "retry_backoff_ms": 50,
    "metadata_max_age_ms": 30_000,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}


def partition_of(server: str, partitions: int) -> int:
    """Where the flow of ``server`` goes: Kafka's default partitioner, by key."""
    return int((murmur2(server.encode()) & 0x7FFFFFFF) % partitions)


@dataclass(frozen=True, slots=True)
class Raw:
    """One record of ``halts`` as it came."""

    offset: int
    key: bytes | None
    value: bytes | None


class Link:
    """One connection of a gate: ``halts`` partition 0 in, ``acks`` out. Raises KafkaError when there is no broker."""

    def __init__(self, bootstrap: str, *, prefix: str, server: str, kafka: Mapping[str, Any]) -> None:
        config = {
            **COMMON,
            "bootstrap_servers": bootstrap.split(","),
            "client_id": f"knightwatch-gate-{server}",
            **kafka,
        }
        self._halts = TopicPartition(topic_name(HALTS, prefix), 0)
        self._acks = topic_name(ACKS, prefix)
        self._consumer = KafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            **config,
        )
        self._producer_config = {
            **config,
            "acks": "all",
            "linger_ms": 0,
            "max_block_ms": SEND_BLOCK_MS,
            "delivery_timeout_ms": DELIVERY_MS,
        }
        try:
            self._consumer.assign([self._halts])
            self._producer = KafkaProducer(**self._producer_config)
        except BaseException:
            self._consumer.close(autocommit=False, timeout_ms=0)
            raise

    def bounds(self) -> tuple[int, int]:
        """First offset of ``halts`` and the one after its last, asked of the broker now."""
        begin = self._consumer.beginning_offsets([self._halts], timeout_ms=REQUEST_MS)[self._halts]
        return begin, self._consumer.end_offsets([self._halts], timeout_ms=REQUEST_MS)[self._halts]

    def seek(self, offset: int) -> None:
        """Read on from ``offset``."""
        self._consumer.seek(self._halts, offset)

    def prime(self) -> None:
        """Fetch what is needed to send, so that the first ack does not wait for it."""
        try:
            self._producer.partitions_for(self._acks)
        except KafkaError as e:
            log.warning("topic %s cannot be written (%s): halts will block, but nobody will be told", self._acks, e)

    def poll(self, timeout_ms: int) -> list[Raw]:
        """What stands next on ``halts``; returns as soon as there is something."""
        found = self._consumer.poll(timeout_ms=timeout_ms)
        return [Raw(r.offset, r.key, r.value) for records in found.values() for r in records]

    def send(self, ack: Ack) -> Any:
        """Hand an ack to the client; returns its future. KafkaError when it cannot even be queued."""
        return self._producer.send(self._acks, key=ack.server.encode(), value=encode(ack), partition=0)

    def renew_producer(self) -> None:
        """An idempotent producer that has lost a batch may never send again; a new one does."""
        self._close_producer(SEND_BLOCK_MS / 1000)
        self._producer = KafkaProducer(**self._producer_config)

    def close(self) -> None:
        """Give up both clients within a few seconds, whatever the broker does."""
        try:
            self._close_producer(DELIVERY_MS / 1000 + 0.5)
        finally:
            self._consumer.close(autocommit=False, timeout_ms=REQUEST_MS)

    def _close_producer(self, timeout_s: float) -> None:
        """kafka-python flushes first, and gives up closing when the flush times out; a batch lives ``DELIVERY_MS``."""
        try:
            self._producer.close(timeout=timeout_s)
        except KafkaError as e:
            log.warning("acks in the client's buffer were not delivered (%s); the outbox still has them", e)


@dataclass(slots=True)
class _Item:
    ack: Ack
    future: Any = None


class Outbox:
    """Acks in order, each kept until the broker has it; outlives a ``Link``. After a failure everything from the failed
    one on is sent again: an ack may arrive twice, never out of order for good."""

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._retry_ns = 0
        self.sent = 0
        self.failures = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, ack: Ack) -> None:
        """Queue; the oldest is dropped, and logged, when a broker has been away for ``OUTBOX_MAX`` acks."""
        if len(self._items) >= OUTBOX_MAX:
            log.error("outbox full (%d): dropped the ack %s", OUTBOX_MAX, self._items.popleft().ack)
            self.failures += 1
        self._items.append(_Item(ack))

    def unsent(self) -> None:
        """The link is gone: nothing that was not confirmed counts as sent."""
        for item in self._items:
            item.future = None

    def pump(self, link: Link, mono_ns: int) -> None:
        """Send what is due, drop what the broker has."""
        while self._items and self._items[0].future is not None and self._items[0].future.is_done:
            if self._items[0].future.failed():
                self._failed(mono_ns, self._items[0].future.exception)
                if self.failures % RENEW_EVERY == 0:
                    link.renew_producer()
                break
            self._items.popleft()
            self.sent += 1
        if mono_ns < self._retry_ns:
            return
        for item in self._items:
            if item.future is None:
                try:
                    item.future = link.send(item.ack)
                except KafkaError as e:
                    self._failed(mono_ns, e)
                    return

    def _failed(self, mono_ns: int, error: object) -> None:
        log.error("ack not delivered, will be sent again: %s (%s)", self._items[0].ack, error)
        self.failures += 1
        self._retry_ns = mono_ns + RESEND_NS
        self.unsent()
