"""A FIX client that is not ours (QuickFIX, in a process of its own) copies its drops to the acceptor, on a real Kafka."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaConsumer, TopicPartition

from halts.config import KafkaConfig
from knightwatch.follow import Follower, wait_until
from knightwatch.process import Child
from schemas.codec import decode, to_dicts
from schemas.records import DeadLetter
from schemas.topics import DEAD_LETTERS, ORDERFLOW, topic_name
from streams.admin import create_topics

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("quickfix") is None, reason="needs QuickFIX: pip install 'knightwatch[fix]'"
)
CLIENT = Path(__file__).with_name("fix_client.py")
HALT_S_MAX = 30.0
"""The promise is about a second, and ``-s`` shows what it was; a busy machine must not fail a test."""

ORDERS = 500


@pytest.fixture
def port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Running:
    """Acceptors and clients of one test; ends what is left of them."""

    def __init__(self, kafka: str, prefix: str, port: int, folder: Path) -> None:
        self.kafka, self.prefix, self.port, self.folder = kafka, prefix, port, folder
        self.children: list[Child] = []

    def acceptor(self, name: str, *more: str) -> Child:
        command = [sys.executable, "-m", "knightwatch", "accept", "fix", "--json", "--session", "BROKER=r1", *more]
        command += ["--port", str(self.port), "--store", str(self.folder / "store")]
        command += ["--bootstrap", self.kafka, "--prefix", self.prefix]
        started = self._start(command, name)
        assert wait_until(lambda: "waiting for" in self.log(name) or started.exit_code is not None, 60), self.log(name)
        return started

    def client(self, name: str, *plan: list[Any]) -> Child:
        store = str(self.folder / "client")
        return self._start([sys.executable, str(CLIENT), str(self.port), store, "BROKER", json.dumps(plan)], name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def said(self, name: str) -> list[dict[str, Any]]:
        """The lines of JSON on what ``name`` said."""
        return [json.loads(line) for line in self.log(name).splitlines() if line.startswith("{")]

    def account(self, acceptor: Child, name: str) -> dict[str, Any]:
        """SIGTERM, and what the acceptor then says."""
        acceptor.signal(signal.SIGTERM)
        assert acceptor.wait(60), self.log(name)
        assert acceptor.exit_code == 0, self.log(name)
        return self.said(name)[-1]

    def records(self, topic: str) -> list[tuple[int, bytes]]:
        """(partition, value) of everything on ``topic``, each partition in order."""
        consumer = KafkaConsumer(bootstrap_servers=self.kafka, auto_offset_reset="earliest", enable_auto_commit=False)
        try:
            parts = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
            consumer.assign(parts)
            consumer.seek_to_beginning(*parts)
            ends, found = consumer.end_offsets(parts), []
            while any(consumer.position(p) < ends[p] for p in parts):
                for records in consumer.poll(500).values():
                    found += [(r.partition, r.value) for r in records]
            return found
        finally:
            consumer.close()

    def events(self) -> list[dict[str, Any]]:
        """Every event on the order flow, in the order of its server's partition, repeats and all."""
        values = [value for _, value in self.records(topic_name(ORDERFLOW, self.prefix))]
        found = decode("orderflow", 0, values, range(len(values)))
        assert not found.refused
        return to_dicts(found.batch.events)

    def fills(self) -> int:
        """Different executions on the order flow."""
        return len({e["exec_id"] for e in self.events() if e["kind"] == "fill"})

    def letters(self) -> list[DeadLetter]:
        values = self.records(topic_name(DEAD_LETTERS, self.prefix))
        return [msgspec.json.decode(value, type=DeadLetter) for _, value in values]

    def _start(self, command: list[str], name: str) -> Child:
        self.children.append(Child(command, self.folder / f"{name}.log"))
        return self.children[-1]


@pytest.fixture
def running(kafka: str, topic_prefix: str, port: int, tmp_path: Path) -> Iterator[Running]:
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    made = Running(kafka, topic_prefix, port, tmp_path)
    try:
        yield made
    finally:
        for child in made.children:
            child.stop(5.0)


def test_a_runaway_in_a_drop_copy_is_halted(running: Running) -> None:
    """Calm orders of a broker, then one symbol bought at the offer and sold at the bid 300 times a second."""
    command = [sys.executable, "-m", "knightwatch", "worker", "--data", str(running.folder / "worker")]
    running._start([*command, "--bootstrap", running.kafka, "--prefix", running.prefix], "worker")
    with Follower(running.kafka, running.prefix) as follower:
        assert wait_until(lambda: follower.seen.heartbeats > 3, 120), running.log("worker")
        acceptor = running.acceptor("acceptor")
        client = running.client("client", ["calm", 60, 25], ["runaway", 1_500, 300])
        assert wait_until(lambda: any(s["what"] == "first_bad" for s in running.said("client")), 90), running.log(
            "client"
        )
        before = list(follower.seen.halts)
        halted = wait_until(lambda: any(h.state == "HALTING" for h in follower.seen.halts), HALT_S_MAX + 5, 0.002)
        at = time.time()
        bad_at = next(s["at"] for s in running.said("client") if s["what"] == "first_bad")
        assert halted, running.log("acceptor")
        assert not before, "calm orders halt nothing"
        halt = next(h for h in follower.seen.halts if h.state == "HALTING")
        print(f"\nfirst bad order to halt: {at - bad_at:.3f} s; {halt.text}")
        assert halt.scope == "server:r1"
        assert 0 < at - bad_at < HALT_S_MAX
        client.stop(5.0)
        found = running.account(acceptor, "acceptor")
    assert found["refused"] == {}
    assert found["messages"] > 200


