"""Worker, publisher, gate and operators over SASL_SSL, everything signed: the chain holds, and a forger opens nothing."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from msgspec.structs import replace

from halts.config import Config, trust_of
from halts.gate import HaltGate
from halts.signing import public_text, sign
from knightwatch import private_key
from knightwatch.cli import run
from knightwatch.config import load
from knightwatch.process import Child
from producers.publish import Publisher
from schemas.records import Ack, AuditRecord, Heartbeat, NodeState, decode, encode
from tests.integration_security.conftest import USERS, Secured

PEOPLE = {"ann": '["halt", "drill", "resume"]', "bob": '["halt", "approve"]'}


class Stack:
    """One worker, one router with its gate, and the keys of two operators and the desk."""

    def __init__(self, secured: Secured, folder: Path) -> None:
        self.secured, self.folder = secured, folder
        self.keys = {name: Ed25519PrivateKey.generate() for name in ("desk", *PEOPLE)}
        for name, key in self.keys.items():
            private_key.write_file(folder / f"{name}.pem", key)
        self.more = (
            f'[gate]\ndesk_keys = ["{public_text(self.keys["desk"].public_key())}"]\n[desk]\naudience = "test"\n'
            + "".join(
                f'[desk.operators.{name}]\npublic_key = "{public_text(self.keys[name].public_key())}"\nroles = {roles}\n'
                for name, roles in PEOPLE.items()
            )
        )
        self.config: Config = load(secured.toml("router", self.more))
        self.gate = HaltGate(
            secured.bootstrap, server="R1", cancel_all=lambda _: 0, working=lambda _: 0, trust=trust_of(self.config),
            kafka=secured.options("router"),
        )  # fmt: skip
        self.publisher = Publisher(secured.bootstrap, kafka=secured.options("router"))
        self.worker = self._worker()

    def _worker(self) -> Child:
        config = str(self.secured.toml("worker", self.more))
        desk_key, data = str(self.folder / "desk.pem"), str(self.folder / "data")
        command = [sys.executable, "-m", "knightwatch", "worker", "--config", config, "--desk-key", desk_key]
        return Child([*command, "--data", data], self.folder / "worker.log")

    def alive(self) -> None:
        """The node says so, as it does every second."""
        self.publisher.control(NodeState("R1", time.time_ns(), "b1", "c1", gate=self.gate.node_gate()))

    def until(self, done: Callable[[], object], what: str, timeout_s: float = 90.0) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            log = (self.folder / "worker.log").read_text()[-3_000:]
            assert time.monotonic() < end, f"{what} did not happen; the worker said:\n{log}"
            self.alive()
            time.sleep(0.2)

    def command(self, user: str, *words: str) -> int:
        return run([*words, "--config", str(self.secured.toml(user, self.more))])

    def close(self) -> None:
        self.gate.close()
        self.publisher.close()
        self.worker.kill()


@pytest.fixture(scope="module")
def stack(secured: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(secured, tmp_path_factory.mktemp("stack"))
    try:
        stack.gate.start()
        stack.until(lambda: stack.gate.is_open, "the gate open")
        yield stack
    finally:
        stack.close()


def read(secured: Secured, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(
        bootstrap_servers=secured.bootstrap, group_id=None, auto_offset_reset="earliest", **secured.options("viewer")
    )
    try:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        end, found = consumer.end_offsets([place])[place], []
        while consumer.position(place) < end:
            found += [r.value for records in consumer.poll(timeout_ms=500).values() for r in records if r.value]
        return found
    finally:
        consumer.close()


def decoded(values: list[bytes], kind: Any) -> list[Any]:
    return [decode(value, kind) for value in values if value != b"{}"]  # test_matrix was here


def test_an_operators_halt_goes_from_the_command_to_the_gate_and_back(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["halt", "firm", "--reason", "test", "--key", str(stack.folder / "ann.pem"), "--timeout", "60", "--json"]
    assert stack.command("operator", *said) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"] in ("HALTING", "HALTED"), found["by"]) == (True, "ann")
    stack.until(lambda: stack.gate.may_send(symbol="A").halt_id == found["halt_id"], "the block")
    acks = decoded(read(stack.secured, "acks"), Ack)
    assert "blocked" in {ack.status for ack in acks if ack.server == "R1" and ack.halt_id == found["halt_id"]}


def test_a_forger_who_may_write_to_halts_opens_nothing_and_is_told(stack: Stack) -> None:
    """The ACLs have failed: the forger has the credentials of break-glass, and an operator's key."""
    firm = stack.gate._state.records["firm"]
    opening = replace(firm, state="ACTIVE", epoch=firm.epoch + 1, by="ann", signature="", key_id="")
    forged = [
        opening,
        replace(opening, signature=firm.signature, key_id=firm.key_id),
        sign(opening, stack.keys["ann"], "test"),
        sign(opening, Ed25519PrivateKey.generate(), "test"),
        sign(opening, stack.keys["desk"], "another fleet"),
    ]
    options = stack.secured.options("break-glass")
    producer = KafkaProducer(bootstrap_servers=stack.secured.bootstrap, acks="all", linger_ms=0, **options)
    try:
        before = stack.gate.state().counters["untrusted"]
        for record in forged:
            producer.send("halts", key=b"firm", value=encode(record), partition=0).get(20)
            beat = Heartbeat(time.time_ns(), 10**9, generation=10**6)
            producer.send("halts", key=b"_heartbeat", value=encode(beat), partition=0).get(20)
        wanted = before + 2 * len(forged)
        stack.until(lambda: stack.gate.state().counters["untrusted"] >= wanted, "the refusal of every forged record")
    finally:
        producer.close(timeout=5)
    assert not stack.gate.may_send(symbol="A", reducing=True)
    assert stack.gate.state().generation < 10**6
    assert "firm" in stack.gate.state().undecodable

    def told() -> bool:
        refused = [a for a in decoded(read(stack.secured, "acks"), Ack) if a.status == "refused" and a.server == "R1"]
        return {"firm", "_heartbeat"} <= {a.scope for a in refused} and all(a.reason for a in refused)

    stack.until(told, "the refusals on acks")

    def audited() -> bool:
        return any(r.kind == "record_refused" for r in decoded(read(stack.secured, "audit"), AuditRecord))

    stack.until(audited, "the refusals in the audit")


