"""Drills: real halts that end by themselves, never widen, and give way to what is real. The canary is one of them."""

import pytest

from halts.config import DeskConfig
from halts.desk import Desk
from schemas.records import Ack, Cause, FirstEvent, HaltRecord, Money, Tick
from schemas.scopes import CANARY, CANARY_SERVER
from schemas.units import MS_NS
from tests.halts.desk_world import World, breach

CONFIG = DeskConfig(cool_off_ms=200)
MS = CONFIG.drill_ms_max


def drilled(scope: str = "server:R7") -> World:
    """A desk that knows R7 and R8, with a drill on ``scope`` just begun."""
    world = World(CONFIG)
    world.tick()
    for server in ("R7", "R8"):
        world.row(server, world.now, fills=1.0)
    world.say("drill", "ann", scope, reason="quarterly test")
    return world


def states(world: World, scope: str = "server:R7") -> list[str]:
    return [r.state for r in world.halts() if r.scope == scope]


def refusals(world: World) -> list[str]:
    return [body["problem"] for body in world.audited("refused")]


def test_it_is_a_real_halt_that_says_so_is_measured_and_ends() -> None:
    world = drilled()
    began = world.now
    world.ack("blocked", "R7", "server:R7", ts=began + 12 * MS_NS)
    world.ack("confirmed", "R7", "server:R7", ts=began + 30 * MS_NS)
    record = world.halts()[-1]
    assert (record.state, record.cause[0].detector) == ("HALTED", "drill")
    assert "DRILL: ann halts router R7" in record.text
    gates = world.audited("transition")[-1]["gates"]
    assert gates == {"R7": {"status": "confirmed", "blocked_ms": 12.0, "confirmed_ms": 30.0}}
    world.tick()
    assert states(world) == ["HALTING", "HALTED", "ACTIVE"]
    opened = world.halts()[-1]
    assert opened.by == "end of the drill by ann", "a gate opens only for who is named"
    assert opened.ts_decided == began + 30 * MS_NS
    assert world.audited("transition")[-1]["reason"] == "drill over: confirmed by every gate concerned"


def test_a_silent_gate_is_the_result_and_halts_nothing_more() -> None:
    world = drilled()
    world.tick(MS - 100)
    assert [body["scope"] for body in world.audited("no_ack")] == ["server:R7"]
    assert states(world) == ["HALTING"]
    world.tick(200)
    assert states(world) == ["HALTING", "ACTIVE"]
    assert world.audited("transition")[-1]["reason"] == "drill over: not confirmed: R7"
    assert world.state("firm") == "ACTIVE"


def test_orders_after_blocked_are_the_result_and_halt_nothing_more() -> None:
    world = drilled()
    world.ack("blocked", "R7", "server:R7")
    world.row("R7", world.now + 300 * MS_NS, orders=5)
    assert len(world.audited("after_halt_flow")) == 1
    world.ack("confirmed", "R8", "server:R7")
    world.tick(MS + 100)
    assert states(world) == ["HALTING", "ACTIVE"]
    assert world.state("firm") == "ACTIVE"


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_real_cause_meanwhile_is_a_halt_of_its_own_that_stays(confirmed: bool) -> None:
    world = drilled()
    world.ack("blocked", "R7", "server:R7")
    if confirmed:
        world.ack("confirmed", "R7", "server:R7")
    drill = world.halts()[-1]
    world.put(breach("R7", 70))
    real = world.halts()[-1]
    assert (real.state, real.cause[0].detector) == ("HALTING", "conservation")
    assert (real.epoch, real.halt_id != drill.halt_id) == (drill.epoch + 1, True)
    world.ack("blocked", "R7", "server:R7")
    world.tick(2 * MS)
    assert world.state("server:R7") == "HALTING", "only people open it"


def test_an_operators_halt_meanwhile_stays() -> None:
    world = drilled()
    world.say("halt", "bob", "server:R7")
    world.ack("blocked", "R7", "server:R7")
    world.tick(2 * MS)
    assert world.state("server:R7") == "HALTING"


def test_the_firm_can_be_drilled_all_gates_answering() -> None:
    world = drilled("firm")
    for server in ("R7", "R8"):
        for status in ("blocked", "confirmed"):
            world.ack(status, server, "firm")
    assert states(world, "firm") == ["HALTING", "HALTED"]
    world.tick()
    assert states(world, "firm") == ["HALTING", "HALTED", "ACTIVE"]


