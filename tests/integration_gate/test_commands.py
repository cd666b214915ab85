"""The operator's commands against a real Kafka, the real desk engine and real gates."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from halts.config import DeskConfig
from halts.gate import HaltGate
from knightwatch.cli import run
from schemas.records import encode
from tests.integration_gate.real_desk import RealDesk

pytestmark = pytest.mark.kafka

NewGate = Callable[..., HaltGate]
Wait = Callable[..., bool]
QUICK = DeskConfig(cool_off_ms=0, resume_stage_ms=1_500, ack_timeout_ms=15_000)
"""No wait that a test has to sit out, and none that a busy machine runs into."""


@pytest.fixture
def knightwatch(kafka: str, topics: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any, str]]:
    """Runs a command with --json; exit code, the document on stdout (None if there is none), stderr."""

    def command(*arguments: str) -> tuple[int, Any, str]:
        patient = ["--timeout", "60"] if arguments[0] in ("halt", "resume", "approve") else []
        code = run([arguments[0], *patient, *arguments[1:], "--bootstrap", kafka, "--prefix", topics, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.strip() else None, said.err

    return command


@pytest.fixture
def new_desk(kafka: str, topics: str) -> Iterator[Callable[..., RealDesk]]:
    desks: list[RealDesk] = []

    def make(*nodes: str, config: DeskConfig = QUICK) -> RealDesk:
        desks.append(RealDesk(kafka, topics, config, nodes))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


def test_halt_resume_by_two_people(
    knightwatch: Callable[..., Any], new_desk: Callable[..., RealDesk], new_gate: NewGate, wait: Wait
) -> None:
    new_desk("R1", "R2")
    orders = {"A", "B"}
    one = new_gate(server="R1", cancel_all=lambda h: orders.clear(), working=lambda h: set(orders))
    two = new_gate(server="R2")
    assert one.wait_open(60)
    assert two.wait_open(60)
    code, said, _ = knightwatch("halt", "firm", "--reason", "runaway in XYZ", "--by", "anna")
    assert code == 0
    assert (said["effective"], said["state"], said["by"], said["already"]) == (True, "HALTED", "anna", False)
    assert {g["server"]: g["status"] for g in said["gates"]} == {"R1": "confirmed", "R2": "confirmed"}
    assert 0 < said["effect_ms"] < 60_000
    assert one.may_send(symbol="ABC").halt_id == said["halt_id"]
    assert not orders
    code, again, _ = knightwatch("halt", "firm", "--reason", "once more", "--by", "anna")
    assert (code, again["already"], again["halt_id"]) == (0, True, said["halt_id"])

    code, asked, _ = knightwatch("resume", "firm", "--reason", "R8 was taken out", "--by", "anna")
    assert (code, asked["desk"], asked["state"]) == (0, "requested", "HALTED")
    assert not one.may_send(symbol="ABC", reducing=True)
    code, status, _ = knightwatch("status")
    assert code == 0
    assert status["scopes"][0]["resume_asked"]["id"] == asked["command_id"]
    code, own, error = knightwatch("approve", "firm", "--reason", "yes", "--by", "Anna")
    assert (code, own["effective"]) == (1, False)
    assert "another person" in error
    code, done, _ = knightwatch("approve", "firm", "--reason", "checked", "--by", "bert")
    assert (code, done["effective"], done["state"]) == (0, True, "RESUMING")
    assert wait(lambda: one.may_send(symbol="ABC", reducing=True))
    assert one.wait_open(60)
    assert two.wait_open(60)
    code, status, _ = knightwatch("status")
    assert (status["desk"]["alive"], status["gates"]["open"]) == (True, True)
    assert [(s["scope"], s["state"], s["resume_asked"]) for s in status["scopes"]] == [("firm", "ACTIVE", None)]


def test_a_symbol_reopens_by_one_person_and_an_approve_may_name_the_request(
    knightwatch: Callable[..., Any], new_desk: Callable[..., RealDesk], new_gate: NewGate, wait: Wait
) -> None:
    new_desk("R1")
    gate = new_gate()
    assert gate.wait_open(60)
    assert knightwatch("halt", "symbol:ABC", "--reason", "odd", "--by", "anna")[0] == 0
    code, said, _ = knightwatch("resume", "symbol:ABC", "--reason", "was nothing", "--by", "anna")
    assert (code, said["state"]) == (0, "RESUMING")
    assert wait(lambda: gate.may_send(symbol="ABC"))
    assert knightwatch("halt", "server:R1", "--reason", "odd", "--by", "anna")[0] == 0
    code, said, _ = knightwatch("resume", "server:R1", "--reason", "was nothing", "--by", "anna")
    assert said["desk"] == "requested"
    assert knightwatch("approve", said["command_id"], "--reason", "agreed", "--by", "bert")[0] == 0


def test_without_a_desk_a_halt_says_so_and_the_direct_one_works(
    knightwatch: Callable[..., Any], new_desk: Callable[..., RealDesk], new_gate: NewGate, desk: Any, wait: Wait
) -> None:
    gate = new_gate(fail_closed_after_ms=20_000)
    assert gate.wait_open(60)
    desk.say("firm", "WARNED")
    desk.beating.clear()
    code, said, error = knightwatch("halt", "firm", "--reason", "runaway", "--by", "anna", "--timeout", "1")
    assert (code, said["effective"], said["state"]) == (1, False, "WARNED")
    assert "--direct" in error
    assert gate.is_open
    code, said, _ = knightwatch("halt", "firm", "--reason", "runaway", "--by", "anna", "--direct")
    assert (code, said["effective"], said["state"], said["epoch"]) == (0, True, "HALTING", 2)
    assert wait(lambda: not gate.is_open)
    assert gate.may_send(symbol="ABC").halt_id == said["halt_id"]
    assert [(g["server"], g["status"]) for g in said["gates"]] == [("R1", "confirmed")]
    code, again, _ = knightwatch("halt", "firm", "--reason", "again", "--by", "anna", "--direct")
    assert (code, again["halt_id"]) == (0, said["halt_id"])
    new_desk("R1", config=QUICK)
    assert wait(lambda: gate.state().generation == 2)
    assert not gate.is_open, "a desk that comes back takes the halt over"
    assert wait(lambda: knightwatch("status")[1]["scopes"][0]["state"] == "HALTED")
    assert knightwatch("resume", "firm", "--reason", "fixed", "--by", "anna")[1]["desk"] == "requested"
    assert knightwatch("approve", "firm", "--reason", "seen", "--by", "bert")[0] == 0
    assert gate.wait_open(60)


def test_a_direct_halt_beside_a_living_desk_holds_and_can_be_resumed(
    knightwatch: Callable[..., Any], new_desk: Callable[..., RealDesk], new_gate: NewGate, wait: Wait
) -> None:
    new_desk("R1")
    gate = new_gate()
    assert gate.wait_open(60)
    assert knightwatch("halt", "firm", "--reason", "runaway", "--by", "anna", "--direct")[0] == 0
    assert wait(lambda: knightwatch("status")[1]["scopes"][0]["state"] == "HALTED")
    assert not gate.is_open
    assert knightwatch("resume", "firm", "--reason", "fixed", "--by", "anna")[1]["desk"] == "requested"
    assert knightwatch("approve", "firm", "--reason", "seen", "--by", "bert")[0] == 0
    assert gate.wait_open(60)


def test_status_reads_halts_with_every_worker_dead(knightwatch: Callable[..., Any], desk: Any) -> None:
    desk.beating.clear()
    desk.say("server:R3", "HALTING")
    desk.say("server:R3", "HALTED")
    desk.say("symbol:ABC", "ACTIVE")
    desk.put("symbol:XYZ", b"?").get(30)
    code, said, _ = knightwatch("status")
    assert code == 0
    assert [(s["scope"], s["state"]) for s in said["scopes"]] == [("server:R3", "HALTED"), ("symbol:ABC", "ACTIVE")]
    assert list(said["undecodable"]) == ["symbol:XYZ"]
    assert said["gates"]["open"] is False
    assert said["desk"]["alive"] is False


def test_status_for_people(kafka: str, topics: str, desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--bootstrap", kafka, "--prefix", topics]) == 0
    assert "nothing is halted" in capsys.readouterr().out
    record = desk.say("firm", "HALTING", text="R3 sends orders without a parent")
    assert run(["status", "--bootstrap", kafka, "--prefix", topics]) == 0
    assert record.text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["halt", "everything", "--reason", "x"], "firm"), (["halt", "firm", "--reason", " "], "--reason"),
     (["resume", "firm", "--reason", "x"], "nothing to resume"), (["approve", "firm", "--reason", "x"], "no resume"),
     (["approve", "abc123", "--reason", "x"], "no resume"), (["drill", "server:", "--reason", "x"], "server:")],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_a_reason_and_nothing_is_sent(
    knightwatch: Callable[..., Any], arguments: list[str], message: str, desk: Any
) -> None:
    code, said, error = knightwatch(*arguments)
    assert (code, said) == (1, None)
    assert message in error
    assert knightwatch("status")[1]["scopes"] == []


def test_garbage_on_commands_is_read_over(knightwatch: Callable[..., Any], desk: Any, topics: str) -> None:
    desk.producer.send(topics + "commands", key=b"firm", value=b"?").get(30)
    desk.producer.send(topics + "commands", key=b"firm", value=encode(desk.say("firm", "HALTING"))).get(30)
    assert knightwatch("status")[0] == 0


def test_no_broker_and_no_topic_say_what_to_do(kafka: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--bootstrap", "127.0.0.1:9"]) == 1
    assert "--bootstrap" in capsys.readouterr().err
    assert run(["status", "--bootstrap", kafka, "--prefix", "nowhere-"]) == 1
    assert "knightwatch topics" in capsys.readouterr().err
