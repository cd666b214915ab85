"""One Kafka reader for all viewers: follows the topics in a thread and folds them into a ``Story``."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from halts.gate_io import COMMON
from halts.gate_trust import Trust
from knightwatch.web.story import Picture, Story
from schemas.topics import ACKS, AUDIT, HALTS, NODES, VERDICTS, Topic, topic_name

log = logging.getLogger(__name__)

BACK_MAX: Final[Mapping[Topic, int]] = {ACKS: 20_000, AUDIT: 20_000, NODES: 2_000, VERDICTS: 0}
"""Records of a partition read from before this page started; ``halts`` is read from its beginning."""
POLL_MS: Final = 50
RETRY_S: Final = 0.5
CHECK_S: Final = 2.0
"""How often it is checked that the broker still answers: a silent ``halts`` alone does not tell who is gone."""


class Feed:
    """Follows ``halts``, ``acks``, ``audit``, ``nodes`` and the feature rows of ``verdicts`` of one prefix.

    trust: whose word on ``halts`` counts. kafka: further options of kafka-python's clients (security and the like).
    """

    def __init__(
        self,
        bootstrap: str,
        prefix: str = "",
        *,
        fail_closed_after_ms: int = 2_000,
        clock_skew_ms_max: int = 500,
        trust: Trust | None = None,
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        self.bootstrap, self.prefix = bootstrap, prefix
        self.connected = False
        """The broker answers, and everything that stood on ``halts`` has been read."""
        self.problem = ""
        self._story = Story(fail_closed_after_ms, clock_skew_ms_max, trust)
        self._config = {
            **COMMON,
            "bootstrap_servers": bootstrap.split(","),
            "client_id": "knightwatch-desk-page",
            **(kafka or {}),
        }
        self._names = {topic_name(t, prefix): t for t in (HALTS, *BACK_MAX)}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="desk-feed", daemon=True)
        self._next: dict[TopicPartition, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(5.0)

    @property
    def version(self) -> tuple[int, bool]:
        """Differs whenever a viewer would see something else."""
        return self._story.version, self.connected

    def picture(self) -> Picture:
        """What stands now. Cheap enough for twice a second."""
        with self._lock:
            return self._story.picture(time.monotonic_ns(), time.time_ns(), self.connected)

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._session()
            except (KafkaError, OSError) as error:
                self.problem = f"{type(error).__name__}: {error}"
                log.warning("the page lost the broker (%s); trying again", self.problem)
            except Exception:
                self.problem = "the reader failed; see the log of this desk"
                log.exception("the reader of the topics failed; trying again")
            self.connected = False
            with self._lock:
                self._story.state.lost()
            self._stop.wait(RETRY_S)

    def _session(self) -> None:
        consumer = KafkaConsumer(
            group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=50, **self._config
        )
        try:
            take = self._assign(consumer)
            checked = time.monotonic()
            while not self._stop.is_set():
                found = consumer.poll(timeout_ms=POLL_MS, max_records=5_000)
                for place, records in found.items():
                    with self._lock:
                        for record in records:
                            take[place](record)
                    self._next[place] = records[-1].offset + 1
                if not self.connected and self._story.state.caught_up:
                    self.connected, self.problem = True, ""
                if found:
                    checked = time.monotonic()
                elif time.monotonic() - checked > CHECK_S:
                    consumer.end_offsets([TopicPartition(topic_name(HALTS, self.prefix), 0)])
                    checked = time.monotonic()
        finally:
            consumer.close(autocommit=False, timeout_ms=1_000)

    def _assign(self, consumer: KafkaConsumer) -> dict[TopicPartition, Callable[[Any], None]]:
        """Where to read from, and what takes the records of each partition."""
        takers: dict[Topic, Callable[[Any], None]] = {
            HALTS: lambda r: self._story.halt(r.offset, r.key, r.value, time.monotonic_ns(), time.time_ns()),
            ACKS: lambda r: self._story.ack(r.value),
            AUDIT: lambda r: self._story.audit(r.value, r.timestamp),
            NODES: lambda r: self._story.node(r.value, time.monotonic_ns()),
            VERDICTS: lambda r: self._story.verdict(r.key, r.value, time.monotonic_ns()),
        }
        places = {
            TopicPartition(name, p): topic
            for name, topic in self._names.items()
            for p in sorted(consumer.partitions_for_topic(name) or ())
        }
        if HALTS not in places.values():
            raise OSError(
                f"topic {topic_name(HALTS, self.prefix)!r} does not exist at {self.bootstrap}; check --prefix, or make "
                "it with 'knightwatch topics'"
            )
        begin, end = consumer.beginning_offsets(list(places)), consumer.end_offsets(list(places))
        consumer.assign(list(places))
        for place, topic in places.items():
            if topic is HALTS:
                with self._lock:
                    start = self._story.state.connected(begin[place], end[place])
            else:
                fresh = max(begin[place], end[place] - BACK_MAX[topic])
                start = min(max(fresh, self._next.get(place, 0)), end[place])
            consumer.seek(place, start)
        return {place: takers[topic] for place, topic in places.items()}
