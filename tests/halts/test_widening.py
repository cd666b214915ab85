"""The narrowest scope first, wider when gates are silent or flow goes on; HALTED only while it is true."""

from typing import Any

import pytest
from msgspec.structs import replace

from halts.config import DeskConfig
from halts.ledger import effective, halt_id
from halts.state import ScopeState
from schemas.records import Breach, FirstEvent, NodeSeen, NodeState, Source, Tick
from schemas.units import MS_NS, S_NS
from tests.halts.desk_world import T0, World, breach

SYMBOL = "symbol:ABC"


def node(world: World, *servers: str) -> None:
    for server in servers:
        world.put(NodeSeen(NodeState(server, world.now, "b1", "c1"), Source("nodes", 0, len(world.inputs))))


def on_symbol(offset: int = 10, server: str = "R3", name: str = "ABC", **other: Any) -> Breach:
    return breach(server, offset, scope=f"symbol:{name}", **other)


def confirm(world: World, scope: str, *servers: str) -> None:
    for server in servers:
        world.ack("blocked", server, scope)
        world.ack("confirmed", server, scope)


def test_a_symbol_is_halted_when_all_living_nodes_have_confirmed() -> None:
    world = World()
    world.tick()
    node(world, "R1", "R2", "R3")
    world.put(on_symbol())
    assert sorted(world.desk.ledger.scope(SYMBOL).gates) == ["R1", "R2", "R3"]
    confirm(world, SYMBOL, "R1", "R3")
    assert world.state(SYMBOL) == "HALTING"
    confirm(world, SYMBOL, "R2")
    assert world.state(SYMBOL) == "HALTED"
    assert world.state() == "ACTIVE", "the server itself goes on in other symbols"


def test_a_node_long_dead_is_not_waited_for_but_one_that_dies_during_the_halt_is() -> None:
    world = World()
    world.tick()
    node(world, "R1")
    world.tick(3_000)
    node(world, "R2", "R3")
    world.put(on_symbol())
    world.ack("blocked", "R2", SYMBOL)
    confirm(world, SYMBOL, "R3")
    world.tick(60_000)
    assert world.state(SYMBOL) == "HALTING", "R2 blocked, but never said that nothing is working"
    assert world.desk.view()["scopes"][0]["awaiting"] == ["R2"]


def test_a_silent_gate_widens_a_symbol_to_that_server_then_to_the_firm() -> None:
    world = World()
    world.tick()
    node(world, "R1", "R2", "R3")
    world.put(on_symbol())
    confirm(world, SYMBOL, "R1", "R3")
    world.tick(500)
    assert (world.state("server:R2"), world.state("firm")) == ("HALTING", "ACTIVE")
    world.tick(500)
    assert world.state("firm") == "HALTING"
    decided = {r.scope: r.ts_decided for r in world.halts() if r.state == "HALTING"}
    assert decided == {SYMBOL: T0, "server:R2": T0 + 500 * MS_NS, "firm": T0 + 1_000 * MS_NS}


def test_a_late_answer_still_counts_and_nothing_widens_twice() -> None:
    world = World()
    world.tick()
    world.put(breach())
    world.tick(600)
    before = len(world.halts())
    world.tick(5_000)
    assert len(world.halts()) == before
    confirm(world, "server:R3", "R3")
    assert world.state() == "HALTED"


def test_a_silent_gate_on_a_firm_halt_is_written_down_and_named() -> None:
    world = World()
    world.tick()
    node(world, "R1", "R2")
    world.say("halt", "ann", "firm")
    confirm(world, "firm", "R1")
    world.tick(600)
    assert [a["server"] for a in world.audited("no_ack")] == ["R2"]
    scope = world.desk.view()["scopes"][0]
    assert (scope["awaiting"], scope["effective"], scope["distrusted"]) == (["R2"], ["R1"], ["R2"])
    assert "cut the sessions of R2" in scope["text"]


def test_no_gates_here_means_no_timeouts() -> None:
    world = World(DeskConfig(ack_timeout_ms=0))
    world.tick()
    world.put(breach())
    world.tick(60_000)
    assert [(r.scope, r.state) for r in world.halts()] == [("server:R3", "HALTING")]
    assert not world.desk.waiting()


def test_one_bad_tick_fires_no_timeout() -> None:
    world = World()
    world.tick()
    world.put(breach())
    world.put(Tick(world.now + 3_600 * S_NS, 1, world.generation))
    world.put(Tick(world.now, 2, world.generation))
    assert world.state("firm") == "ACTIVE"
    world.tick(300)
    assert world.state("firm") == "HALTING", "but nothing is put off without bound"


