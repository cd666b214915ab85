"""The fold: what gates, the desk and routers said, as people see it."""

import pytest

from knightwatch.web.story import Story
from schemas.records import Ack, AuditRecord, FeatureRow, Gate, Heartbeat, Money, NodeState, Source, encode
from schemas.scopes import CANARY
from schemas.topics import HEARTBEAT_KEY

from .records import T, halt, value

S = 1_000_000_000


def told(story: Story, *records: object) -> None:
    """``halts`` holds ``records`` in this order."""
    start = story.state.next_offset or 0
    for i, record in enumerate(records):
        key = HEARTBEAT_KEY if isinstance(record, Heartbeat) else record.scope  # type: ignore[attr-defined]
        story.halt(start + i, key.encode(), encode(record), 10 * S, T)  # type: ignore[arg-type]


def ack(status: str, ts: int, working: int = 0, server: str = "R3", orders: tuple[str, ...] = ()) -> bytes:
    return value(Ack(server, ts, "id-server:R3", "server:R3", 1, status, working, orders))  # type: ignore[arg-type]


def audit(n: int, kind: str, body: dict[str, object], generation: int = 1) -> bytes:
    return value(AuditRecord(n, "0" * 64, kind, body, generation))


@pytest.fixture
def story() -> Story:
    story = Story()
    story.state.connected(0, 0)
    return story


def test_dispatched_acknowledged_and_effective_are_apart(story: Story) -> None:
    told(story, halt())
    (line,) = story.picture(10 * S, T, True).scopes["server:R3"].gates
    assert (line.server, line.status, line.blocked_ts) == ("R3", "", 0), "dispatched, and nobody has answered"
    story.ack(ack("blocked", T + 20_000_000))
    story.ack(ack("cancelling", T + 25_000_000, 4))
    (line,) = story.picture(10 * S, T, True).scopes["server:R3"].gates
    assert (line.status, line.blocked_ts, line.working, line.confirmed_ts) == ("cancelling", T + 20_000_000, 4, 0)
    story.ack(ack("confirmed", T + 900_000_000))
    story.ack(ack("cancelling", T + 950_000_000, 9))
    (line,) = story.picture(10 * S, T, True).scopes["server:R3"].gates
    assert (line.status, line.working, line.confirmed_ts) == ("confirmed", 0, T + 900_000_000)


def test_the_probe_of_the_kill_path_is_not_shown(story: Story) -> None:
    told(story, halt(), halt(CANARY, state="HALTED"))
    story.ack(value(Ack("_canary", T, f"id-{CANARY}", CANARY, 1, "confirmed")))
    story.audit(audit(1, "transition", {"record": {"scope": CANARY, "state": "HALTED", "text": "x."}, "gates": {}}), 5)
    picture = story.picture(10 * S, T, True)
    assert set(picture.scopes) == {"server:R3"}
    assert picture.entries == ()


def test_a_halt_counts_from_its_order_not_from_its_confirmation(story: Story) -> None:
    told(story, halt(), halt(state="HALTED", epoch=2, ts_decided=T + 3 * S))
    scope = story.picture(10 * S, T, True).scopes["server:R3"]
    assert scope.state == "HALTED"
    assert scope.since_ts == T + 1
    told(story, halt(state="RESUMING", epoch=3, ts_decided=T + 9 * S, by="ann, bob"))
    assert story.picture(10 * S, T, True).scopes["server:R3"].since_ts == T + 9 * S


def test_the_order_is_known_from_the_audit_when_halts_was_compacted(story: Story) -> None:
    told(story, halt(state="HALTED", epoch=2, ts_decided=T + 3 * S))
    body = {"record": {"halt_id": "id-server:R3", "scope": "server:R3", "state": "HALTING", "ts_decided": T, "text": "x"},
            "gates": {"R3": {}, "R4": {}}}  # fmt: skip
    story.audit(audit(0, "transition", body), 1)
    scope = story.picture(10 * S, T, True).scopes["server:R3"]
    assert scope.since_ts == T
    assert [g.server for g in scope.gates] == ["R3", "R4"]


