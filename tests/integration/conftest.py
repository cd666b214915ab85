"""A stack of topics for one test, workers as child processes, and eyes on what comes out."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import NotCoordinatorError
from numpy.typing import NDArray

from schemas.events import Kind, Side, empty_events
from schemas.records import FeatureRow, Verdict, decode_verdict, encode
from schemas.topics import ALL, INTERNAL, ORDERFLOW, VERDICTS, Topic, partition_count

PARTITIONS = 4
ROOT = Path(__file__).resolve().parents[2]


def order(server: str, seq: int) -> NDArray[Any]:
    """One valid child order."""
    event = empty_events(1)
    event["kind"], event["server"], event["seq"], event["ts"] = Kind.order, server.encode(), seq, time.time_ns()
    event["cl_ord_id"], event["symbol"], event["side"], event["qty"] = f"{server}-{seq}".encode(), b"ACME", Side.B, 100
    return event


def _interruptible() -> None:
    """A shell that starts jobs in the background lets them ignore SIGINT; a person's terminal does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Stack:
    """The topics of one test."""

    bootstrap: str
    prefix: str
    folder: Path
    producer: KafkaProducer
    admin: KafkaAdminClient
    sent: dict[int, list[tuple[str, int, int]]] = field(default_factory=dict)
    """Partition -> (server, seq, offset) of the orders sent, in order."""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(self, **options: Any) -> subprocess.Popen[bytes]:
        """Start a worker process; its log is in the test's folder."""
        log = (self.folder / f"worker{len(self.workers)}.log").open("wb")
        options.setdefault("partitions", PARTITIONS)
        command = [sys.executable, "-m", "tests.integration.worker_main", self.bootstrap, self.prefix]
        worker = subprocess.Popen(
            [*command, json.dumps(options)], cwd=ROOT, stdout=log, stderr=log, preexec_fn=_interruptible
        )
        log.close()
        self.workers.append(worker)
        return worker

    def create(self, *topics: Topic) -> None:
        """Make topics as they must be."""
        self.admin.create_topics(
            [NewTopic(self.name(t), partition_count(t, PARTITIONS), 1, topic_configs=t.config()) for t in topics]
        )

    def log(self, worker: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"worker{self.workers.index(worker)}.log").read_text()

    def name(self, topic: Topic) -> str:
        return self.prefix + topic.name

    def send(self, topic: Topic, value: bytes | None, key: str | None = None, partition: int = 0) -> int:
        """Publish and return the offset."""
        coded = None if key is None else key.encode()
        sent = self.producer.send(self.name(topic), key=coded, value=value, partition=partition)
        return int(sent.get(timeout=60).offset)

    def orders(self, n: int, servers: Sequence[str] = ("R0", "R1", "R2", "R3", "R4")) -> None:
        """Publish ``n`` orders, one a record; server i lives on partition i % PARTITIONS."""
        waiting = []
        for i in range(n):
            which = i % len(servers)
            partition = which % PARTITIONS
            mine = self.sent.setdefault(partition, [])
            seq = len(mine)
            value = order(servers[which], seq).tobytes()
            sent = self.producer.send(
                self.name(ORDERFLOW), key=servers[which].encode(), value=value, partition=partition
            )
            mine.append((servers[which], seq, -1))
            waiting.append((mine, len(mine) - 1, sent))
        for mine, at, sent in waiting:
            mine[at] = (*mine[at][:2], sent.get(timeout=60).offset)

    def read(self, topic: Topic, partition: int = 0) -> list[Any]:
        """Everything on a partition now."""
        tp = TopicPartition(self.name(topic), partition)
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False,
            isolation_level="read_committed",
        )  # fmt: skip
        try:
            consumer.assign([tp])
            end = consumer.end_offsets([tp])[tp]
            found: list[Any] = []
            consumer.seek_to_beginning(tp)
            while consumer.position(tp) < end:
                for records in consumer.poll(timeout_ms=500).values():
                    found += records
            return found
        finally:
            consumer.close()

    def verdicts(self) -> list[Verdict]:
        """What stands on ``verdicts`` and decodes, in order."""
        found = []
        for record in self.read(VERDICTS):
            with contextlib.suppress(msgspec.DecodeError):
                found.append(decode_verdict(record.value))
        return found

    def rows(self) -> list[FeatureRow]:
        """Rows on ``verdicts``, in order."""
        return [verdict for verdict in self.verdicts() if isinstance(verdict, FeatureRow)]

    def committed(self) -> dict[tuple[str, int], int]:
        """What the broker holds for the workers' group (names without the prefix)."""
        group, end = f"{self.prefix}knightwatch", time.monotonic() + 60
        while True:
            try:
                found = self.admin.list_group_offsets([group])[group]
                break
            except NotCoordinatorError:  # a busy broker has yet to load what it knows of groups
                assert time.monotonic() < end, "no coordinator of the group"
                time.sleep(0.2)
        return {(tp.topic.removeprefix(self.prefix), tp.partition): at.offset for tp, at in found.items()}

    def wait(self, what: str, check: Callable[[], Any], timeout_s: float = 90.0) -> Any:
        """The first true answer of ``check``; fails with the workers' logs when there is none in time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            found = check()
            if found:
                return found
            time.sleep(0.1)
        logs = "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))
        pytest.fail(f"no {what} within {timeout_s:g} s\n{logs}")

    def covered(self) -> set[tuple[int, int]]:
        """(partition, offset) of which there is a row."""
        return {(row.source.partition, row.source.offset) for row in self.rows()}

    def all_sent(self) -> set[tuple[int, int]]:
        return {(partition, offset) for partition, sent in self.sent.items() for _, _, offset in sent}

    def check_rows(self, repeats_allowed: bool) -> None:
        """Every order once, in order, counted as without interruption; repeats are the same bytes."""
        from tests.integration.tiny import expected_rows

        first: dict[tuple[int, int], bytes] = {}
        in_order: dict[int, list[FeatureRow]] = {}
        for row in self.rows():
            at = (row.source.partition, row.source.offset)
            if at in first:
                assert repeats_allowed, f"{at} came twice"
                assert encode(row) == first[at], f"{at} came again, but different"
                continue
            first[at] = encode(row)
            in_order.setdefault(at[0], []).append(row)
        for partition, sent in self.sent.items():
            got = [
                (r.server, r.counters["seq"], r.counters["events"], r.counters["checksum"]) for r in in_order[partition]
            ]
            assert got == expected_rows([(server, seq) for server, seq, _ in sent])

    def stop(self, worker: subprocess.Popen[bytes]) -> int:
        """SIGTERM, and the exit code."""
        worker.terminate()
        return worker.wait(60)


@pytest.fixture
def stack(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str, tmp_path: Path) -> Iterator[Stack]:
    """Topics of a test's own; whatever still runs is killed at the end."""
    producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=2)
    made = Stack(kafka, topic_prefix, tmp_path, producer, kafka_admin)
    made.create(*ALL, *INTERNAL)
    yield made
    for worker in made.workers:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    producer.close()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20120801)
