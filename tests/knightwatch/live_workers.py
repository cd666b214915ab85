"""Workers as a user starts them, and what they say of themselves: who holds which partitions, and where the desk is.

A rebalance is in no hurry: for a while one worker's log still says what it held before while another's says what it
holds now. What holds for good is read from both together, once it has stood still (``settled``).
"""

import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka import KafkaConsumer, TopicPartition

from halts.config import KafkaConfig
from knightwatch.process import Child
from producers import scenarios
from schemas.records import Heartbeat, decode
from schemas.topics import HALTS, HEARTBEAT_KEY, topic_name
from streams.admin import create_topics

SERVERS = scenarios.build("power-peg").servers
PARTITIONS = 8
STILL_S = 2.5
"""How long nothing changes before it counts as settled: two heartbeats of the consumer group, and a little."""


def start_worker(bootstrap: str, prefix: str, folder: Path, name: str) -> Child:
    command = [sys.executable, "-m", "knightwatch", "worker", "--bootstrap", bootstrap, "--prefix", prefix]
    return Child([*command, "--data", str(folder / name)], folder / f"{name}.log")


def log_of(folder: Path, name: str) -> str:
    return (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def workers(bootstrap: str, prefix: str, folder: Path, count: int) -> Iterator[dict[str, Child]]:
    """``count`` workers, on topics made for them."""
    create_topics(KafkaConfig(bootstrap=bootstrap, prefix=prefix))
    started = {f"w{i}": start_worker(bootstrap, prefix, folder, f"w{i}") for i in range(count)}
    try:
        yield started
    finally:
        for worker in started.values():
            worker.stop(8.0)


class Beats:
    """Every heartbeat of the desk since the beginning of ``halts``, in the log's order, read in a thread of its own."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._part = TopicPartition(topic_name(HALTS, prefix), 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)
        self.read: list[Heartbeat] = []

    def _run(self) -> None:
        consumer = KafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        consumer.assign([self._part])
        consumer.seek_to_beginning(self._part)
        while not self._stop.is_set():
            for records in consumer.poll(timeout_ms=100).values():
                self.read += [decode(r.value, Heartbeat) for r in records if r.key == HEARTBEAT_KEY.encode()]
        consumer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(10.0)


@dataclass(frozen=True)
class Sharing:
    """Who does what. ``held``: partitions of the order flow by worker; ``generation``: of the desk, which counts its
    starts wherever they are."""

    held: Mapping[str, frozenset[int]]
    desk: str
    generation: int


def sharing(folder: Path, names: Mapping[str, object], beats: Beats) -> Sharing | None:
    """As the workers' logs say together; None in mid-rebalance: partitions that two hold or none, or a desk that is not
    the one which is heard."""
    held: dict[str, frozenset[int]] = {}
    desks: dict[int, str] = {}
    for name in names:
        said = re.findall(r"Partitions of the order flow held: (none|[\d, ]+)", log_of(folder, name))
        held[name] = frozenset(int(p) for p in said[-1].split(",")) if said and said[-1] != "none" else frozenset()
        desks |= {int(g): name for g in re.findall(r"The desk is here, generation (\d+)", log_of(folder, name))}
    if sorted(p for parts in held.values() for p in parts) != list(range(PARTITIONS)) or not desks:
        return None
    newest = max(desks)
    if not beats.read or beats.read[-1].generation != newest or beats.read[-1].unwatched:
        return None
    return Sharing(held, desks[newest], newest)


def settled(folder: Path, names: Mapping[str, object], beats: Beats, timeout_s: float = 120) -> Sharing:
    """The workers' sharing once every one has its part and nothing has changed for ``STILL_S``."""
    end, found, since = time.monotonic() + timeout_s, None, 0.0
    while time.monotonic() < end:
        now = sharing(folder, names, beats)
        if now is None or now != found or not all(now.held.values()):
            found, since = now, time.monotonic()
        elif time.monotonic() - since > STILL_S:
            return now
        time.sleep(0.05)
    raise AssertionError(f"no rest within {timeout_s} s\n" + "\n".join(log_of(folder, name) for name in names))