def test_a_node_that_appears_during_a_halt_owes_an_answer_too_in_its_own_time() -> None:
    world = World(DeskConfig(join_timeout_ms=2_000))
    world.tick()
    node(world, "R1")
    world.say("halt", "ann", "account:A1")
    world.ack("blocked", "R1", "account:A1")
    node(world, "R9")
    world.ack("confirmed", "R1", "account:A1")
    assert world.state("account:A1") == "HALTING"
    world.tick(1_900)
    assert world.state("server:R9") == "ACTIVE"
    world.tick(100)
    assert world.state("server:R9") == "HALTING"


def test_halted_is_taken_back_when_orders_pass_a_gate_that_had_confirmed() -> None:
    world = World()
    world.halted()
    confirmed_at, halted = world.now, world.halts()[-1]
    world.row("R3", confirmed_at + 500 * MS_NS, replaces=2)
    again, firm = world.halts()[-2:]
    assert (again.scope, again.state, again.epoch) == ("server:R3", "HALTING", halted.epoch + 1)
    assert (again.halt_id, again.cause[0].detector) == (halted.halt_id, "after_halt_flow")
    assert firm.scope == "firm"
    world.row("R3", confirmed_at + 600 * MS_NS, orders=2)
    assert len(world.halts()) == 4, "once per answer"
    world.ack("confirmed", epoch=halted.epoch - 1)
    assert world.state() == "HALTING", "an answer from before counts no more"
    confirm(world, "server:R3", "R3")
    assert world.state() == "HALTED"


@pytest.mark.parametrize(("began", "widens"), [(100, False), (200, True)])
def test_flow_counts_from_one_frame_after_blocked(began: int, widens: bool) -> None:
    world = World()
    world.tick()
    world.put(breach())
    world.ack("blocked", ts=world.now)
    world.row("R3", world.now + began * MS_NS, orders=1)
    assert (world.state("firm") == "HALTING") is widens


def test_reduce_only_lets_orders_pass() -> None:
    world = World(DeskConfig(action="reduce_only"))
    world.halted()
    world.row("R3", world.now + S_NS, orders=3)
    assert world.state("firm") == "ACTIVE"


def test_a_symbol_that_still_flows_after_its_block_widens_to_the_server_it_flows_from() -> None:
    world = World(DeskConfig(widen_after_ms=1_000))
    world.tick()
    node(world, "R1", "R3")
    world.put(on_symbol())
    for server in ("R1", "R3"):
        world.ack("blocked", server, SYMBOL, ts=T0 + 100 * MS_NS)
    world.put(on_symbol(20, state="update", ts=T0 + 900 * MS_NS))
    assert world.state() == "ACTIVE", "fills of what was working still come in"
    world.put(on_symbol(30, state="update", ts=T0 + 1_101 * MS_NS))
    assert (world.state(), world.state("server:R1"), world.state("firm")) == ("HALTING", "ACTIVE", "ACTIVE")
    assert world.halts()[-1].cause[0].detector == "after_halt_flow"


def test_a_limit_that_stays_broken_is_no_flow() -> None:
    world = World()
    world.tick()
    kind = {"detector": "exposure", "family": "exposure", "scope": "account:A1"}
    world.put(breach(**kind))
    confirm(world, "account:A1", "R3")
    world.put(breach(offset=20, state="update", ts=T0 + 60 * S_NS, **kind))
    assert world.state() == "ACTIVE"


def test_three_halted_symbols_of_a_server_halt_the_server_and_three_servers_the_firm() -> None:
    world = World()
    world.tick()
    for i, name in enumerate(("ABC", "DEF")):
        world.put(on_symbol(10 + i, name=name))
    world.put(on_symbol(15, server="R4", name="XYZ"))
    assert world.state() == "ACTIVE"
    world.put(on_symbol(16, name="GHI"))
    assert world.state() == "HALTING"
    assert world.halts()[-1].cause[0].detector == "widening"
    for server in ("R1", "R2"):
        assert world.state("firm") == "ACTIVE"
        world.put(breach(server, 40))
    assert world.state("firm") == "HALTING"


def test_halts_that_people_order_do_not_widen() -> None:
    world = World(DeskConfig(ack_timeout_ms=0))
    world.tick()
    for i in range(5):
        world.row(f"R{i}", world.now, fills=1.0)
        world.say("drill" if i % 2 else "halt", "ann", f"server:R{i}")
    assert {world.state(f"server:R{i}") for i in range(5)} == {"HALTING"}
    assert world.state("firm") == "ACTIVE"


