"""Halts, resumes and deploys become annotations on the boards, within two seconds.

A pure part, ``Story``, which turns what stands on ``halts`` and ``declared`` into annotations, and a thread that reads
Kafka and writes to Grafana. Each annotation has an id among its tags, so that reading a compacted topic again after a
restart writes nothing twice. Grafana being away delays annotations and loses none (up to ``PENDING_MAX``)."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from dashboards.board import DESK_URL, TAG
from dashboards.push import Grafana, PushError
from schemas.records import Declared, HaltRecord, State, decode
from schemas.scopes import CANARY
from schemas.topics import DECLARED, HALTS, HEARTBEAT_KEY, Topic, topic_name
from schemas.units import MS_NS

POLL_MS: Final = 250
RETRY_S: Final = 1.0
PENDING_MAX: Final = 1_000
SEEN_MAX: Final = 20_000
BACK_MS: Final = 7 * 86_400_000
"""How far back the annotations of an earlier run are looked for."""
_BLOCKED: Final[frozenset[State]] = frozenset({"HALTING", "HALTED", "RESUMING"})


@dataclass(frozen=True, slots=True)
class Annotation:
    """What Grafana is told: a moment (ms UTC), tags that boards filter by, and a sentence."""

    time_ms: int
    tags: tuple[str, ...]
    text: str

    @property
    def id(self) -> str:
        """The tag that makes it one and the same."""
        return next(tag for tag in self.tags if tag.startswith("id:"))


def of_halt(record: HaltRecord, before: State | None, desk_url: str = DESK_URL) -> Annotation | None:
    """The annotation of a transition, None for one that needs none (a warning blocks nothing; ACTIVE after it opens
    nothing). ``before``: the scope's state as last seen, None if unknown."""
    if record.scope == CANARY:
        return None  # the probe of the kill path, once a minute
    if record.state in ("HALTING", "HALTED"):
        kind = "halt"
        text = record.text if record.state == "HALTING" else f"Confirmed: nothing is working. {record.text}"
    elif record.state == "ACTIVE" and (before in _BLOCKED):
        kind, text = "resume", f"{record.scope} is open again, by {record.by}. {record.text}"
    else:
        return None
    lost = f" Lost so far: USD {record.money.loss_usd:,.0f}." if record.money.loss_usd else ""
    link = f' <a href="{desk_url}/evidence/{record.scope}" target="_blank">Evidence</a>'
    tags = (TAG, kind, record.scope, f"id:{record.halt_id}:{record.epoch}")
    return Annotation(record.ts_decided // MS_NS, tags, text + lost + link)


def of_deploy(record: Declared) -> Annotation:
    """The annotation of a release declared for a server."""
    tags = (TAG, "deploy", f"server:{record.server}", f"id:deploy:{record.server}:{record.ts}")
    text = f"{record.server} is declared to run release {record.release} (build {record.build})."
    return Annotation(record.ts // MS_NS, tags, text)


class Story:
    """What has been told. ``told``: ids of annotations that Grafana has already."""

    def __init__(self, told: Iterable[str] = (), desk_url: str = DESK_URL) -> None:
        self._told = dict.fromkeys(told)
        self._scopes: dict[str, HaltRecord] = {}
        self._desk_url = desk_url
        self.unreadable = 0
        """Records that did not decode; they are skipped, since a picture is all that suffers."""

    def take(self, topic: Topic, key: str, value: bytes | None) -> list[Annotation]:
        """Annotations that this record calls for. A tombstone calls for none."""
        if value is None or key == HEARTBEAT_KEY:
            return []
        try:
            found = self._halt(decode(value, HaltRecord)) if topic is HALTS else of_deploy(decode(value, Declared))
        except msgspec.DecodeError:
            self.unreadable += 1
            return []
        if found is None or found.id in self._told:
            return []
        self._told[found.id] = None
        if len(self._told) > SEEN_MAX:
            del self._told[next(iter(self._told))]
        return [found]

    def _halt(self, record: HaltRecord) -> Annotation | None:
        last = self._scopes.get(record.scope)
        if last and (record.generation, record.epoch) <= (last.generation, last.epoch):
            return None
        self._scopes[record.scope] = record
        before = last.state if last else None
        if before is None and any(tag.startswith(f"id:{record.halt_id}:") for tag in self._told):
            before = "HALTED"  # compaction took the halt itself, Grafana has its annotation from before our restart
        return of_halt(record, before, self._desk_url)


class Annotator:
    """Follows ``halts`` and ``declared`` at ``bootstrap`` in a thread and writes to ``grafana``.

    ``start`` raises PushError if Grafana refuses, so that a wrong token is said at once and not in a log."""

    def __init__(
        self,
        bootstrap: str,
        grafana: Grafana,
        prefix: str = "",
        desk_url: str = DESK_URL,
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        self._bootstrap, self._grafana, self._prefix, self._desk_url = bootstrap, grafana, prefix, desk_url
        self._kafka = dict(kafka or {})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="knightwatch-annotator", daemon=True)
        self._pending: deque[Annotation] = deque(maxlen=PENDING_MAX)
        self._story = Story()
        self.written = 0
        self.refused = 0
        self.trouble = ""
        """The last thing that went wrong, '' while all is well."""

    def start(self) -> None:
        """Learn what Grafana has, then follow."""
        now_ms = time.time_ns() // MS_NS
        there = self._grafana.annotations(TAG, now_ms - BACK_MS, now_ms + BACK_MS)
        self._story = Story((tag for a in there for tag in a.get("tags", ()) if tag.startswith("id:")), self._desk_url)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                consumer = KafkaConsumer(
                    bootstrap_servers=self._bootstrap,
                    enable_auto_commit=False,
                    client_id="knightwatch-annotator",
                    **self._kafka,
                )
                try:
                    self._follow(consumer)
                finally:
                    consumer.close()
            except KafkaError as error:
                self.trouble = f"Kafka at {self._bootstrap}: {error}"
                self._stop.wait(RETRY_S)

    def _follow(self, consumer: KafkaConsumer) -> None:
        topics = {topic_name(topic, self._prefix): topic for topic in (HALTS, DECLARED)}
        places = [TopicPartition(name, p) for name in topics for p in sorted(consumer.partitions_for_topic(name) or ())]
        if len({place.topic for place in places}) < len(topics):
            missing = ", ".join(sorted(set(topics) - {place.topic for place in places}))
            self.trouble = f"topic {missing} does not exist at {self._bootstrap}: run `knightwatch topics`"
            self._stop.wait(RETRY_S)
            return
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        while not self._stop.is_set():
            polled = consumer.poll(timeout_ms=POLL_MS)
            for place, records in polled.items():
                for record in records:
                    key = (record.key or b"").decode("utf-8", "replace")
                    self._pending.extend(self._story.take(topics[place.topic], key, record.value))
            self._write()

    def _write(self) -> None:
        while self._pending:
            first = self._pending[0]
            try:
                self._grafana.annotate(first.time_ms, first.tags, first.text)
            except PushError as error:
                self.trouble = str(error)
                if error.status not in (400, 422):
                    self._stop.wait(RETRY_S)
                    return
                self._pending.popleft()  # this one Grafana will never take; the next may be fine
                self.refused += 1
                continue
            self._pending.popleft()
            self.written += 1
            self.trouble = ""