def test_nothing_is_lost_or_counted_twice_when_the_acceptor_is_killed(running: Running) -> None:
    """kill -9 in mid flow, and again; the client goes on by itself and resends what was not taken."""
    client = running.client("client", ["calm", ORDERS, 150], ["wait", 250])
    for name in ("first", "second"):
        acceptor = running.acceptor(name)
        assert wait_until(lambda: "logged on" in running.log(name), 60), running.log(name)  # noqa: B023
        time.sleep(0.7)
        os.kill(acceptor.pid, signal.SIGKILL)
    third = running.acceptor("third")
    wait_until(lambda: running.fills() == ORDERS, 120, 0.5)
    found = running.account(third, "third")
    assert client.exit_code is None, running.log("client")
    assert "messages are missing from MsgSeqNum" in running.log("second"), "the kill hit nothing"
    assert found["refused"] == {}, found
    events = running.events()
    once = {e["seq"]: e for e in events}
    assert all(once[e["seq"]] == e for e in events), "what was published again is the very same event"
    assert sorted(once) == list(range(min(once), min(once) + len(once))), "no number is missing"
    kinds = [e["kind"] for _, e in sorted(once.items())]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == dict.fromkeys(
        ("parent", "order", "ack", "fill", "parent_done"), ORDERS
    )
    assert len({e["exec_id"] for e in once.values() if e["kind"] == "fill"}) == ORDERS


def test_bad_messages_are_refused_and_what_is_open_outlives_a_restart(running: Running) -> None:
    new = {"11": "C1", "55": "ACME", "54": "1", "38": "100", "40": "2", "44": "10.5"}
    report = {"11": "C1", "55": "ACME", "54": "1", "37": "V", "39": "1"}
    first = running.acceptor("first", "--metrics-port", "0")
    steps = [
        ["send", "D", new],
        ["send", "D", {**new, "11": "C2", "54": "9"}],  # no such side
        ["send", "8", {**report, "11": "C8", "17": "E8", "150": "4"}],  # of an order nobody sent
        ["send", "D", {**new, "11": "C3", "38": "many"}],
        ["skip", 3],  # numbers that the client will fill with nothing, when asked
        ["send", "B", {"148": "news"}],
        ["send", "8", {**report, "17": "E1", "150": "0"}],
        ["wait", 250],  # it has to answer when it is asked to fill the gap
    ]
    client = running.client("client", *steps)
    at = next(line for line in running.log("first").splitlines() if line.startswith("metrics at ")).split()[-1]

    def told(*lines: str) -> bool:
        said = urllib.request.urlopen(at, timeout=30).read().decode()
        return all(line in said for line in lines)

    letter = 'knightwatch_dead_letters_total{reason="unknown_order",topic="fix"} 1.0'
    published = 'knightwatch_published_total{server="r1"} 3.0'
    assert wait_until(lambda: told(letter, published), 60), running.log("first") + running.log("client")
    client.stop(5.0)
    account = running.account(first, "first")
    assert account["refused"] == {"unknown_word": 1, "unknown_order": 1, "wrong_type": 1}
    assert account["left_out"]["message_type_B"] == 1
    assert [e["kind"] for e in running.events()] == ["parent", "order", "ack"]
    assert "logged on" in running.log("first")
    assert "skips to MsgSeqNum" in running.log("first")
    letters = running.letters()
    assert [x.reason for x in letters] == ["unknown_word", "unknown_order", "wrong_type"]
    assert {(x.topic, x.key) for x in letters} == {("fix", "FIX.4.4:KNIGHTWATCH->BROKER")}
    assert all("expected" in x.detail for x in letters)

    second = running.acceptor("second")
    fill = {**report, "17": "E2", "150": "F", "39": "2", "32": "100", "31": "10.5"}
    assert running.client("client2", ["send", "8", fill]).wait(90), running.log("client2")
    account = running.account(second, "second")
    assert (account["restored"], account["refused"], account["events"]) == (0, {}, 2)
    found = running.events()
    assert [e["kind"] for e in found] == ["parent", "order", "ack", "fill", "parent_done"]
    assert [e["seq"] - found[0]["seq"] for e in found] == [0, 1, 2, 3, 4]


def test_a_port_that_is_taken_and_a_store_that_is_held(running: Running, tmp_path: Path) -> None:
    running.acceptor("first")
    command = [
        sys.executable,
        "-m",
        "knightwatch",
        "accept",
        "fix",
        "--session",
        "BROKER=r1",
        "--port",
        str(running.port),
    ]
    command += ["--bootstrap", running.kafka, "--prefix", running.prefix, "--store"]
    for store, expected in (("store", "another acceptor"), ("elsewhere", "cannot listen on")):
        done = subprocess.run([*command, str(tmp_path / store)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert expected in done.stderr
