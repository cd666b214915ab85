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

from halts.gate_state import GateState
from schemas.records import Ack, FeatureRow, HaltRecord, decode, decode_verdict
from schemas.scopes import CANARY, CANARY_SERVER
from schemas.topics import ACKS, HALTS, VERDICTS, topic_name

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
        self._state = GateState("-", fail_closed_after_ns=1, clock_skew_ns_max=0)
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
                        self._take(part.topic, record.offset, record.key, record.value)
        finally:
            consumer.close()

    def _take(self, name: str, offset: int, key: bytes | None, value: bytes | None) -> None:
        topic = self._topics[name]
        if topic is HALTS:
            self._halt(offset, key, value)
            return
        if value is None:
            return
        try:
            if topic is VERDICTS:
                verdict = decode_verdict(value)
                if isinstance(verdict, FeatureRow):
                    self.seen.rows[verdict.server] = verdict
            else:
                ack = decode(value, Ack)
                if ack.server != CANARY_SERVER:
                    self.seen.acks.append(ack)
        except msgspec.MsgspecError:
            self.seen.undecodable += 1

    def _halt(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """As the gates take it, so that the view never shows a state that no gate is in."""
        bad = self._state.counters.undecodable
        record = self._state.apply(offset, key, value, 0, 0)
        self.seen.heartbeats = self._state.counters.heartbeats
        self.seen.undecodable += self._state.counters.undecodable - bad
        if record is not None and record.scope != CANARY:
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
