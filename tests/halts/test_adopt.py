"""A desk that takes over: from a snapshot, from what stands on ``halts``, from both."""

import msgspec
import pytest
from msgspec.structs import replace

from halts import audit
from halts.config import DeskConfig
from halts.desk import Desk, DeskOutput
from schemas.records import AuditRecord, HaltRecord, NodeSeen, NodeState, Source, encode
from tests.halts.desk_world import World, breach

CONFIG = DeskConfig(cool_off_ms=0)


def records(out: list[DeskOutput]) -> list[HaltRecord]:
    return [o.record for o in out if isinstance(o.record, HaltRecord)]


def tail(world: World) -> AuditRecord:
    return msgspec.json.decode(world.audit()[-1], type=AuditRecord)


def taken_over(world: World, data: bytes | None, *standing: HaltRecord, generation: int = 2) -> World:
    """A world like ``world`` whose desk is new: restored from ``data`` and told what stands on ``halts``."""
    after = World(world.config, generation, now=world.now)
    if data is not None:
        after.desk = Desk.restore(world.config, data, generation)
    after.offsets = dict(world.offsets)
    after.out += after.desk.adopt(standing, tail(world))
    return after


def test_a_block_being_carried_out_is_ordered_again_so_that_gates_answer_again() -> None:
    world = World(CONFIG)
    world.tick()
    world.put(breach())
    after = taken_over(world, None, world.halts()[-1])
    again = after.halts()[-1]
    assert (again.state, again.epoch, again.halt_id) == ("HALTING", 2, world.halts()[0].halt_id)
    after.tick()
    for status in ("blocked", "confirmed"):
        after.ack(status)
    assert after.state() == "HALTED"
    after.tick(5_000)
    assert after.state("firm") == "ACTIVE"


def test_a_restart_does_not_widen_what_had_been_answered() -> None:
    world = World(CONFIG)
    world.halted()
    after = taken_over(world, None, *{r.scope: r for r in world.halts()}.values())
    after.tick(60_000)
    assert after.halts() == [], "HALTED stands, nothing to say"
    assert after.state() == "HALTED"


def test_a_new_desk_waits_for_all_living_nodes_before_halted() -> None:
    world = World(CONFIG)
    world.tick()
    world.say("halt", "ann", "firm")
    after = taken_over(world, None, world.halts()[-1])
    after.tick()
    for server in ("R1", "R2"):
        after.put(NodeSeen(NodeState(server, after.now, "b", "c"), Source("nodes", 0, len(after.inputs))))
        for status in ("blocked", "confirmed"):
            after.ack(status, server, "firm")
        assert after.state("firm") == "HALTING", "another node may still show"
    after.tick(2_600)
    assert after.state("firm") == "HALTED"


def test_what_the_snapshot_knows_better_is_published_again() -> None:
    world = World(CONFIG)
    world.halted()
    first, last = world.halts()[0], world.halts()[-1]
    for standing in ([first], []):
        after = taken_over(world, world.desk.snapshot(), *standing)
        assert after.halts() == [replace(last, generation=2)]
    assert taken_over(world, world.desk.snapshot(), last).halts() == []


def test_a_resume_after_the_snapshot_is_overruled_until_it_is_read_again() -> None:
    world = World(CONFIG)
    world.halted()
    data, at = world.desk.snapshot(), len(world.inputs)
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    assert world.state() == "RESUMING"
    after = taken_over(world, data, world.halts()[-1])
    assert after.state() == "HALTING", "the latch wins"
    assert after.halts()[-1].epoch == world.halts()[-1].epoch + 1
    after.out += after.desk.step(world.inputs[at:])
    assert after.state() == "RESUMING", "the two people's commands were for this halt"
    assert [r.epoch for r in after.halts()] == [4, 5]


def test_epochs_go_on_above_what_stands() -> None:
    world = World(CONFIG)
    world.halted()
    idle = replace(world.halts()[-1], state="ACTIVE", epoch=41)
    after = taken_over(world, None, idle)
    after.tick()
    after.put(breach(offset=77))
    assert after.halts()[-1].epoch == 42


def test_equal_epochs_with_different_states_end_shut() -> None:
    world = World(CONFIG)
    world.tick()
    world.put(breach(detector="rate", family="rate", hard=False))
    assert world.state() == "WARNED"
    rival = replace(world.halts()[-1], state="HALTED")
    after = taken_over(world, world.desk.snapshot(), rival)
    assert after.state() == "HALTED"


def test_a_record_of_a_higher_generation_fences() -> None:
    world = World(CONFIG)
    world.halted()
    after = taken_over(world, None, replace(world.halts()[-1], generation=9))
    assert after.desk.fenced
    assert after.halts() == []


def test_the_audit_chain_goes_on_over_the_takeover_also_past_a_zombie() -> None:
    world = World(CONFIG)
    world.halted()
    data = world.desk.snapshot()
    world.put(breach("R5", 50))
    after = taken_over(world, data, *{r.scope: r for r in world.halts()}.values())
    after.tick(1_000)
    assert audit.verify([*world.audit(), *after.audit()]) is None
    written = len(world.audit())
    world.put(breach("R6", 60))  # it does not know yet that it was replaced
    zombie = world.audit()[written:]
    assert audit.verify([*world.audit()[:written], *zombie, *after.audit()]) is None, "before the new one"
    assert audit.verify([*world.audit()[:written], *after.audit(), *zombie]) is None, "after it"
    assert audit.verify([*world.audit()[:written], *after.audit()[1:]]) is not None, "a record is missing"


def test_audit_may_repeat_but_not_change() -> None:
    world = World(CONFIG)
    world.halted()
    lines = world.audit()
    assert audit.verify([*lines, *lines[-3:]]) is None
    last = tail(world)
    assert audit.verify([*lines, encode(replace(last, kind="ack_ignored"))]) is not None
    assert audit.verify(lines[2:]) is None, "an old head may be gone"
    assert audit.verify(lines[2:], audit.after(msgspec.json.decode(lines[1], type=AuditRecord))) is None
    assert "does not decode" in str(audit.verify([b"{}"]))
    forged = encode(AuditRecord(0, "f" * 64, "transition", {}))
    assert audit.verify([forged]) is not None, "number 0 comes after nothing"


def test_a_snapshot_that_is_none_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="adopt what is on halts"):
        Desk.restore(CONFIG, b"\x93nonsense")
    world = World(CONFIG)
    raw = msgspec.msgpack.decode(world.desk.snapshot())
    with pytest.raises(ValueError, match="version 99, expected 3"):
        Desk.restore(CONFIG, msgspec.msgpack.encode({**raw, "v": 99}))


def test_a_fenced_desk_stays_so_unless_it_returns_as_a_newer_one() -> None:
    world = World(CONFIG, generation=2)
    world.tick(generation=3)
    data = world.desk.snapshot()
    assert Desk.restore(CONFIG, data).fenced
    assert not Desk.restore(CONFIG, data, generation=4).fenced


def test_order_of_inputs_is_on_audit() -> None:
    world = World(CONFIG)
    world.halted()
    world.tick()
    runs = [run for body in world.audited("inputs") for run in body["runs"]]
    taken = [(t, p, o) for t, p, first, last in runs for o in range(first, last + 1)]
    assert taken == [(i.topic, i.partition, i.offset) for i in world.inputs]
    assert [r[0] for r in runs] == ["verdicts", "acks", "verdicts"]
