"""Who may order what, and what is written down when he may not."""

from typing import Any

import pytest
from msgspec.structs import replace

from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from halts.keys import Operator
from schemas.records import Command
from tests.halts.desk_world import World, breach

CONFIG = DeskConfig(cool_off_ms=0, request_ttl_ms=1_000)


def shut(config: DeskConfig = CONFIG) -> World:
    world = World(config)
    world.halted()
    return world


def problems(world: World) -> list[str]:
    return [body["problem"] for body in world.audited("refused")]


def test_one_person_may_resume_a_strategy_but_not_before_the_cool_off() -> None:
    world = World(DeskConfig(cool_off_ms=1_000, ack_timeout_ms=0))
    world.tick()
    world.say("halt", "ann", "strategy:PEG")
    world.say("resume", "ann", "strategy:PEG")
    assert "cool-off" in problems(world)[0]
    world.tick(1_000)
    world.say("resume", "ann", "strategy:PEG")
    assert world.state("strategy:PEG") == "RESUMING"
    assert world.halts()[-1].by == "ann"


def test_a_latch_that_no_gate_confirms_can_be_released_too() -> None:
    world = World(CONFIG)
    world.tick()
    world.put(breach())
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    assert world.state() == "RESUMING"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"epoch": 0}, "stale: it answers epoch 0"),
        ({"epoch": 99}, "stale: it answers epoch 99"),
        ({"halt_id": "feedfeedfeedfeed"}, "it names halt feedfeedfeedfeed"),
        ({"scope": "server:R9"}, "server:R9 is ACTIVE, not halted"),
        ({"reason": " \t"}, "reason is empty"),
        ({"v": 2}, "version 2"),
        ({"scope": "mars"}, "scope 'mars' is not one of"),
    ],
)
def test_a_resume_is_refused_with_the_reason(change: dict[str, Any], why: str) -> None:
    world = shut()
    words = {"scope": "server:R3", **change}
    world.say("resume", "ann", words.pop("scope"), **words)
    assert why in problems(world)[0]
    assert world.desk.ledger.scope("server:R3").request is None


def test_a_resume_of_an_older_halt_of_the_scope_is_stale() -> None:
    world = shut()
    old = world.desk.ledger.scope("server:R3").epoch
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    world.put(breach(offset=99))
    assert world.state() == "HALTING"
    world.say("resume", "ann", epoch=old)
    assert "stale" in problems(world)[0]


def test_the_resume_of_a_halt_may_name_any_of_its_epochs() -> None:
    world = World(CONFIG)
    world.tick()
    world.put(breach())
    asked = world.say("resume", "ann", epoch=1)
    for status in ("blocked", "confirmed"):
        world.ack(status)
    assert world.state() == "HALTED"
    world.say("approve", "bob", approves=asked, epoch=1)
    assert world.state() == "RESUMING", "HALTED in between makes it safer, not staler"


def test_orders_after_the_block_void_a_request() -> None:
    world = shut()
    asked = world.say("resume", "ann")
    world.row("R3", world.now + 10**9, orders=1)
    world.say("approve", "bob", approves=asked)
    assert world.state() == "HALTING"
    assert "none is open" in problems(world)[0]


@pytest.mark.parametrize("by", ["ann", "Ann", " ANN ", "ann\t"])
def test_nobody_approves_himself(by: str) -> None:
    world = shut()
    world.say("approve", by, approves=world.say("resume", "ann"))
    assert "another person" in problems(world)[0]
    assert world.state() == "HALTED"


def test_nobody_approves_with_the_key_of_the_request() -> None:
    world = shut()
    world.say("approve", "bob", approves=world.say("resume", "ann", key_id="k1"), key_id="k1")
    assert "same key" in problems(world)[0]


def test_a_request_that_nobody_approves_is_void() -> None:
    world = shut()
    asked = world.say("resume", "ann")
    world.tick(1_100)
    assert world.desk.view()["scopes"][0]["request"] is None
    world.say("approve", "bob", approves=asked)
    assert world.state() == "HALTED"
    assert "none is open" in problems(world)[0]