def test_scopes_are_bounded_and_the_firm_stands_in_for_the_rest() -> None:
    world = World(DeskConfig(scopes_max=3, siblings_to_widen=0, ack_timeout_ms=0))
    world.tick()
    for i in range(3):
        world.put(on_symbol(i, server=f"R{i}", name=f"S{i}"))
    world.put(on_symbol(9, server="R9", name="S9"))
    assert (world.state("symbol:S9"), world.state("firm")) == ("ACTIVE", "HALTING")
    assert [c.detector for c in world.halts()[-1].cause] == ["scopes_max", "conservation"]


def test_a_scope_that_is_forgotten_leaves_its_epoch_behind() -> None:
    world = World(DeskConfig(scopes_max=1, warn_quiet_ms=100, ack_timeout_ms=0))
    world.tick()
    soft = {"detector": "rate", "family": "rate", "hard": False}
    world.put(on_symbol(1, **soft))
    world.put(on_symbol(2, state="close", **soft))
    world.tick(300)
    assert world.halts()[-1].epoch == 2
    world.put(on_symbol(3, name="DEF"))
    assert world.state("symbol:DEF") == "HALTING"
    assert list(world.desk.ledger.scopes) == ["symbol:DEF"]
    assert world.halts()[-1].epoch == 3, "above all that were given, so that no gate takes it for old"


def test_nodes_and_causes_are_bounded() -> None:
    world = World(DeskConfig(nodes_max=4, causes_max=3, ack_timeout_ms=0))
    world.tick()
    for i in range(10):
        node(world, f"R{i}")
        world.tick()
        world.put(breach(offset=100 + i, detector=f"conservation_{i}", family="conservation"))
    assert len(world.desk.ledger.nodes) <= 4
    assert len(world.desk.ledger.scope("server:R3").causes) == 3


def test_a_breach_on_a_server_while_the_firm_is_halted_is_latched_too() -> None:
    world = World(DeskConfig(cool_off_ms=0))
    world.tick()
    world.say("halt", "ann", "firm")
    world.put(breach())
    world.say("approve", "bob", "firm", approves=world.say("resume", "ann", "firm"))
    assert world.state("firm") == "RESUMING"
    assert "still closed: server:R3" in world.halts()[-1].text
    assert world.state() == "HALTING", "resuming the firm does not open what has a cause of its own"


def test_resuming_is_strict() -> None:
    world = World(DeskConfig(cool_off_ms=0))
    world.halted()
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    soft = breach(offset=90, detector="rate", family="rate", hard=False)
    world.put(soft)
    assert world.state() == "RESUMING", "one input"
    world.put(replace(soft, state="update", source=Source("orderflow", 3, 91)))
    assert world.state() == "HALTING"


def test_what_was_open_before_a_resume_does_not_count_after_it() -> None:
    world = World(DeskConfig(cool_off_ms=0, resume_stage_ms=1_000))
    world.halted()
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    world.put(breach())
    assert world.state() == "RESUMING", "the old verdict, published again"
    world.tick(2_400)
    assert world.state() == "ACTIVE"


def test_a_slip_in_the_scope_does_not_lose_the_halt() -> None:
    world = World()
    world.tick()
    world.put(breach(scope="router R3"))
    assert world.state() == "HALTING"


def test_halt_id_is_a_hash_of_scope_detector_and_first_event() -> None:
    first = FirstEvent("orderflow", 3, 10, T0, "C1")
    assert halt_id("server:R3", "rate", first) == halt_id("server:R3", "rate", replace(first, ts=1, cl_ord_id="C2"))
    others = [("firm", "rate", first), ("server:R3", "crossing", first), ("server:R3", "rate", replace(first, item=1))]
    assert len({halt_id("server:R3", "rate", first), *(halt_id(*o) for o in others)}) == 4
    assert len(halt_id(*others[0])) == 16


def states(**named: str) -> dict[str, ScopeState]:
    made = (ScopeState(k.replace("_", ":"), state=v, halt_id=k) for k, v in named.items())  # type: ignore[arg-type]
    return {s.scope: s for s in made}


def test_of_overlapping_scopes_the_safe_answer_wins() -> None:
    given = states(firm="RESUMING", server_R3="ACTIVE", symbol_ABC="HALTED", account_A1="WARNED")
    closed = effective(given, server="R3", symbol="ABC", account="A1")
    assert closed is not None
    assert (closed.scope, closed.reduce_only) == ("symbol:ABC", False)
    other = effective(given, server="R3", symbol="XYZ", account="A1")
    assert other is not None
    assert (other.scope, other.reduce_only) == ("firm", True)
    assert effective(states(server_R3="HALTED", account_A1="WARNED"), server="R4", account="A1") is None
    both = effective(states(firm="HALTING", server_R3="HALTED"), server="R3")
    assert both is not None
    assert both.scope == "firm", "of equals the widest is named"
