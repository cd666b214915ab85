"""Operators with keys against a real Kafka, the real desk engine and a real gate: what is refused, and that it is told."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from msgspec.structs import replace

from halts import audit
from halts.config import Config, parse
from halts.gate import HaltGate
from halts.signing import public_text, sign
from knightwatch import private_key
from knightwatch.cli import run
from schemas.records import AuditRecord, Command, decode, encode
from schemas.topics import AUDIT, COMMANDS, topic_name
from tests.integration_gate.real_desk import RealDesk

pytestmark = pytest.mark.kafka

KEYS = {name: Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i, name in enumerate(("ann", "bob", "mal"), 1)}
ROLES = {"ann": ["halt", "resume", "approve", "config"], "bob": ["resume", "approve"], "mal": ["halt"]}
AUDIENCE = "test fleet"


class Fleet:
    """A desk that knows three operators, one gate, and every way to say something to the desk."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bootstrap, self.prefix, self.capsys = bootstrap, prefix, capsys
        self.file = folder / "desk.toml"
        people = "\n".join(
            f'[desk.operators.{name}]\npublic_key = "{public_text(KEYS[name].public_key())}"\n'
            f"roles = {json.dumps(roles)}"
            for name, roles in ROLES.items()
        )
        self.file.write_text(
            f'[desk]\naudience = "{AUDIENCE}"\ncool_off_ms = 0\nresume_stage_ms = 1500\nack_timeout_ms = 15000\n{people}\n'
            "[gate]\nfail_closed_after_ms = 30000\n"
        )
        self.keys = folder / "keys"
        for name, key in KEYS.items():
            private_key.write_file(self.keys / f"{name}.pem", key)
        self.config: Config = parse(self.file.read_text(), str(self.file))
        self.producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
        self.desk = RealDesk(bootstrap, prefix, self.config.desk, ("R1",))
        self.ids = 0

    def run(self, *arguments: str) -> tuple[int, Any, str]:
        """A command of the command line, as JSON."""
        code = run(
            [*arguments, "--bootstrap", self.bootstrap, "--prefix", self.prefix, "--config", str(self.file), "--json"]
        )
        said = self.capsys.readouterr()
        return code, json.loads(said.out) if said.out.strip() else None, said.err

    def send(self, command: Command) -> Command:
        """Straight to the topic, as somebody would who may write there."""
        name = topic_name(COMMANDS, self.prefix)
        self.producer.send(name, key=command.scope.encode(), value=encode(command), partition=0).get(30)
        return command

    def command(self, verb: Any, by: str, epoch: int, **other: Any) -> Command:
        self.ids += 1
        fields = {"ts": time.time_ns(), "scope": "server:R1", "reason": "found it", "epoch": epoch, **other}
        return Command(command_id=f"x{self.ids}", verb=verb, by=by, **fields)

    def signed(self, verb: Any, by: str, epoch: int, key: str = "", **other: Any) -> Command:
        return sign(self.command(verb, by, epoch, **other), KEYS[key or by], AUDIENCE)

    def audit(self) -> list[bytes]:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", group_id=None)
        try:
            place = TopicPartition(topic_name(AUDIT, self.prefix), 0)
            consumer.assign([place])
            end = consumer.end_offsets([place])[place]
            found: list[bytes] = []
            while consumer.position(place) < end:
                for records in consumer.poll(timeout_ms=100).values():
                    found += [r.value for r in records]
            return found
        finally:
            consumer.close()

    def told(self, kind: str, command: Command, timeout_s: float = 60.0) -> dict[str, Any]:
        """What ``audit`` says of ``command`` in a record of this kind."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for value in reversed(self.audit()):
                record = decode(value, AuditRecord)
                if record.kind == kind and record.body["command"]["command_id"] == command.command_id:
                    return record.body
            time.sleep(0.05)
        raise AssertionError(f"audit has no {kind} of {command}")

    def close(self) -> None:
        self.desk.close()
        self.producer.close(timeout=2)


@pytest.fixture
def fleet(
    kafka: str, topics: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    found = Fleet(kafka, topics, tmp_path, capsys)
    monkeypatch.setenv(private_key.FOLDER_VARIABLE, str(found.keys))
    for name in (private_key.KEY_VARIABLE, private_key.KEY_FILE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    yield found
    found.close()


def halted(fleet: Fleet, new_gate: Callable[..., HaltGate]) -> tuple[HaltGate, int]:
    gate = new_gate()
    assert gate.wait_open(60)
    code, said, error = fleet.run("halt", "server:R1", "--reason", "odd", "--by", "mal")
    assert (code, said["state"], said["by"]) == (0, "HALTED", "mal"), error
    return gate, said["epoch"]


def test_what_is_not_an_operators_word_is_refused_and_told(fleet: Fleet, new_gate: Callable[..., HaltGate]) -> None:
    gate, epoch = halted(fleet, new_gate)
    changed = replace(fleet.signed("resume", "ann", epoch, scope="symbol:A"), scope="server:R1")
    refused = {
        "is not signed": fleet.command("resume", "ann", epoch),
        "is wrong: it was changed": changed,
        "not configured here": sign(
            fleet.command("resume", "ann", epoch), Ed25519PrivateKey.from_private_bytes(bytes(32)), AUDIENCE
        ),
        "for another fleet": sign(fleet.command("resume", "ann", epoch), KEYS["ann"], "another fleet"),
        "the key is that of 'bob'": fleet.signed("resume", "ann", epoch, key="bob"),
        "mal may not ask for a resume": fleet.signed("resume", "mal", epoch),
        "ann may not reopen alone": fleet.signed("resume", "ann", epoch, emergency=True),
        "stale: it answers epoch": fleet.signed("resume", "ann", epoch - 2),
        "stale: it was given": fleet.signed("resume", "ann", epoch, ts=time.time_ns() - 10**12),
    }
    for why, command in refused.items():
        fleet.send(command)
        assert why in fleet.told("refused", command)["problem"]
    for command in refused.values():  # once more, in case one of them had been half taken
        fleet.send(command)
    assert not gate.may_send(symbol="A", reducing=True)
    assert fleet.desk._desk.ledger.scope("server:R1").request is None
    assert audit.verify(fleet.audit(), audit.Chain()) is None


def test_a_replayed_resume_does_nothing_for_the_next_halt(fleet: Fleet, new_gate: Callable[..., HaltGate]) -> None:
    gate, epoch = halted(fleet, new_gate)
    ask = fleet.send(fleet.signed("resume", "ann", epoch))
    agree = fleet.send(fleet.signed("approve", "bob", epoch, approves=ask.command_id))
    fleet.told("command", agree)
    assert gate.wait_open(60)
    assert fleet.run("halt", "server:R1", "--reason", "again", "--by", "mal")[0] == 0
    for command in (ask, agree):
        fleet.send(command)
        fleet.told("repeated", command)
    assert not gate.may_send(symbol="A", reducing=True)
    assert fleet.desk._desk.ledger.scope("server:R1").request is None


def test_two_people_with_their_keys_reopen(fleet: Fleet, new_gate: Callable[..., HaltGate], wait: Any) -> None:
    gate, _ = halted(fleet, new_gate)
    code, _, error = fleet.run("resume", "server:R1", "--reason", "mended", "--by", "nobody")
    assert (code, "there is no private key of nobody" in error) == (1, True)
    code, asked, error = fleet.run("resume", "server:R1", "--reason", "mended", "--by", "ann")
    assert (code, asked["desk"]) == (0, "requested"), error
    code, _, error = fleet.run(
        "approve", "server:R1", "--reason", "yes", "--by", "bob", "--key", str(fleet.keys / "ann.pem")
    )
    assert (code, "the key is that of 'ann'" in error) == (1, True)
    code, _, error = fleet.run("approve", "server:R1", "--reason", "yes", "--key", str(fleet.keys / "ann.pem"))
    assert (code, "another person must approve" in error) == (1, True)
    code, done, error = fleet.run("approve", "server:R1", "--reason", "seen", "--key", str(fleet.keys / "bob.pem"))
    assert (code, done["state"], done["by"]) == (0, "RESUMING", "ann, bob"), error
    assert gate.wait_open(60)


def test_a_private_key_that_others_can_read_is_not_used(fleet: Fleet) -> None:
    path = fleet.keys / "ann.pem"
    os.chmod(path, 0o640)
    code, _, error = fleet.run("halt", "firm", "--reason", "x", "--by", "ann")
    assert (code, "mode 0640: others can read it" in error) == (1, True)
    assert "PRIVATE" not in error


def test_settings_are_commands_too(fleet: Fleet, tmp_path: Path) -> None:
    text = fleet.file.read_text()
    tighter, looser = tmp_path / "tighter.toml", tmp_path / "looser.toml"
    tighter.write_text(text.replace("ack_timeout_ms = 15000", "ack_timeout_ms = 9000"))
    looser.write_text(text.replace("ack_timeout_ms = 15000", "ack_timeout_ms = 19000"))
    code, asked, error = fleet.run("config", "propose", str(fleet.file), "--reason", "as it runs", "--by", "ann")
    assert (code, asked["desk"]) == (0, "requested"), error
    code, done, error = fleet.run("config", "approve", asked["command_id"], "--reason", "seen", "--by", "bob")
    assert (code, done["desk"], done["version"]) == (0, "approved", 1), error
    code, done, error = fleet.run("config", "propose", str(tighter), "--reason", "faster", "--by", "ann")
    assert (code, done["desk"], done["version"]) == (0, "approved", 2), error
    code, found, _ = fleet.run("config", "diff", str(looser))
    assert (code, found["loosens"]) == (0, ["desk.ack_timeout_ms"])
    code, done, error = fleet.run("config", "propose", str(looser), "--reason", "slower", "--by", "ann")
    assert (code, done["desk"], done["version"]) == (0, "requested", 2), error
    code, shown, _ = fleet.run("config", "show")
    assert (code, shown["version"], shown["values"]["desk.ack_timeout_ms"]) == (0, 2, 9000)
    assert [p["id"] for p in shown["proposals"]] == [done["command_id"]]


def test_audit_is_verified_and_exported(fleet: Fleet, new_gate: Callable[..., HaltGate], tmp_path: Path) -> None:
    halted(fleet, new_gate)
    fleet.told("refused", fleet.send(fleet.command("resume", "<b>mal</b>", 1, reason="<script>alert(1)</script>")))
    code, found, error = fleet.run("audit", "verify")
    assert (code, found["intact"], found["from_the_beginning"]) == (0, True, True), error
    code, done, error = fleet.run("audit", "export", "server:R1", "--out", str(tmp_path / "out"))
    assert code == 0, error
    pack = json.loads(Path(done["files"][0]).read_text())
    kinds = [entry["kind"] for entry in pack["timeline"]]
    assert (kinds[0], pack["state"]) == ("command", "HALTED")
    assert {"transition", "ack"} <= set(kinds)
    assert [(p["name"], p["did"], len(p["key_ids"])) for p in pack["people"] if p["name"] == "mal"] == [
        ("mal", ["halt (odd)"], 1)
    ]
    page = Path(done["files"][1]).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    fleet.producer.send(topic_name(AUDIT, fleet.prefix), value=fleet.audit()[1].replace(b"odd", b"new")).get(30)
    code, found, _ = fleet.run("audit", "verify")
    assert (code, found["intact"], found["offset"]) == (1, False, found["records"] - 1)
    code, _, error = fleet.run("audit", "export", "feedfeedfeedfeed")
    assert (code, "audit holds no halt 'feedfeedfeedfeed'; the latest are" in error) == (1, True)
