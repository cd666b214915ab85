"""Who may order what, and what is written down when he may not."""

from typing import Any

import pytest
from msgspec.structs import replace

from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
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