def test_a_newer_request_replaces_the_older() -> None:
    world = shut()
    first, second = world.say("resume", "ann"), world.say("resume", "bob")
    world.say("approve", "cat", approves=first)
    assert world.state() == "HALTED"
    world.say("approve", "ann", approves=second)
    assert world.state() == "RESUMING"


def test_a_command_id_is_good_once_also_when_it_was_refused() -> None:
    world = shut()
    c = Command("once", world.now, "resume", "server:R3", "fixed", by="ann", epoch=0)
    world.put(c)
    world.put(replace(c, epoch=world.desk.ledger.scope("server:R3").epoch))
    assert len(problems(world)) == 1
    assert world.desk.ledger.scope("server:R3").request is None
    again = Command("two", world.now, "halt", "firm", "x", by="ann")
    world.put(again)
    world.put(again)
    assert [body["command"]["command_id"] for body in world.audited("repeated")] == ["once", "two"]
    assert [record.scope for record in world.halts()].count("firm") == 1


def test_command_ids_are_bounded() -> None:
    world = World(DeskConfig(commands_max=3))
    for _ in range(10):
        world.say("halt", "ann", "firm")
    assert len(world.desk.ledger.commands) == 3


def test_a_command_without_an_id_is_refused_each_time() -> None:
    world = shut()
    for _ in range(2):
        world.put(Command("", world.now, "halt", "firm", "x", by="ann"))
    assert len(problems(world)) == 2
    assert world.state("firm") == "ACTIVE"


def signed_only(command: Command) -> str | None:
    return None if command.signature == "good" else "signature is not that of a known key: sign it again"


@pytest.mark.parametrize(
    ("required", "checked", "signature", "accepted"),
    [(False, False, "", True), (False, True, "", True), (False, True, "bad", False), (False, True, "good", True),
     (True, True, "good", True), (True, True, "", False), (True, True, "bad", False), (True, False, "good", False)],
)  # fmt: skip
def test_signatures(required: bool, checked: bool, signature: str, accepted: bool) -> None:
    desk = Desk(DeskConfig(require_signatures=required), verify=signed_only if checked else None)
    command = Command("c1", 1, "halt", "firm", "test", by="ann", signature=signature)
    desk.step([DeskInput("commands", 0, 0, command)])
    assert (desk.ledger.scope("firm").state == "HALTING") is accepted


# --- who caused it, break-glass, staleness, stages --------------------------------------------------------------------

OWNERS = DeskConfig(
    cool_off_ms=0,
    operators={
        "ann": Operator("-", ("resume", "approve"), ("strategy:PEG",)),
        "bob": Operator("-", ("resume", "approve")),
        "cat": Operator("-", ("resume", "approve", "break_glass")),
    },
)


def owned(**evidence: object) -> World:
    world = World()
    world.desk = Desk(OWNERS, 1, verify=lambda command: None)
    world.tick()
    world.put(breach(evidence={"what": "overorder", **evidence}))
    for status in ("blocked", "confirmed"):
        world.ack(status)
    return world


@pytest.mark.parametrize("evidence", [{"strategy": "PEG"}, {"scope": "strategy:PEG"}, {"strategies": ["A", "PEG"]}])
def test_who_owns_what_the_halt_is_about_may_neither_resume_nor_approve(evidence: dict[str, object]) -> None:
    world = owned(**evidence)
    world.say("resume", "ann")
    world.say("approve", "Ann", approves=world.say("resume", "bob"))
    world.say("resume", "ann", emergency=True)
    assert len(problems(world)) == 3
    assert all("owns strategy:PEG, which this halt is about" in problem for problem in problems(world))
    world.say("approve", "bob", approves=world.say("resume", "cat"))
    assert world.state() == "RESUMING"


def test_an_owner_may_resume_what_is_not_theirs() -> None:
    world = owned(strategy="OTHER")
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    assert world.state() == "RESUMING"


