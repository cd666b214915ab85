"""Order flow to Kafka: kafka-python, idempotent, many events per value where the rate is high."""

import logging
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from msgspec import Struct
from numpy.typing import NDArray

from schemas import records
from schemas.codec import encode_json, encode_sbe
from schemas.topics import DECLARED, NODES, ORDERFLOW, Topic, topic_name

log = logging.getLogger(__name__)

Codec = Literal["sbe", "json"]
EVENTS_PER_VALUE: Final = {"sbe": 2_000, "json": 500}
"""At most so many events in one value: below a third of Kafka's default record limit of 1 MB."""
BACKLOG_MAX: Final = 20_000
"""Values kept while the broker is away; beyond that the oldest is dropped and counted."""
METADATA_S_MAX: Final = 5.0
"""How long the constructor waits for the topics' metadata."""
BLOCK_MS_MAX: Final = 50
"""Longest time that a send may hold the router up (metadata missing or buffers full)."""


class Publisher:
    """Publishes one process' order flow.

    One value holds the consecutive events of one server in a call, so that the partition (by key, Kafka's default
    murmur2) keeps each server's order. codec: of order events. linger_ms: how long kafka-python may wait to fill a
    batch. one_per_value: never pack events (for benchmarks). kafka: further options (security and the like).

    A broker that is away never blocks a router: values wait in a bounded backlog, in order; ``unsent``, ``failed`` and
    ``dropped`` say how many. ``KafkaError`` is raised only by the constructor, when no broker answers at all.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        codec: Codec = "sbe",
        linger_ms: int = 0,
        one_per_value: bool = False,
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        self._encode = encode_sbe if codec == "sbe" else encode_json
        self._step = 1 if one_per_value else EVENTS_PER_VALUE[codec]
        self._prefix = prefix
        options: dict[str, Any] = {
            "acks": "all", "enable_idempotence": True, "compression_type": "lz4", "linger_ms": linger_ms,
            "max_block_ms": BLOCK_MS_MAX, "batch_size": 262_144, "client_id": "knightwatch-publisher",
        }  # fmt: skip
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, **{**options, **dict(kafka or {})})
        self._learn((ORDERFLOW, NODES, DECLARED))
        self._backlog: deque[tuple[str, bytes, bytes]] = deque()
        self.events = 0
        self.values = 0
        self.failed = 0
        self.dropped = 0
        self._away = False

    def _learn(self, topics: tuple[Topic, ...]) -> None:
        """Fetch metadata now, or the first events would wait for it. A broker that is not there yet costs nothing
        later: values wait in the backlog."""
        end = time.monotonic() + METADATA_S_MAX
        for topic in topics:
            while time.monotonic() < end:
                try:
                    self._producer.partitions_for(topic_name(topic, self._prefix))
                    break
                except KafkaTimeoutError:
                    continue

    @property
    def unsent(self) -> int:
        """Values that wait for the broker."""
        return len(self._backlog)

    def publish(self, events: NDArray[Any]) -> None:
        """Order events (n,) EVENT of any servers, each server's in its own order."""
        if not len(events):
            return
        names = events["server"]
        same = bool((names == names[0]).all())
        for name in [names[0]] if same else np.unique(names):
            mine = events if same else events[names == name]
            for start in range(0, len(mine), self._step):
                part = mine[start : start + self._step]
                self._put(ORDERFLOW, bytes(name), self._encode(part))
        self.events += len(events)
        self._pump()

    def control(self, record: records.NodeState | records.Declared) -> None:
        """A ``nodes`` or ``declared`` record."""
        topic = NODES if isinstance(record, records.NodeState) else DECLARED
        self.record(topic, record.server, record)

    def record(self, topic: Topic, key: str, record: Struct) -> None:
        """Any other record."""
        self._put(topic, key.encode(), records.encode(record))
        self._pump()

    def flush(self, timeout_s: float = 10.0) -> None:
        """Wait until everything is on the broker; KafkaTimeoutError when it is not within ``timeout_s``."""
        self._pump()
        self._producer.flush(timeout=timeout_s)
        if self._backlog:
            raise KafkaTimeoutError(f"{len(self._backlog)} values are still unsent; is the broker there?")

    def close(self) -> None:
        """Send what can be sent within a second, and stop."""
        self._pump()
        self._producer.close(timeout=1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _put(self, topic: Topic, key: bytes, value: bytes) -> None:
        if len(self._backlog) >= BACKLOG_MAX:
            self._backlog.popleft()
            self.dropped += 1
        self._backlog.append((topic_name(topic, self._prefix), key, value))

    def _pump(self) -> None:
        """Hand the backlog to the client, oldest first, until it refuses."""
        while self._backlog:
            topic, key, value = self._backlog[0]
            try:
                self._producer.send(topic, key=key, value=value).add_errback(self._lost)
            except (KafkaTimeoutError, BufferError) as error:
                if not self._away:
                    log.warning("the broker takes nothing (%s); %d values wait, trying on", error, len(self._backlog))
                self._away = True
                return
            self._backlog.popleft()
            self.values += 1
            self._away = False

    def _lost(self, error: KafkaError) -> None:
        self.failed += 1
        log.error("a value could not be delivered: %s: %s", type(error).__name__, error)
