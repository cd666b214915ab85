"""``knightwatch drill`` against a real Kafka, the real desk engine and real gates: measured, restored, on record."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from halts.config import DeskConfig
from halts.gate import HaltGate
from knightwatch.cli import run
from tests.integration_gate.real_desk import RealDesk

pytestmark = pytest.mark.kafka

NewGate = Callable[..., HaltGate]
Wait = Callable[..., bool]
PATIENT = DeskConfig(ack_timeout_ms=15_000, drill_ms_max=60_000)
"""Every gate answers: a busy machine may take its time."""
QUICK = DeskConfig(ack_timeout_ms=500, drill_ms_max=3_000)
"""One gate does not answer, and the test waits for the end of it."""


@pytest.fixture
def drill(kafka: str, topics: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any, str]]:
    """Runs ``knightwatch drill ... --json``: exit code, the document, stderr."""

    def command(*arguments: str) -> tuple[int, Any, str]:
        code = run(
            ["drill", *arguments, "--timeout", "60", "--by", "anna", "--bootstrap", kafka, "--prefix", topics, "--json"]
        )
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.strip() else None, said.err

    return command


@pytest.fixture
def desk_of_two(kafka: str, topics: str, request: pytest.FixtureRequest) -> Iterator[RealDesk]:
    made = RealDesk(kafka, topics, getattr(request, "param", PATIENT), ("R1", "R2"))
    yield made
    made.close()


def test_a_drill_is_measured_restored_and_on_record(
    drill: Callable[..., Any], desk_of_two: RealDesk, new_gate: NewGate, wait: Wait
) -> None:
    seen: list[bool] = []
    gate = new_gate(on_change=lambda snapshot: seen.append(snapshot.open))
    assert gate.wait_open(60)
    seen.clear()
    code, said, _ = drill("server:R1", "--reason", "before the open")
    assert code == 0, said
    assert said["passed"]
    assert said["state"] == "ACTIVE"
    assert said["result"] == "drill over: confirmed by every gate concerned"
    assert [g["server"] for g in said["gates"]] == ["R1"]
    assert 0 < said["blocked_ms"] <= said["confirmed_ms"] <= said["restored_ms"]
    assert wait(lambda: gate.is_open), "restored"
    assert wait(lambda: seen[-1:] == [True])
    assert seen[0] is False, "the gate really was closed"


def test_every_gate_answers_for_a_scope_that_all_have(
    drill: Callable[..., Any], desk_of_two: RealDesk, new_gate: NewGate
) -> None:
    for server in ("R1", "R2"):
        assert new_gate(server=server).wait_open(60)
    code, said, _ = drill("account:NONE")
    assert code == 0, said
    assert [(g["server"], g["status"]) for g in said["gates"]] == [("R1", "confirmed"), ("R2", "confirmed")]


def test_a_name_that_no_gate_answers_for_is_refused_and_nothing_is_halted(
    drill: Callable[..., Any], desk_of_two: RealDesk, new_gate: NewGate
) -> None:
    gate = new_gate()
    assert gate.wait_open(60)
    code, said, error = drill("server:R9")
    assert code == 1
    assert said["halt_id"] == ""
    assert "the desk refused: no gate answers for server:R9" in error
    assert "R1, R2" in error
    assert gate.is_open
    assert gate.state().scopes == ()


@pytest.mark.parametrize("desk_of_two", [QUICK], indirect=True, ids=["quick"])
def test_a_gate_that_does_not_answer_fails_the_drill_and_halts_nothing_more(
    drill: Callable[..., Any], desk_of_two: RealDesk, new_gate: NewGate
) -> None:
    gate = new_gate()
    assert gate.wait_open(60)
    code, said, error = drill("server:R2")  # its node reports, its gate is dead
    assert code == 1
    assert said["state"] == "ACTIVE"
    assert "not confirmed: R2" in error
    assert gate.is_open, "the firm goes on"
