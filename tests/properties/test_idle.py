"""What the desk leaves out because nothing follows from it: the short way is the long way."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halts import answers, desk
from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from halts.evolve import evolve
from halts.idle import NODE_NEWS_NS, Deadline, due_at, flow_is_news, node_is_news
from halts.ledger import decide
from halts.opens import Opens
from halts.state import (
    DRILL,
    NEVER,
    Advanced,
    Flow,
    GateAck,
    LedgerState,
    NodeAlive,
    NodeHeard,
    Proposal,
    Request,
    ScopeState,
    TimePasses,
)
from schemas.records import Cause, FirstEvent, HaltRecord, Money, encode
from schemas.units import MS_NS
from tests.halts.desk_world import World
from tests.properties.test_desk_laws import CONFIG as DESK
from tests.properties.test_desk_laws import play, steps
from tests.properties.test_ledger_laws import CONFIG, SERVERS, inputs, made

BEGINS = (0, 5, 10**9, 10**10, 2 * 10**10)


@given(st.lists(inputs, max_size=40), st.integers(0, 2_000))
@settings(max_examples=150)
def test_nothing_is_news_from_which_nothing_follows_and_no_other(happening: list[Any], ms: int) -> None:
    """Exact in both directions, in every state on the way."""
    state, deadline = LedgerState(), Deadline(CONFIG)
    for thing in happening:
        given_ = made(state, thing)
        if isinstance(given_, HaltRecord) and len(state.live) >= CONFIG.scopes_max:
            continue
        for event in decide(CONFIG, state, given_):
            state = evolve(state, event)
        for server in SERVERS:
            assert node_is_news(CONFIG, state, server) == bool(decide(CONFIG, state, NodeAlive(server)))
            for began in BEGINS:
                flow = Flow(server, 5, began, 3, FirstEvent("orderflow", 0, 1, 5), Money())
                assert flow_is_news(CONFIG, state, server, began) == bool(decide(CONFIG, state, flow))
        check_time(state, deadline, state.now + ms * MS_NS)


def check_time(state: LedgerState, deadline: Deadline, now: int) -> None:
    """Before the deadline nothing but time passes, whatever is open; from then on something does unless it is open."""
    due = deadline.at(state)
    assert due == due_at(CONFIG, state)
    for at in {now, max(due - 1, state.now), max(due, state.now)} - {NEVER, NEVER - 1}:
        for open_scopes in (frozenset[str](), frozenset(state.live)):
            events = decide(CONFIG, state, TimePasses(at, open_scopes))
            if at < due:
                assert events == (Advanced(at),)
            elif not open_scopes:
                assert len(events) > 1


def live(**fields: Any) -> LedgerState:
    """Desk time 10 s, one scope, which was closed at 8 s."""
    s = ScopeState("firm", **({"state": "HALTED", "halt_at": 8 * 10**9, "touched_at": 8 * 10**9} | fields))
    return LedgerState(now=10**10, scopes={"firm": s}, live=("firm",))


ASKED = 98 * 10**8
CONFIRMED = {"R1": GateAck(0, "confirmed", 1, 9, 9)}
DRILLED = (Cause(DRILL, 1.0, 0.0, 0.0, {}, FirstEvent("verdicts", 0, 1, 5)),)


@pytest.mark.parametrize(
    ("state", "due"),
    [
        (live(), NEVER),
        (live(state="WARNED", touched_at=ASKED), ASKED + CONFIG.warn_quiet_ms * MS_NS),
        (live(state="RESUMING", touched_at=ASKED), ASKED + CONFIG.resume_stage_ms * MS_NS),
        (live(request=Request("c1", "ann", "", "why", ASKED)), ASKED + CONFIG.request_ttl_ms * MS_NS),
        (live(state="HALTING", gates={"R1": GateAck(11 * 10**9)}), 11 * 10**9),
        (live(state="HALTING", gates={"R1": GateAck(11 * 10**9, acted=True)}), NEVER),
        (live(state="HALTING", gates={"R1": GateAck(11 * 10**9, "blocked")}), NEVER),
        (live(state="HALTING", gates=CONFIRMED), 0),
        (live(state="HALTING", gates=CONFIRMED, surveyed=False), 8 * 10**9 + CONFIG.node_alive_ms * MS_NS),
        (live(causes=DRILLED), 0),
        (live(state="HALTING", halt_at=ASKED, causes=DRILLED), ASKED + CONFIG.drill_ms_max * MS_NS),
        (
            LedgerState(now=10**10, proposal=Proposal("c1", "ann", "", "why", ASKED, {})),
            ASKED + CONFIG.request_ttl_ms * MS_NS,
        ),
    ],
)
def test_each_thing_that_time_brings_is_due_when_it_comes(state: LedgerState, due: int) -> None:
    assert due_at(CONFIG, state) == due
    check_time(state, Deadline(CONFIG), state.now)


def test_a_deadline_is_worked_out_anew_for_each_state() -> None:
    deadline = Deadline(CONFIG)
    states = [live(), live(state="WARNED"), LedgerState(), live(state="HALTING", gates=CONFIRMED)]
    assert [deadline.at(state) for state in states * 2] == [due_at(CONFIG, state) for state in states * 2]


@pytest.mark.parametrize(
    ("alive_ms", "quiet_ns", "news"),
    [
        (2_500, NODE_NEWS_NS - 1, False),
        (2_500, NODE_NEWS_NS, True),
        (200, 200 * MS_NS, False),
        (200, 200 * MS_NS + 1, True),
    ],
)
def test_a_node_is_news_when_it_was_quiet_or_counts_as_gone(alive_ms: int, quiet_ns: int, news: bool) -> None:
    state = LedgerState(now=10**10, nodes={"R1": 10**10 - quiet_ns})
    config = DeskConfig(node_alive_ms=alive_ms)
    assert decide(config, state, NodeAlive("R1")) == ((NodeHeard("R1"),) if news else ())


def run(given_: list[DeskInput]) -> tuple[list[bytes], bytes]:
    one = Desk(DESK, 1)
    return [encode(output.record) for output in one.step(given_)], one.snapshot()


@given(st.lists(steps, max_size=60))
@settings(max_examples=150, deadline=None)
def test_a_desk_that_leaves_nothing_out_says_the_same(happening: list[tuple[Any, ...]]) -> None:
    world = World(DESK)
    for number, step in enumerate(happening):
        play(world, step, number)
    short = run(world.inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk, "node_is_news", lambda *_: True)
        patch.setattr(answers, "node_is_news", always_drafted)
        patch.setattr(desk, "flow_is_news", lambda *_: True)
        patch.setattr(Deadline, "at", lambda *_: -1)
        patch.setattr(Opens, "is_due", lambda *_: True)
        assert run(world.inputs) == short


def always_drafted(config: DeskConfig, state: LedgerState, server: str) -> bool:
    """The rule once more, in the words that it had before it was asked beforehand."""
    heard = state.nodes.get(server)
    alive = heard is not None and state.now - heard <= config.node_alive_ms * MS_NS
    return not (alive and state.now - state.nodes[server] < NODE_NEWS_NS)
