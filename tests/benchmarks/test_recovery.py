"""The kill storm: what it looks for, it finds; and a small storm on a broker of its own."""

import msgspec

from benchmarks.lab.storm import Beats, Stands, Watch
from halts.gate_state import Decision
from schemas.records import HaltRecord, Money, State
from tests.benchmarks.test_smoke import run


def record(scope: str, epoch: int, state: State, halt_id: str = "h1", by: str = "desk") -> HaltRecord:
    return HaltRecord(halt_id, epoch, scope, state, "block_and_cancel", 1, 2, (), "text", Money(), by)


def stands(*records: HaltRecord) -> Stands:
    return Stands(records, range(len(records)), Beats([]))


GOOD = (record("server:X", 1, "HALTING"), record("server:X", 2, "HALTED"))


def test_a_halt_ordered_again_by_the_next_desk_is_the_same_halt() -> None:
    found = stands(*GOOD[:1], record("server:X", 2, "HALTING"), record("server:X", 3, "HALTED"))
    assert found.doubled() == []
    assert found.opened() == []
    assert found.last() == {"server:X": "HALTED"}
    assert (found.first_ms("server:X", "HALTED"), found.first_ms("server:Y", "HALTED")) == (2, None)


def test_what_is_doubled() -> None:
    assert len(stands(*GOOD, GOOD[1]).doubled()) == 1, "an epoch twice"
    assert len(stands(*GOOD, record("server:X", 1, "HALTED")).doubled()) == 1, "an epoch goes back"
    assert len(stands(*GOOD, record("server:X", 3, "HALTING", "h2")).doubled()) == 1, "a second halt"
    assert stands(*GOOD, record("server:Y", 1, "HALTING", "h2")).doubled() == [], "another scope"


def test_what_is_opened() -> None:
    assert stands(record("server:X", 1, "WARNED"), *GOOD[1:]).opened() == []
    assert len(stands(*GOOD, record("server:X", 3, "RESUMING", by="ann")).opened()) == 1
    assert len(stands(*GOOD, record("server:X", 3, "WARNED")).opened()) == 1


class StubGate:
    """A gate that says what it is told to."""

    server = "X"

    def __init__(self) -> None:
        self.allowed, self.scopes = True, ()

    def may_send(self, **_: str) -> Decision:
        return Decision(self.allowed)

    def state(self) -> "StubGate":
        return self


class Closed(msgspec.Struct):
    """As ScopeSnapshot."""

    scope: str
    state: str


def test_a_gate_that_reopens_is_seen() -> None:
    watch, gate = Watch(), StubGate()

    def look(allowed: bool, *scopes: Closed) -> None:
        gate.allowed, gate.scopes = allowed, scopes  # type: ignore[assignment]
        watch.look("X", gate)  # type: ignore[arg-type]

    look(False)  # blind
    look(True)  # and well again: no halt was in it
    look(False, Closed("server:Y", "HALTED"))
    look(True)
    assert (watch.halted, watch.reopened) == ({}, [])
    look(False, Closed("server:X", "HALTING"))
    look(False)
    assert (watch.halted, watch.reopened) == ({"X": "server:X"}, [])
    look(True)
    assert [server for server, _, _ in watch.reopened] == ["X"]


def test_three_kills_lose_nothing() -> None:
    """Each victim once, on an embedded broker of its own."""
    found = run("recovery", "--kills", "3", "--servers", "4")
    assert {"kills", "lost_halts", "duplicate_halts", "max_gap_s"} <= found.keys()
    assert sorted(r["victim"] for r in found["rounds"]) == ["broker", "desk", "worker"]
    bad = ("lost_halts", "duplicate_halts", "reopened_gates", "opened_scopes", "false_halts", "workers_ended")
    assert {name: found[name] for name in bad} == dict.fromkeys(bad, 0), found["found"]
    assert found["looks_at_halted"] > 100
    assert all(r["halted_s"] is not None for r in found["rounds"])
