"""Order flow to Kafka: kafka-python, idempotent, many events per value where the rate is high."""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError
from msgspec import Struct
from numpy.typing import NDArray

from schemas import records
from schemas.codec import encode_json, encode_sbe
from schemas.events import join_rows, take
from schemas.topics import DECLARED, NODES, ORDERFLOW, Topic, topic_name

log = logging.getLogger(__name__)

Codec = Literal["sbe", "json"]
EVENTS_PER_VALUE: Final = {"sbe": 2_000, "json": 500}
"""At most so many events in one value: below a third of Kafka's default record limit of 1 MB."""
BACKLOG_MAX: Final = 20_000
"""Values kept while the broker is away; beyond that the oldest is dropped and counted."""
METADATA_S_MAX: Final = 5.0
"""How long the constructor waits for the topics' metadata."""
LINGER_MS: Final = 5.0
"""How long events may wait for others to share a value with, where the rate is high."""
AT_ONCE_PER_S: Final = 1_000.0
"""Values a second that cost too little (some 60 us each) to let events wait for company."""
BURST_S: Final = 0.02
HELD_EVENTS_MAX: Final = 16_000
"""So many do not wait any longer."""
BLOCK_MS_MAX: Final = 50
"""Longest time that a send may hold the router up (metadata missing or buffers full)."""


