"""What happened on the topics, for the demo's view and summary: halts, acks and the latest feature rows."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.records import Ack, FeatureRow, HaltRecord, decode, decode_verdict
from schemas.topics import ACKS, HALTS, HEARTBEAT_KEY, VERDICTS, topic_name

log = logging.getLogger(__name__)


@dataclass
class Seen:
    """Everything seen so far. Written by one thread, read by any."""

    halts: list[HaltRecord] = field(default_factory=list)
    """Records in the order in which they stand on ``halts``, repeats left out."""
    scopes: dict[str, HaltRecord] = field(default_factory=dict)
    acks: list[Ack] = field(default_factory=list)
    rows: dict[str, FeatureRow] = field(default_factory=dict)
    heartbeats: int = 0
    undecodable: int = 0

    def first_ack(self, scope: str, status: str) -> Ack | None:
        """The earliest ack of a scope with a status."""
        found = [a for a in self.acks if a.scope == scope and a.status == status]
        return min(found, key=lambda a: a.ts, default=None)


class Follower:
    """Follows halts, acks and verdicts of one prefix in a thread of its own, from their beginning."""

    def __init__(self, bootstrap: str, prefix: str = "", kafka: Mapping[str, Any] | None = None) -> None:
        self.seen = Seen()
        self._topics = {topic_name(t, prefix): t for t in (HALTS, ACKS, VERDICTS)}
        self._bootstrap, self._kafka = bootstrap, dict(kafka or {})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-follower", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._session()
            except KafkaError as error:
                log.warning("the view lost the broker (%s); trying again", error)
                self._stop.wait(0.5)

    def _session(self) -> None:
        consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap, fetch_max_wait_ms=50, enable_auto_commit=False, **self._kafka
        )
        try:
            parts = [TopicPartition(name, 0) for name in self._topics]
            consumer.assign(parts)
            consumer.seek_to_beginning(*parts)
            while not self._stop.is_set():
                for part, records in consumer.poll(timeout_ms=100, max_records=5_000).items():
                    for record in records:
                        self._take(part.topic, record.key, record.value)
        finally:
            consumer.close()

    def _take(self, name: str, key: bytes | None, value: bytes | None) -> None:
        topic = self._topics[name]
        if value is None:
            return
        try:
            if topic is VERDICTS:
                verdict = decode_verdict(value)
                if isinstance(verdict, FeatureRow):
                    self.seen.rows[verdict.server] = verdict
            elif topic is ACKS:
                self.seen.acks.append(decode(value, Ack))
            elif key == HEARTBEAT_KEY.encode():
                self.seen.heartbeats += 1
            else:
                self._halt(decode(value, HaltRecord))
        except msgspec.MsgspecError:
            self.seen.undecodable += 1

    def _halt(self, record: HaltRecord) -> None:
        before = self.seen.scopes.get(record.scope)
        if before is None or (record.generation, record.epoch) > (before.generation, before.epoch):
            self.seen.halts.append(record)
            self.seen.scopes[record.scope] = record


def wait_until(condition: Any, timeout_s: float, poll_s: float = 0.05) -> bool:
    """Wait for ``condition()``; returns whether it came true in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(poll_s)
    return True