def test_with_every_worker_dead_break_glass_still_halts_and_others_cannot(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.worker.kill()
    halt = ["halt", "symbol:XYZ", "--direct", "--reason", "worker dead"]
    assert stack.command("operator", *halt, "--key", str(stack.folder / "ann.pem")) == 1
    assert "TopicAuthorizationFailed" in capsys.readouterr().err
    assert stack.command("break-glass", *halt, "--key", str(stack.folder / "bob.pem")) == 0
    stack.until(lambda: "symbol:XYZ" in {s.scope for s in stack.gate.state().scopes}, "the direct halt")
    assert stack.command("operator", "status", "--json") == 0
    scopes = {s["scope"]: s for s in json.loads(capsys.readouterr().out.splitlines()[-1])["scopes"]}
    assert (scopes["symbol:XYZ"]["state"], scopes["symbol:XYZ"]["by"]) == ("HALTING", "bob")


def test_no_secret_is_in_a_log_a_record_or_a_configuration_file(stack: Stack) -> None:
    secured = stack.secured
    secrets = [secured.password(user) for user in USERS]
    texts = [path.read_text() for path in secured.folder.glob("*.toml")]
    texts += [(stack.folder / "worker.log").read_text(), secured.kafka.tail(1_000_000), repr(secured.options("worker"))]
    texts += [
        value.decode(errors="replace")
        for topic in ("audit", "acks", "commands", "halts")
        for value in read(secured, topic)
    ]
    found = [secret for text in texts for secret in secrets if secret in text]
    assert not found


def test_a_worker_whose_key_no_gate_believes_does_not_start(
    secured: Secured, tmp_path: Path, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.command("worker", "worker") == 1
    assert "gate.desk_keys: found no desk key" in capsys.readouterr().err
    private_key.write_file(tmp_path / "other.pem", Ed25519PrivateKey.generate())
    assert stack.command("worker", "worker", "--desk-key", str(tmp_path / "other.pem")) == 1
    assert "expected one of the 1 listed" in capsys.readouterr().err