class Publisher:
    """Publishes one process' order flow. Any thread may call.

    One value holds consecutive events of one server, so that the partition (by key, Kafka's default murmur2) keeps each
    server's order. codec: of order events. at_once_per_s: up to so many values a second (and 20 ms of it in a burst) go
    with the call; beyond that, events wait for company until the first of them is ``linger_ms`` old, and share values.
    linger_ms 0: each call sends its own. one_per_value: never pack events (for benchmarks). kafka: further options
    (security and the like).

    A broker that is away never blocks a router: values wait in a bounded backlog, in order; ``unsent``, ``failed`` and
    ``dropped`` say how many. ``KafkaError`` is raised only by the constructor, when no broker answers at all.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        codec: Codec = "sbe",
        linger_ms: float = LINGER_MS,
        at_once_per_s: float = AT_ONCE_PER_S,
        one_per_value: bool = False,
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        self._encode = encode_sbe if codec == "sbe" else encode_json
        self._step = 1 if one_per_value else EVENTS_PER_VALUE[codec]
        self._prefix = prefix
        options: dict[str, Any] = {
            "acks": "all", "enable_idempotence": True, "compression_type": "lz4", "linger_ms": 0,
            "max_block_ms": BLOCK_MS_MAX, "batch_size": 262_144, "client_id": "knightwatch-publisher",
        }  # fmt: skip
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, **{**options, **dict(kafka or {})})
        self._learn((ORDERFLOW, NODES, DECLARED))
        self._backlog: deque[tuple[str, bytes, bytes, int]] = deque()
        """Topic, key, value, and how many order events are in it."""
        self.events = 0
        self.values = 0
        self.failed = 0
        self.dropped = 0
        self.errors: dict[tuple[str, str], int] = {}
        """Order events lost, by server and reason: ``dropped`` (the backlog was full), ``refused`` (by the client)."""
        self._away = False
        self._linger_s = 0.0 if one_per_value else linger_ms / 1_000
        self._at_once_per_s = at_once_per_s
        self._burst = self._allowance = max(1.0, at_once_per_s * BURST_S)
        """Values that may go at once; below zero after many (a token bucket)."""
        self._allowed_s = time.monotonic()
        self._changed = threading.Condition()
        self._held: list[NDArray[Any]] = []
        self._held_events = 0
        self._due_s = 0.0
        """When what is held must go."""
        self._closed = False
        self._timer: threading.Thread | None = None

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
                except TopicAuthorizationFailedError:
                    break  # a router may not write what the release process does, and does not

    @property
    def unsent(self) -> int:
        """Values that wait for the broker."""
        return len(self._backlog)

    def publish(self, events: NDArray[Any]) -> None:
        """Order events (n,) EVENT of any servers, each server's in its own order."""
        if not len(events):
            return
        with self._changed:
            now_s = time.monotonic()
            self.events += len(events)
            at_once = not self._held and (not self._linger_s or self._may_go(now_s))
            self._held.append(events if at_once else events.copy())
            self._held_events += len(events)
            if at_once or self._held_events >= HELD_EVENTS_MAX:
                self._send_held()
                self._pump()
            elif len(self._held) == 1:
                self._due_s = now_s + self._linger_s
                self._watch()
            elif now_s >= self._due_s:
                self._send_held()
                self._pump()

    def _may_go(self, now_s: float) -> bool:
        grown = self._allowance + (now_s - self._allowed_s) * self._at_once_per_s
        self._allowance, self._allowed_s = min(self._burst, grown), now_s
        return self._allowance >= 1.0

    def _watch(self) -> None:
        """Somebody must send what is held when no further call comes."""
        if self._timer is None:
            self._timer = threading.Thread(target=self._send_when_due, name="publisher-linger", daemon=True)
            self._timer.start()
        self._changed.notify()

    def _send_when_due(self) -> None:
        with self._changed:
            while not self._closed:
                left_s = self._due_s - time.monotonic()
                if not self._held:
                    self._changed.wait()
                elif left_s > 0:
                    self._changed.wait(left_s)
                else:
                    self._send_held()
                    self._pump()

    def _send_held(self) -> None:
        """What is held becomes values, a server's events together."""
        if not self._held:
            return
        events = self._held[0] if len(self._held) == 1 else join_rows(self._held)
        self._held, self._held_events = [], 0
        for name, mine in by_server(events):
            for start in range(0, len(mine), self._step):
                self._allowance = max(-self._burst, self._allowance - 1.0)
                part = mine[start : start + self._step]
                self._put(ORDERFLOW, name, self._encode(part), len(part))

    def control(self, record: records.NodeState | records.Declared) -> None:
        """A ``nodes`` or ``declared`` record."""
        topic = NODES if isinstance(record, records.NodeState) else DECLARED
        self.record(topic, record.server, record)

    def record(self, topic: Topic, key: str, record: Struct) -> None:
        """Any other record."""
        with self._changed:
            self._put(topic, key.encode(), records.encode(record))
            self._pump()

    def flush(self, timeout_s: float = 10.0) -> None:
        """Wait until everything is on the broker; KafkaTimeoutError when it is not within ``timeout_s``."""
        self._send_all()
        self._producer.flush(timeout=timeout_s)
        if self._backlog:
            raise KafkaTimeoutError(f"{len(self._backlog)} values are still unsent; is the broker there?")

    def close(self) -> None:
        """Send what can be sent within a second, and stop. What a broker that is away did not take is lost, and said."""
        self._send_all()
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._timer is not None:
            self._timer.join(1.0)
        try:
            self._producer.close(timeout=1.0)
        except KafkaTimeoutError:  # kafka-python then leaves its thread behind, sending on
            log.warning("closed before the broker had taken everything; what it had not is lost")
            self._producer._sender.force_close()

    def _send_all(self) -> None:
        with self._changed:
            self._send_held()
            self._pump()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def waiting(self) -> dict[str, int]:
        """Order events that are not yet handed to the client, by server."""
        found: dict[str, int] = {}
        with self._changed:
            for _, key, _, events in self._backlog:
                found[key.decode()] = found.get(key.decode(), 0) + events
            for part in self._held:
                for name, mine in by_server(part):
                    found[name.decode()] = found.get(name.decode(), 0) + len(mine)
        return found

    def _put(self, topic: Topic, key: bytes, value: bytes, events: int = 0) -> None:
        if len(self._backlog) >= BACKLOG_MAX:
            _, oldest, _, lost = self._backlog.popleft()
            self.dropped += 1
            self._count("dropped", oldest, lost)
        self._backlog.append((topic_name(topic, self._prefix), key, value, events))

    def _count(self, reason: str, key: bytes, events: int) -> None:
        if events:
            self.errors[key.decode(), reason] = self.errors.get((key.decode(), reason), 0) + events

    def _pump(self) -> None:
        """Hand the backlog to the client, oldest first, until it refuses."""
        while self._backlog:
            topic, key, value, events = self._backlog[0]
            try:
                self._producer.send(topic, key=key, value=value).add_errback(partial(self._lost, key, events))
            except (KafkaTimeoutError, BufferError) as error:
                if not self._away:
                    log.warning("the broker takes nothing (%s); %d values wait, trying on", error, len(self._backlog))
                self._away = True
                return
            self._backlog.popleft()
            self.values += 1
            self._away = False

    def _lost(self, key: bytes, events: int, error: KafkaError) -> None:
        self.failed += 1
        self._count("refused", key, events)
        log.error("a value could not be delivered: %s: %s", type(error).__name__, error)


def by_server(events: NDArray[Any]) -> list[tuple[bytes, NDArray[Any]]]:
    """(n,) EVENT of any servers -> each server's events in their order."""
    names = events["server"]
    if (names == names[0]).all():
        return [(bytes(names[0]), events)]
    order = names.argsort(kind="stable")
    events = take(events, order)
    names = names[order]
    cuts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(events)]
    return [(bytes(names[start]), events[start:end]) for start, end in pairwise(cuts)]
