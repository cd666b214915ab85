"""The desk by example: what halts, what stays shut, who may open it, what is written down."""

import msgspec
import pytest

from halts import audit
from halts.config import DeskConfig
from schemas.records import AuditRecord, Breach, FirstEvent, HaltRecord, Heartbeat, Source, encode
from schemas.topics import HALTS, HEARTBEAT_KEY
from schemas.units import MS_NS, S_NS
from tests.halts.desk_world import T0, World, breach


def statistical(detector: str, family: str, offset: int, **other: object) -> Breach:
    return breach(offset=offset, detector=detector, family=family, hard=False, evidence={}, **other)


def test_a_hard_breach_halts_its_server_alone() -> None:
    world = World()
    world.tick()
    world.put(breach())
    record = world.halts()[-1]
    assert (record.scope, record.state, record.epoch, record.action) == ("server:R3", "HALTING", 1, "block_and_cancel")
    assert record.ts_decided == T0
    assert record.cause[0].first_event.offset == 10
    assert record.money.loss_usd == 10.0
    assert world.state("firm") == "ACTIVE"


def test_halted_when_the_gate_has_confirmed_and_not_before() -> None:
    world = World()
    world.tick()
    world.put(breach())
    for status, state in (("blocked", "HALTING"), ("cancelling", "HALTING"), ("confirmed", "HALTED")):
        world.ack(status)
        assert world.state() == state
    assert [r.epoch for r in world.halts()] == [1, 2]


def test_the_same_cause_is_the_same_halt_and_repeats_do_nothing() -> None:
    one, two = World(), World(generation=4)
    for world in (one, two):
        world.tick()
        world.put(breach())
    assert one.halts()[0].halt_id == two.halts()[0].halt_id
    before = len(one.halts())
    one.put(breach())  # a worker that died sends it again
    assert len(one.halts()) == before
    other = World()
    other.tick()
    other.put(breach(offset=11))
    assert other.halts()[0].halt_id != one.halts()[0].halt_id


def test_no_ack_in_time_widens_to_the_firm() -> None:
    world = World(DeskConfig(ack_timeout_ms=500))
    world.tick()
    world.put(breach())
    world.tick(400)
    assert world.state("firm") == "ACTIVE"
    world.tick(200)
    record = world.halts()[-1]
    assert (record.scope, record.state, record.cause[0].detector) == ("firm", "HALTING", "no_ack")
    assert record.ts_decided == T0 + 500 * MS_NS, "from the first decision, not from the tick that noticed"
    assert "R3" in record.text


def test_orders_after_blocked_widen_to_the_firm() -> None:
    world = World()
    world.tick()
    world.put(breach())
    blocked = world.now
    world.ack("blocked", ts=blocked)
    world.row("R3", blocked - 200 * MS_NS, orders=5)
    assert world.state("firm") == "ACTIVE", "sent before the gate closed"
    world.row("R3", blocked + 300 * MS_NS, fills=3)
    assert world.state("firm") == "ACTIVE", "fills of what was working are no orders"
    world.row("R3", blocked + 400 * MS_NS, orders=1)
    record = world.halts()[-1]
    assert (record.scope, record.cause[0].detector) == ("firm", "after_halt_flow")


def test_one_statistical_group_warns_two_halt_and_a_bound_halts_alone() -> None:
    world = World()
    world.tick()
    world.put(statistical("rate", "rate", 20))
    assert world.state() == "WARNED"
    world.put(statistical("novelty", "novelty", 22))
    world.tick(300)
    assert world.state() == "WARNED", "rate and novelty both rise with volume: one group, one piece of evidence"
    world.put(statistical("crossing", "crossing", 23))
    world.tick(300)
    assert world.state() == "HALTING"
    assert {c.detector for c in world.halts()[-1].cause} >= {"rate", "crossing"}
    alone = World()
    alone.tick()
    alone.put(statistical("rate", "rate", 20, score=64.0, limit=1.0, bound_halt=64.0))
    alone.tick(300)
    assert alone.state() == "HALTING"


def test_warned_goes_when_it_is_quiet_but_a_latch_does_not() -> None:
    world = World(DeskConfig(warn_quiet_ms=1_000))
    world.tick()
    world.put(statistical("rate", "rate", 20))
    world.put(statistical("rate", "rate", 30, state="close"))
    world.tick(1_200)
    assert world.state() == "ACTIVE"
    latched = World(DeskConfig(warn_quiet_ms=1_000))
    latched.halted()
    latched.put(breach(offset=50, state="close"))
    latched.tick(60_000)
    assert latched.state() == "HALTED"


