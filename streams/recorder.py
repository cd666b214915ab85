"""The recorder: every topic, from its beginning or from where the recording ends, into Parquet files.

It reads by assignment, without a consumer group: where to go on is in the manifest, not on the broker. It takes part in
nothing, so that recording a live stack changes nothing in it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from schemas.recording import Gap, Session
from schemas.topics import ALL, ORDERFLOW, topic_name
from streams.recorder_files import KafkaRecord, PartitionFile, RecorderError, Recording

POLL_MS: Final = 200
POLL_RECORDS_MAX: Final = 20_000
RETRY_S: Final = 1.0
BOOTSTRAP_MS: Final = 5_000
PARTITIONS_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """What to record, into which directory, and when to begin new files."""

    directory: Path
    bootstrap: str
    prefix: str = ""
    roll_rows: int = 1_000_000
    """Rows after which a file is finished."""
    roll_s: float = 300.0
    """Age at which a file is finished: what a power cut costs is read again from Kafka, if it is still there."""
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further options of the Kafka client (security)."""
    build: str = ""
    config_sha256: str = ""


@dataclass
class RecorderTotals:
    """Counts for people who watch."""

    records: int = 0
    orderflow_records: int = 0
    files: int = 0
    bytes: int = 0
    behind: int = 0
    """Records on the broker that are not yet read."""


