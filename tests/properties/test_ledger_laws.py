"""Laws of the ledger alone: pure, a fold of its events, latched, bounded."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halts.config import DeskConfig
from halts.draft import Draft
from halts.evolve import evolve
from halts.ledger import decide
from halts.policy import Judgement
from halts.state import Event, Flow, LedgerState, Moved, NodeAlive, Said, ScopeState, TimePasses, Touch
from schemas.records import Ack, Cause, Command, FirstEvent, HaltRecord, Money
from schemas.units import MS_NS

CONFIG = DeskConfig(
    cool_off_ms=100, resume_stage_ms=300, warn_quiet_ms=300, ack_timeout_ms=200, request_ttl_ms=900,
    scopes_max=4, nodes_max=3, commands_max=5, causes_max=3,
)  # fmt: skip
SERVERS = ("R1", "R2", "R3", "R4")
SCOPES = ("firm", "server:R1", "server:R2", "server:R3", "symbol:A", "symbol:B", "account:Z")
OPEN = ("ACTIVE", "WARNED", "RESUMING")

firsts = st.builds(FirstEvent, st.just("orderflow"), st.just(0), st.integers(0, 3), st.integers(0, 9))
causes = st.builds(Cause, st.sampled_from(["conservation", "rate", "drift"]), st.just(3.0), st.just(1.0), st.just(0.0),
                   st.just({}), firsts)  # fmt: skip
moneys = st.builds(Money, st.floats(0, 9), st.floats(0, 9), st.floats(0, 9))
judgements = st.builds(
    Judgement, scope=st.sampled_from(SCOPES), level=st.sampled_from(["warn", "hold", "halt", "none"]),
    causes=st.lists(causes, min_size=1, max_size=2).map(tuple), server=st.sampled_from(["", *SERVERS]),
    ts_decided=st.integers(0, 10**10), money=moneys, flow=st.booleans(), seen=st.integers(1, 2),
)  # fmt: skip
flows = st.builds(Flow, st.sampled_from(SERVERS), st.just(5), st.integers(0, 10**10), st.just(3), firsts, moneys)
inputs: st.SearchStrategy[Any] = st.one_of(
    judgements,
    flows,
    st.builds(Touch, st.sampled_from(SCOPES), st.integers(0, 99), moneys),
    st.builds(NodeAlive, st.sampled_from(SERVERS)),
    st.tuples(st.just("time"), st.sampled_from([50, 200, 400])),
    st.tuples(st.just("ack"), st.sampled_from(SERVERS), st.sampled_from(SCOPES), st.integers(-2, 1),
              st.sampled_from(["blocked", "cancelling", "confirmed"]), st.booleans(), st.integers(0, 10**10)),
    st.tuples(st.just("say"), st.sampled_from(["halt", "resume", "approve", "drill"]), st.sampled_from(SCOPES),
              st.integers(-2, 1), st.sampled_from(["ann", "bob"]), st.integers(0, 7), st.booleans()),
    st.tuples(st.just("adopt"), st.sampled_from(SCOPES), st.integers(-1, 4),
              st.sampled_from(["ACTIVE", "WARNED", "HALTING", "HALTED", "RESUMING"])),
)  # fmt: skip


def made(state: LedgerState, given_: Any) -> Any:
    """The input, with ids and epochs near those that stand, so that some of them count."""
    if not isinstance(given_, tuple):
        return given_
    kind, *a = given_
    if kind == "time":
        return TimePasses(state.now + a[0] * MS_NS, frozenset())
    if kind == "ack":
        server, name, shift, status, right, ts = a
        s = state.scope(name)
        return Ack(server, ts, s.halt_id if right else "other", name, s.halt_epoch + shift, status)
    if kind == "adopt":
        name, shift, word = a
        s = state.scope(name)
        return HaltRecord(s.halt_id or "h", max(s.epoch + shift, 0), name, word, "block", 0, 0, (), "", Money(), "desk")
    verb, name, shift, by, number, right = a
    s = state.scope(name)
    approves = s.request.command_id if s.request and right else "c0"
    c = Command(f"c{number}", 9, verb, name, "reason", by=by, epoch=s.epoch + shift, approves=approves)
    return Said(c, FirstEvent("commands", 0, number, 9), None)


def check_transition(before: LedgerState, given_: Any, event: Event) -> None:
    """No way out of a latch but a resume of two people (one for narrow scopes); one epoch at a time."""
    if not isinstance(event, Moved):
        return
    was = before.scope(event.scope)
    if was.drill and isinstance(given_, TimePasses) and event.state == "ACTIVE":
        return  # an exercise ends by itself; nothing real had closed the scope
    if was.closed and event.state in OPEN:
        assert event.state == "RESUMING"
        assert isinstance(given_, Said)
        assert given_.command.verb in ("resume", "approve")
        assert before.now >= was.halt_at + CONFIG.cool_off_ms * MS_NS
        if event.scope == "firm" or event.scope.startswith("server:"):
            assert given_.command.verb == "approve"
            assert was.request is not None
            assert was.request.by != given_.command.by
    if event.state == "HALTED":
        assert was.state == "HALTING"
        assert all(gate.status == "confirmed" for gate in was.gates.values())
    if event.state in ("WARNED", "ACTIVE"):
        assert not was.closed


@given(st.lists(inputs, max_size=40))
@settings(max_examples=100)
def test_pure_folded_latched_and_bounded(happening: list[Any]) -> None:
    state = LedgerState()
    for thing in happening:
        given_ = made(state, thing)
        frozen = msgspec.msgpack.encode(state)
        if isinstance(given_, HaltRecord) and len(state.live) >= CONFIG.scopes_max:
            continue  # that is refused: see test_more_live_scopes_than_allowed
        events = decide(CONFIG, state, given_)
        assert decide(CONFIG, state, given_) == events, "the same input gives the same events"
        for event in events:
            before, state = state, evolve(state, event)
            check_transition(before, given_, event)
            name = getattr(event, "scope", "")
            if isinstance(event, Moved):
                assert state.scope(name).epoch == before.scope(name).epoch + 1
        assert msgspec.msgpack.encode(msgspec.msgpack.decode(frozen, type=LedgerState)) == frozen
        assert set(state.live) == {n for n, s in state.scopes.items() if s.state != "ACTIVE"}
        assert len(state.scopes) <= CONFIG.scopes_max + 1, "the firm always has room"
        assert len(state.nodes) <= CONFIG.nodes_max
        assert len(state.commands) <= CONFIG.commands_max
        assert all(len(s.causes) <= CONFIG.causes_max for s in state.scopes.values())
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=LedgerState)
    assert again == state, "plain data holds all of it"


@given(st.lists(inputs, max_size=20))
def test_decide_does_not_change_the_state_it_is_given(happening: list[Any]) -> None:
    state = LedgerState()
    for thing in happening:
        given_ = made(state, thing)
        if isinstance(given_, HaltRecord):
            continue
        frozen = msgspec.msgpack.encode(state)
        draft = Draft(CONFIG, state)
        for event in decide(CONFIG, state, given_):
            draft.add(event)
        assert msgspec.msgpack.encode(state) == frozen
        state = draft.state


def test_more_live_scopes_than_allowed() -> None:
    state = LedgerState(scopes={f"symbol:{i}": ScopeState(f"symbol:{i}", "HALTED", 3) for i in range(4)})
    record = HaltRecord("h", 1, "symbol:new", "HALTED", "block", 0, 0, (), "", Money(), "desk")
    with pytest.raises(ValueError, match=r"more than desk\.scopes_max"):
        decide(CONFIG, state, record)


@given(judgements.filter(lambda j: j.level == "halt"))
def test_a_halt_always_halts(judgement: Judgement) -> None:
    """From every open state, with or without room."""
    for state in (LedgerState(), LedgerState(scopes={}, epoch_floor=7)):
        for event in decide(CONFIG, state, judgement):
            state = evolve(state, event)
        assert state.scope(judgement.scope).closed
