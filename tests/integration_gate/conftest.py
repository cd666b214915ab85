"""A stand-in for the desk on a real broker: writes ``halts``, beats every 100 ms, reads ``acks``."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from halts.gate import HaltGate
from schemas.records import Ack, HaltRecord, Heartbeat, Money, decode, encode
from schemas.topics import ACKS, AUDIT, COMMANDS, HALTS, HEARTBEAT_KEY, partition_count, topic_name


def make_topics(bootstrap: str, prefix: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    wanted = (HALTS, ACKS, COMMANDS, AUDIT)
    admin.create_topics(
        [NewTopic(topic_name(t, prefix), partition_count(t), 1, topic_configs=t.config()) for t in wanted]
    )
    admin.close()


class FakeDesk:
    """Writes what a desk writes. ``beating`` may be cleared to fall silent."""

    def __init__(self, bootstrap: str, prefix: str, generation: int = 1) -> None:
        self.bootstrap, self.prefix, self.generation = bootstrap, prefix, generation
        self.halts = topic_name(HALTS, prefix)
        self.producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=0, max_block_ms=5_000, reconnect_backoff_max_ms=500
        )
        self.beating = threading.Event()
        self.epochs: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        n = 0
        while not self._stop.wait(0.1):
            if self.beating.is_set():
                n += 1
                with contextlib.suppress(KafkaError):  # a test may have killed the broker
                    self.put(HEARTBEAT_KEY, encode(Heartbeat(time.time_ns(), n, self.generation)))

    def put(self, key: str, value: bytes | None) -> Any:
        return self.producer.send(self.halts, key=key.encode(), value=value)

    def say(self, scope: str, state: str, **other: Any) -> HaltRecord:
        self.epochs[scope] = self.epochs.get(scope, 0) + 1
        fields: dict[str, Any] = {
            "halt_id": f"id-{scope}", "epoch": self.epochs[scope], "action": "block_and_cancel", "by": "desk",
            "ts_event": 1, "ts_decided": time.time_ns(), "cause": (), "text": f"{scope} is {state}", "money": Money(),
            "generation": self.generation,
        }  # fmt: skip
        record = HaltRecord(scope=scope, state=state, **(fields | other))  # type: ignore[arg-type]
        self.put(scope, encode(record)).get(30)
        return record

    def acks(self, n: int, timeout_s: float = 60.0) -> list[Ack]:
        """The first ``n`` acks ever written, or those there are after ``timeout_s``."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None, auto_offset_reset="earliest")
        try:
            consumer.assign([TopicPartition(topic_name(ACKS, self.prefix), 0)])
            found: list[Ack] = []
            end = time.monotonic() + timeout_s
            while len(found) < n and time.monotonic() < end:
                for records in consumer.poll(timeout_ms=100).values():
                    found += [decode(r.value, Ack) for r in records]
            return found
        finally:
            consumer.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)
        with contextlib.suppress(KafkaError):
            self.producer.close(timeout=5)


@pytest.fixture
def topics(kafka: str, topic_prefix: str) -> str:
    """A prefix under which halts, acks and commands exist."""
    make_topics(kafka, topic_prefix)
    return topic_prefix


@pytest.fixture
def desk(kafka: str, topics: str) -> Iterator[FakeDesk]:
    desk = FakeDesk(kafka, topics)
    desk.beating.set()
    yield desk
    desk.close()


@pytest.fixture
def late_desk(kafka: str, topic_prefix: str) -> Iterator[Callable[[str], FakeDesk]]:
    """Makes the topics under a further prefix, and a desk that beats on them."""
    desks: list[FakeDesk] = []

    def make(suffix: str) -> FakeDesk:
        make_topics(kafka, topic_prefix + suffix)
        desks.append(FakeDesk(kafka, topic_prefix + suffix))
        desks[-1].beating.set()
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture
def new_gate(kafka: str, topics: str) -> Iterator[Callable[..., HaltGate]]:
    """Started gates of R1 without orders, closed at the end."""
    gates: list[HaltGate] = []

    def make(**other: Any) -> HaltGate:
        options: dict[str, Any] = {
            "server": "R1", "cancel_all": lambda halt: 0, "working": lambda halt: 0, "prefix": topics,
            "fail_closed_after_ms": 3_000, **other,
        }  # fmt: skip
        gates.append(HaltGate(options.pop("bootstrap", kafka), **options).start())
        return gates[-1]

    yield make
    for gate in gates:
        gate.close()


def until(true: Callable[[], object], timeout_s: float = 60.0) -> bool:
    """It ends as soon as it is so: on a busy machine that may be late, and is no fault."""
    end = time.monotonic() + timeout_s
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.002)
    return bool(found)


@pytest.fixture
def wait() -> Callable[..., bool]:
    return until


@pytest.fixture
def broker_of_its_own() -> Iterator[tuple[Any, str, FakeDesk]]:
    """A broker that the test may kill, a prefix with topics on it, and a desk."""
    from knightwatch.broker import EmbeddedKafka

    with EmbeddedKafka() as broker:
        make_topics(broker.bootstrap, "own-")
        desk = FakeDesk(broker.bootstrap, "own-")
        desk.beating.set()
        yield broker, "own-", desk
        desk.close()