class Recorder:
    """One recording session. ``run`` may be called once; afterwards the recording is closed."""

    def __init__(self, settings: RecorderSettings) -> None:
        """Connects, and opens or resumes the directory. RecorderError: no broker, no topics, or not our directory."""
        self._settings = settings
        self._plain = {topic_name(topic, settings.prefix): topic.name for topic in ALL}
        self._consumer = _connect(settings.bootstrap, settings.kafka)
        self._open: dict[TopicPartition, PartitionFile] = {}
        self.totals = RecorderTotals()
        try:
            partitions = self._partitions()
            session = Session(time.time_ns(), 0, settings.build, settings.config_sha256)
            self._recording = Recording(settings.directory, settings.prefix, partitions, session)
        except BaseException:
            self._consumer.close()
            raise
        self._assign(partitions)

    def run(
        self,
        stop: Callable[[], bool],
        until_idle_s: float | None = None,
        duration_s: float | None = None,
        on_progress: Callable[[RecorderTotals], None] = lambda _: None,
    ) -> RecorderTotals:
        """Record until ``stop`` says so, or no order flow came for ``until_idle_s`` and all is read, or time is up.

        Whatever ends it, files are finished and entered, so that only a kill leaves work for the next start.
        """
        begun = last_order = time.monotonic()
        try:
            while not stop():
                if self._poll():
                    last_order = time.monotonic()
                self._roll()
                on_progress(self.totals)
                now = time.monotonic()
                if duration_s is not None and now - begun >= duration_s:
                    break
                if until_idle_s is not None and now - last_order >= until_idle_s and not self._behind():
                    break
        finally:
            self._close()
        return self.totals

    def _poll(self) -> bool:
        """Take what has come; whether order flow was in it."""
        try:
            fetched: Mapping[Any, list[Any]] = self._consumer.poll(POLL_MS, POLL_RECORDS_MAX)
        except OffsetOutOfRangeError:
            self._skip_lost()
            return False
        except KafkaError:
            time.sleep(RETRY_S)  # the client reconnects by itself; nothing is lost, positions stay
            return False
        orders = False
        for place, raw in fetched.items():
            records = [KafkaRecord(r.offset, r.timestamp, r.key, r.value, tuple(r.headers or ())) for r in raw]
            self._file(place).add(records)
            self.totals.records += len(records)
            if self._plain[place.topic] == ORDERFLOW.name:
                orders = orders or bool(records)
                self.totals.orderflow_records += len(records)
        return orders

    def _file(self, place: TopicPartition) -> PartitionFile:
        if place not in self._open:
            topic = self._plain[place.topic]
            self._open[place] = PartitionFile(self._settings.directory, topic, place.partition, time.monotonic_ns())
        return self._open[place]

    def _roll(self) -> None:
        """Finish the files that are long or old enough."""
        now = time.monotonic_ns()
        oldest = now - int(self._settings.roll_s * 1e9)
        due = [p for p, f in self._open.items() if f.size >= self._settings.roll_rows or f.opened_ns <= oldest]
        self._finish(due)

    def _finish(self, places: list[TopicPartition]) -> None:
        entries = [self._open.pop(place).close() for place in places]
        self._recording.add_files(entries)
        self.totals.files += len(entries)
        self.totals.bytes += sum(entry.bytes for entry in entries)

    def _close(self) -> None:
        try:
            self._finish(list(self._open))
        finally:
            self._recording.close(time.time_ns())
            self._consumer.close()

    def _behind(self) -> int:
        """Records on the broker that were not read yet, over the order flow."""
        places = [p for p in self._consumer.assignment() if self._plain[p.topic] == ORDERFLOW.name]
        ends = self._consumer.end_offsets(places)
        self.totals.behind = sum(max(0, ends[p] - self._consumer.position(p)) for p in places)
        return self.totals.behind

    def _partitions(self) -> dict[str, int]:
        """Topic -> partitions on the broker; RecorderError names topics that are not there."""
        deadline = time.monotonic() + PARTITIONS_WAIT_S
        while True:
            found = {plain: self._consumer.partitions_for_topic(name) for name, plain in self._plain.items()}
            missing = [name for name, plain in self._plain.items() if not found[plain]]
            if not missing:
                return {plain: len(ids or ()) for plain, ids in found.items()}
            if time.monotonic() > deadline:
                raise RecorderError(
                    f"{self._settings.bootstrap}: no topic {', '.join(missing)}. Make them with `knightwatch topics "
                    f"--bootstrap {self._settings.bootstrap}`, or give the right --prefix."
                )
            time.sleep(RETRY_S / 5)

    def _assign(self, partitions: dict[str, int]) -> None:
        names = {plain: name for name, plain in self._plain.items()}
        places = [TopicPartition(names[topic], p) for topic, n in partitions.items() for p in range(n)]
        self._consumer.assign(places)
        begins, ends = self._consumer.beginning_offsets(places), self._consumer.end_offsets(places)
        for place in places:
            wanted = self._recording.next_offset(self._plain[place.topic], place.partition)
            if wanted is not None and wanted > ends[place]:
                raise RecorderError(
                    f"{place.topic}-{place.partition}: recorded up to offset {wanted - 1}, but the topic ends at "
                    f"{ends[place] - 1}: it was made anew. Record into another directory."
                )
            self._seek(place, wanted, begins[place])

    def _seek(self, place: TopicPartition, wanted: int | None, begin: int) -> None:
        """Go on at ``wanted``, or where the log begins now; what lies between is noted as a gap."""
        if wanted is not None and wanted < begin:
            topic = self._plain[place.topic]
            self._recording.add_gap(Gap(topic, place.partition, wanted, begin - 1, "dropped by the broker"))
        self._consumer.seek(place, begin if wanted is None else max(wanted, begin))

    def _skip_lost(self) -> None:
        """The broker dropped what was to be read next: note the gap and go on where the log begins."""
        places = list(self._consumer.assignment())
        begins = self._consumer.beginning_offsets(places)
        for place in places:
            position = self._consumer.position(place)
            if position < begins[place]:
                self._finish([place] if place in self._open else [])
                self._seek(place, position, begins[place])


def _connect(bootstrap: str, kafka: Mapping[str, Any]) -> Any:
    try:
        return KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=None,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=4 << 20,
            fetch_max_bytes=64 << 20,
            **kafka,
        )
    except KafkaError as error:
        raise RecorderError(
            f"{bootstrap}: no Kafka broker answers ({error}). Start one (`knightwatch broker`), or give --bootstrap."
        ) from error