def test_a_name_that_no_gate_answers_for_is_refused() -> None:
    world = drilled("server:R9")
    assert states(world, "server:R9") == []
    assert refusals(world) == [
        "no gate answers for server:R9: heard from in the last 2500 ms: R7, R8; name one of them"
    ]
    world.tick(CONFIG.node_alive_ms + 200)
    world.say("drill", "ann", "firm")
    assert refusals(world)[-1].startswith("no gate answers: heard from in the last 2500 ms: nobody")
    world.tick(5_000)
    assert world.halts() == [], "the firm goes on"


def test_only_what_is_active_can_be_drilled() -> None:
    world = drilled()
    world.say("drill", "bob", "server:R7")
    assert refusals(world) == ["server:R7 is HALTING: a drill needs a scope that is ACTIVE"]


def test_a_desk_that_takes_over_in_mid_drill_ends_it() -> None:
    world = drilled()
    stands = world.halts()[-1]
    for desk in (Desk(CONFIG, 2), Desk.restore(CONFIG, world.desk.snapshot(), 2)):
        out = desk.adopt([stands])
        for i in range(MS // 100 + 3):
            place = world.inputs[-1].offset + 1 + i
            out += desk.step([type(world.inputs[0])("verdicts", 0, place, Tick(world.now + i * 100 * MS_NS, i, 2))])
        found = [o.record for o in out if isinstance(o.record, HaltRecord)]
        assert found[-1].state == "ACTIVE"
        assert {r.scope for r in found} == {"server:R7"}


def test_a_halt_by_people_that_only_bears_the_name_is_no_drill() -> None:
    """Adopted from ``halts``: one real cause among the drill's is enough to stay shut."""
    first = FirstEvent("commands", 0, 1, 1)
    causes = (Cause("drill", 1, 0, 0, {}, first), Cause("conservation", 2, 1, 0, {}, first))
    record = HaltRecord("h", 3, "server:R7", "HALTED", "block_and_cancel", 1, 1, causes, "", Money(), "ann")
    world = World(CONFIG)
    world.out += world.desk.adopt([record])
    world.tick(3 * MS)
    assert world.state("server:R7") == "HALTED"


# --- the canary -------------------------------------------------------------------------------------------------------


def probed(world: World) -> None:
    world.now += 100 * MS_NS
    world.put(Tick(world.now, 1, world.generation, probe=True))


def test_a_tick_with_the_probe_drills_the_canarys_scope() -> None:
    world = drilled()
    world.tick(MS + 200)
    probed(world)
    assert states(world, CANARY) == ["HALTING"]
    assert world.halts()[-1].ts_event == world.now
    probed(world)
    assert states(world, CANARY) == ["HALTING"], "one at a time"
    for status in ("blocked", "cancelling", "confirmed"):
        world.ack(status, CANARY_SERVER, CANARY)
    world.tick()
    assert states(world, CANARY) == ["HALTING", "HALTED", "ACTIVE"]
    probed(world)
    assert states(world, CANARY)[3:] == ["HALTING"]
    world.tick(MS + 100)
    assert states(world, CANARY)[4:] == ["ACTIVE"], "nobody answered: it ends all the same"
    assert world.state("firm") == "ACTIVE"


def test_the_canarys_gate_is_no_node_and_answers_for_nothing_else() -> None:
    world = drilled()
    probed(world)
    world.ack("confirmed", CANARY_SERVER, CANARY)
    world.say("halt", "ann", "firm")
    assert set(world.desk.ledger.nodes) == {"R7", "R8"}
    s = world.desk.ledger.scope("firm")
    assert set(s.gates) == {"R7", "R8"}
    world.put(Ack(CANARY_SERVER, world.now, s.halt_id, "firm", s.halt_epoch, "blocked"))
    assert world.audited("ack_ignored")[-1]["why"] == "the canary's gate answers for nothing else"
    assert set(world.desk.ledger.scope("firm").gates) == {"R7", "R8"}


def test_a_probe_changes_nothing_about_other_halts() -> None:
    """The same day with and without probes: the same records for every real scope."""

    def day(probes: bool) -> list[HaltRecord]:
        world = World(CONFIG)
        for i in range(6):
            world.tick(300)
            if probes:
                world.put(Tick(world.now, 1, world.generation, probe=True))
                world.ack("blocked", CANARY_SERVER, CANARY)
            else:
                world.put(Tick(world.now, 1, world.generation))
            if i == 2:
                world.halted()
            if i == 4:
                asked = world.say("resume", "ann")
                world.say("approve", "bob", approves=asked)
        return [r for r in world.halts() if r.scope != CANARY]

    assert day(True) == day(False)
    assert [r.state for r in day(True)] == ["HALTING", "HALTED", "RESUMING"]