def test_the_worst_comes_first_and_a_calm_firm_has_none(story: Story) -> None:
    assert story.picture(10 * S, T, True).worst == ""
    for name in ("R10", "R2"):
        story.node(value(NodeState(name, T, "b", "c", gate=Gate("ACTIVE"))), 10 * S)
    assert story.picture(10 * S, T, True).worst == ""
    told(story, halt("symbol:ACME", "WARNED"), halt(state="HALTED", epoch=2), halt("firm", "HALTED"), halt("server:R9"))
    picture = story.picture(10 * S, T, True)
    assert picture.order == ("server:R9", "firm", "server:R3", "symbol:ACME", "server:R2", "server:R10")
    assert picture.worst == "server:R9"
    assert picture.count("HALTED", "HALTING") == 3


def test_a_request_stands_until_it_is_answered(story: Story) -> None:
    told(story, halt(state="HALTED"))
    request = {"command_id": "c1", "by": "ann", "key_id": "k", "reason": "fixed", "asked_at": 5}
    story.audit(audit(0, "request", {"scope": "server:R3", "request": request}), 1)
    asked = story.picture(10 * S, T, True).scopes["server:R3"].request
    assert asked is not None
    assert (asked.by, asked.reason) == ("ann", "fixed")
    told(story, halt(state="RESUMING", epoch=2, by="ann, bob"))
    assert story.picture(10 * S, T, True).scopes["server:R3"].request is None


def test_what_the_desk_publishes_again_is_told_once(story: Story) -> None:
    body = {"command": {"verb": "halt", "by": "ann", "reason": "odd", "scope": "firm"}}
    for n, generation in ((0, 1), (1, 1), (0, 1), (1, 1), (0, 0)):
        story.audit(audit(n, "command", body, generation), 1)
    assert len(story.picture(10 * S, T, True).entries) == 2


def test_a_gate_that_is_not_believed_is_marked(story: Story) -> None:
    told(story, halt())
    story.audit(audit(0, "no_ack", {"scope": "server:R3", "server": "R3", "why": "no_ack"}), 1)
    (line,) = story.picture(10 * S, T, True).scopes["server:R3"].gates
    assert line.distrusted == "no_ack"


def test_freshness_is_that_of_the_worse_clock(story: Story) -> None:
    assert story.picture(10 * S, T, True).beat_age_ms is None
    told(story, Heartbeat(T, 1))
    picture = story.picture(10 * S + 300_000_000, T + 300_000_000, True)
    assert picture.alive
    assert picture.beat_age_ms == 300
    old = story.picture(10 * S + 300_000_000, T + 9 * S, True)
    assert old.beat_age_ms == 8_500, "a heartbeat that is old by its own stamp is old, whenever it was read"
    assert not story.picture(10 * S + 3 * S, T + 3 * S, True).alive
    assert not story.picture(10 * S, T, False).alive


def test_garbage_changes_nothing_but_says_so(story: Story) -> None:
    for take in (story.ack, lambda v: story.audit(v, 1), lambda v: story.node(v, 1)):
        take(b"{")
        take(None)
    assert story.undecodable == 6
    story.halt(0, b"server:R3", b"{", 1, T)
    picture = story.picture(10 * S, T, True)
    assert "'server:R3'" in picture.trouble
    assert picture.scopes == {}


def test_a_router_is_silent_after_three_seconds_and_its_money_is_gone(story: Story) -> None:
    story.node(value(NodeState("R1", T, "b", "c", gate=Gate("ACTIVE"))), 10 * S)
    row = FeatureRow("R1", T, 1, {}, {}, Source("orderflow", 0, 1), Money(12.5, 1.0, 99.0))
    story.verdict(b"R1", value(row), 10 * S)
    scope = story.picture(11 * S, T, True).scopes["server:R1"]
    assert not scope.silent
    assert scope.live == Money(12.5, 1.0, 99.0)
    late = story.picture(14 * S, T, True).scopes["server:R1"]
    assert late.silent
    assert late.live is None