def test_a_resume_needs_two_people_the_epoch_and_the_cool_off() -> None:
    world = World(DeskConfig(cool_off_ms=1_000, resume_stage_ms=2_000))
    world.halted()
    world.say("resume", "ann", epoch=0)
    asked = world.say("resume", "ann")
    world.say("approve", "Ann ", approves=asked)
    world.say("approve", "bob", approves="another")
    world.say("approve", "bob", approves=asked)
    assert world.state() == "HALTED", "cool-off"
    assert len(world.audited("refused")) == 4
    world.tick(1_100)
    world.say("approve", "bob", approves=asked)
    record = world.halts()[-1]
    assert (record.state, record.action, record.by) == ("RESUMING", "reduce_only", "ann, bob")
    assert record.orders_per_s_max == 0
    world.tick(2_200)
    record = world.halts()[-1]
    assert (record.state, record.orders_per_s_max) == ("RESUMING", 20.0), "then few orders"
    world.tick(2_200)
    assert world.state() == "ACTIVE"
    assert [r.epoch for r in world.halts()] == [1, 2, 3, 4, 5]


def test_a_breach_while_resuming_halts_again() -> None:
    world = World(DeskConfig(cool_off_ms=0))
    world.halted()
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    assert world.state() == "RESUMING"
    world.put(breach(offset=99))
    assert world.state() == "HALTING"


@pytest.mark.parametrize("change", [{"by": " "}, {"reason": ""}, {"scope": "planet:mars"}])
def test_a_command_without_name_reason_or_scope_is_refused_and_written_down(change: dict[str, str]) -> None:
    world = World()
    world.halted()
    words = {"by": "ann", "scope": "server:R3", **change}
    world.say("resume", words.pop("by"), words.pop("scope"), **words)
    assert world.state() == "HALTED"
    assert len(world.audited("refused")) == 1


def test_an_operator_halts_at_once() -> None:
    world = World()
    world.tick()
    world.say("halt", "ann", "firm", reason="fire in the data centre")
    record = world.halts()[-1]
    assert (record.scope, record.state, record.by) == ("firm", "HALTING", "ann")


def test_heartbeats_come_every_quarter_second_of_desk_time() -> None:
    world = World()
    world.tick(10_000)
    assert 38 <= len(world.beats()) <= 42
    assert [o.key for o in world.out if isinstance(o.record, Heartbeat)] == [HEARTBEAT_KEY] * len(world.beats())


def test_a_higher_generation_fences_the_desk() -> None:
    world = World(generation=2)
    world.tick()
    world.tick(generation=1)
    assert not world.desk.fenced, "a lower one is a zombie's"
    world.tick(generation=3)
    assert world.desk.fenced
    assert world.put(breach()) == []


def test_a_new_desk_takes_a_latch_over_from_the_topic() -> None:
    world = World()
    world.halted()
    standing = world.halts()[-1]
    fresh = World(generation=2)
    out = fresh.desk.adopt([standing])
    assert fresh.state() == "HALTED"
    fresh.out += out
    fresh.tick(60_000)
    assert fresh.state() == "HALTED"
    opened = msgspec.structs.replace(standing, state="ACTIVE", epoch=standing.epoch + 5)
    overruled = fresh.desk.adopt([opened])
    records = [o.record for o in overruled if isinstance(o.record, HaltRecord)]
    assert records[-1].state == "HALTING", "an opening that this desk did not decide"
    assert records[-1].epoch > opened.epoch
    assert all(o.topic is HALTS for o in overruled if isinstance(o.record, HaltRecord))


def test_the_audit_chain_holds_and_shows_each_tampering() -> None:
    world = World(DeskConfig(cool_off_ms=0))
    world.halted()
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    world.tick(40_000)
    lines = world.audit()
    assert len(lines) > 8
    assert audit.verify(lines) is None
    for i in range(1, len(lines) - 1):
        changed = msgspec.json.decode(lines[i], type=AuditRecord)
        changed = msgspec.structs.replace(changed, body={**changed.body, "by": "mallory"})
        assert audit.verify([*lines[:i], encode(changed), *lines[i + 1 :]]) is not None, f"changed {i}"
        assert audit.verify([*lines[:i], *lines[i + 1 :]]) is not None, f"missing {i}"
        assert audit.verify([*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]]) is not None, f"reordered {i}"


FAMILIES = (
    "conservation", "rate", "crossing", "repetition", "malformed", "exposure", "novelty", "divergence", "drift",
    "breadth", "participation", "silence", "limits",
)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("evidence", [{}, {"what": "x" * 200, "count": 10**9, "symbol": "ABC", "burn_usd": 1e12}])
def test_every_sentence_is_short_and_says_who_and_what_to_do(family: str, evidence: dict[str, object]) -> None:
    world = World()
    world.tick()
    world.put(breach(detector=family, family=family, evidence=evidence, source=Source("orderflow", 3, 77),
                     first_event=FirstEvent("orderflow", 3, 77, T0 + 12 * S_NS, "C9")))  # fmt: skip
    records = world.halts()
    if not records:  # families that only warn, by the rules of the default configuration
        assert world.config.rules[family].hard != "halt"
        return
    text = records[-1].text
    assert len(text) <= 280
    assert "R3" in text
    assert "\n" not in text
    assert text.endswith(".")
