"""``knightwatch halt`` where something is in the way: garbage under the key, a router that nobody answers for."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from halts.config import DeskConfig
from halts.gate import HaltGate
from knightwatch.cli import run
from schemas.records import NodeState, encode
from schemas.topics import HALTS, NODES, topic_name
from tests.integration_gate.real_desk import RealDesk

pytestmark = pytest.mark.kafka

Command = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def knightwatch(kafka: str, topics: str, capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: str) -> tuple[int, Any, str]:
        who = [] if arguments[0] == "status" else ["--by", "anna"]
        code = run([*arguments, *who, "--bootstrap", kafka, "--prefix", topics, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.strip() else None, said.err

    return command


@pytest.fixture
def producer(kafka: str) -> Iterator[KafkaProducer]:
    found = KafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=0)
    yield found
    found.close(timeout=2)


@pytest.mark.parametrize("direct", [False, True])
def test_a_halt_over_garbage_under_a_halted_key_opens_the_other_scopes_again(
    direct: bool, kafka: str, topics: str, knightwatch: Command, producer: KafkaProducer,
    new_gate: Callable[..., HaltGate], wait: Callable[..., bool],
) -> None:  # fmt: skip
    desk = RealDesk(kafka, topics, DeskConfig(ack_timeout_ms=15_000), ("R1",))
    try:
        gate = new_gate()
        assert gate.wait_open(60)
        assert knightwatch("halt", "symbol:ABC", "--reason", "odd")[0] == 0
        assert gate.may_send(symbol="XYZ")
        producer.send(topic_name(HALTS, topics), key=b"symbol:ABC", value=b"garbage").get(30)
        assert wait(lambda: not gate.may_send(symbol="XYZ")), "what cannot be read closes the gate"
        code, said, error = knightwatch("halt", "symbol:ABC", "--reason", "repair", *(["--direct"] if direct else []))
        assert (code, said["state"] in ("HALTING", "HALTED")) == (0, True), error
        assert wait(lambda: gate.may_send(symbol="XYZ"))
        assert not gate.may_send(symbol="ABC")
    finally:
        desk.close()


def test_a_halt_of_a_router_that_nobody_answers_for_is_asked_about_first(
    kafka: str, topics: str, knightwatch: Command, producer: KafkaProducer, wait: Callable[..., bool]
) -> None:
    """It would halt the firm 500 ms later. The message says which routers there are."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics([NewTopic(topic_name(NODES, topics), 2, 1)])
    admin.close()
    desk = RealDesk(kafka, topics, DeskConfig(ack_timeout_ms=300), ("R1",))
    try:
        for server in ("R1", "R2"):
            value = encode(NodeState(server, time.time_ns(), "b", "c"))
            producer.send(topic_name(NODES, topics), key=server.encode(), value=value).get(30)
        code, said, error = knightwatch("halt", "server:R7", "--reason", "odd")
        assert (code, said) == (1, None)
        assert "no gate answers for server:R7 (heard lately: R1, R2)" in error
        assert "--force" in error
        assert knightwatch("status")[1]["scopes"] == []
        code, said, _ = knightwatch("halt", "server:R7", "--reason", "odd", "--force")
        assert (code, said["state"]) == (0, "HALTING")
        assert wait(lambda: {s["scope"] for s in knightwatch("status")[1]["scopes"]} == {"server:R7", "firm"})
    finally:
        desk.close()