def test_break_glass_is_one_person_at_once_and_loud() -> None:
    world = World(DeskConfig(cool_off_ms=60_000))
    world.halted()
    world.say("resume", "eve", reason="the market is closing", emergency=True)
    record = world.halts()[-1]
    assert (record.state, record.by) == ("RESUMING", "eve (break-glass)")
    assert record.text.startswith("BREAK-GLASS, one person alone: eve")
    assert len(world.audited("break_glass")) == 1


def test_break_glass_needs_the_halts_own_epoch_and_is_for_resumes_only() -> None:
    world = shut()
    world.say("resume", "eve", emergency=True, epoch=0)
    world.say("approve", "eve", emergency=True)
    world.say("halt", "eve", "firm", emergency=True)
    assert [p.split(":")[0].split(" is set")[0] for p in problems(world)] == ["stale", "emergency", "emergency"]
    assert world.state() == "HALTED"


@pytest.mark.parametrize(("ms", "taken"), [(-70_000, False), (70_000, False), (-50_000, True), (50_000, True)])
def test_a_resume_far_from_the_desks_clock_is_stale(ms: int, taken: bool) -> None:
    world = shut()
    s = world.desk.ledger.scope("server:R3")
    world.put(Command("c", world.now + ms * 10**6, "resume", "server:R3", "x", by="ann", epoch=s.epoch))
    assert (problems(world) == []) is taken
    assert (s.epoch, bool(world.desk.ledger.scope("server:R3").request)) == (s.epoch, taken)


def test_a_halt_may_have_waited_for_the_desk() -> None:
    world = World(CONFIG)
    world.tick()
    world.put(Command("c", world.now - 3_600 * 10**9, "halt", "firm", "x", by="ann"))
    assert world.state("firm") == "HALTING"


def test_a_forger_uses_up_no_ids_and_evicts_none() -> None:
    world = World(DeskConfig(commands_max=2, cool_off_ms=0))
    world.desk = Desk(world.config, 1, verify=lambda c: None if c.signature == "good" else "signature is wrong")
    world.put(Command("one", 1, "halt", "firm", "x", by="ann", signature="good"))
    for i in range(9):
        world.put(Command(f"f{i}", 1, "halt", "symbol:A", "x", by="ann", signature="bad"))
    world.put(Command("two", 1, "halt", "symbol:B", "x", by="ann", signature="bad"))
    world.put(Command("two", 1, "halt", "symbol:B", "x", by="ann", signature="good"))
    assert world.state("symbol:B") == "HALTING"
    assert world.desk.ledger.commands == {"one": True, "two": True}
    assert len(world.audited("refused")) == 10


def test_on_probation_what_would_warn_halts_also_under_a_reopened_firm() -> None:
    world = World(DeskConfig(cool_off_ms=0, resume_stage_ms=1_000, probation_ms=5_000, resume_orders_per_s=0))
    world.tick()
    world.say("halt", "ann", "firm")
    world.say("approve", "bob", "firm", approves=world.say("resume", "ann", "firm"))
    world.tick(1_200)
    assert world.state("firm") == "ACTIVE", "no stage of few orders where their number is 0"
    soft = {"detector": "rate", "family": "rate", "hard": False, "score": 3.0, "limit": 2.0}
    world.put(breach("R1", offset=50, **soft))
    world.put(breach("R1", offset=51, state="update", **soft))
    assert world.state("server:R1") == "HALTING"
    world.tick(6_000)
    world.put(breach("R2", offset=60, **soft))
    world.put(breach("R2", offset=61, state="update", **soft))
    assert world.state("server:R2") == "WARNED"


def test_a_halt_of_what_is_halted_says_it_again() -> None:
    """Over garbage that was written under the key, so that the gates find a record there."""
    world = shut()
    before = world.halts()[-1]
    world.say("halt", "cat")
    assert world.halts()[-1] == before
    assert len(world.audited("transition")) == len(world.halts()) - 1
