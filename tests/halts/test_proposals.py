"""The configuration as a command: versioned, by two people where it loosens a control, told with each heartbeat."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halts.changes import changes, digest, loosens, settings_of
from halts.config import Config, DeskConfig, keys, parse
from schemas.records import Command, decode, encode
from tests.halts.desk_world import World

BASE = settings_of(Config())


def tell(world: World, by: str, values: dict[str, Any], epoch: int | None = None, **other: Any) -> str:
    version = world.desk.ledger.config.version if epoch is None else epoch
    name = f"k{len(world.inputs)}"
    command = Command(name, world.now, "config", other.pop("scope", "firm"), "why", by, epoch=version, values=values)
    world.put(decode(encode(command), Command))
    return name


def agree(world: World, by: str, asked: str) -> None:
    world.put(Command(f"a{len(world.inputs)}", world.now, "approve", "firm", "seen", by, approves=asked))


def begun() -> World:
    world = World(DeskConfig(request_ttl_ms=1_000))
    world.tick()
    agree(world, "bob", tell(world, "ann", BASE))
    assert world.desk.ledger.config.version == 1
    return world


def problems(world: World) -> list[str]:
    return [body["problem"] for body in world.audited("refused")]


def test_the_first_takes_two_people_and_goes_out_with_the_heartbeats() -> None:
    world = World()
    world.tick()
    asked = tell(world, "ann", BASE)
    assert world.desk.ledger.config.version == 0
    agree(world, "Ann ", asked)
    assert "another person" in problems(world)[0]
    agree(world, "bob", asked)
    world.tick(300)
    beat = world.beats()[-1]
    assert (beat.config_version, beat.config_digest) == (1, digest(BASE))
    assert (body := world.audited("config")[0])["by"] == "ann, bob"
    assert digest(body["values"]) == digest(BASE)


def test_what_only_tightens_counts_at_once_what_loosens_waits() -> None:
    world = begun()
    tighter = {**BASE, "desk.ack_timeout_ms": 300, "stage1.rate.bound_halt": 32.0}
    tell(world, "ann", tighter)
    assert (world.desk.ledger.config.version, world.desk.ledger.config.by) == (2, "ann")
    asked = tell(world, "ann", {**tighter, "stage1.rate.bound_halt": 0.0})
    assert world.desk.ledger.config.version == 2, "0 is never, the loosest"
    agree(world, "bob", asked)
    body = world.audited("config")[-1]
    assert (body["version"], [(c["key"], c["loosens"]) for c in body["changes"]]) == (
        3,
        [("stage1.rate.bound_halt", True)],
    )


@pytest.mark.parametrize(
    ("values", "epoch", "scope", "why"),
    [
        ({**BASE, "desk.cool_off_ms": 9}, 0, "firm", "stale: it replaces version 0"),
        (BASE, None, "firm", "in force already"),
        ({}, None, "firm", "holds no settings"),
        ({"a": {"b": 1}}, None, "firm", "'a' is neither a plain value"),
        (BASE, None, "server:R1", "a config is for firm"),
    ],
)
def test_a_proposal_is_refused_with_the_reason(values: dict[str, Any], epoch: int | None, scope: str, why: str) -> None:
    world = begun()
    tell(world, "ann", values, epoch, scope=scope)
    assert why in problems(world)[-1]
    assert world.desk.ledger.proposal is None


def test_a_proposal_that_nobody_approves_is_void_and_survives_a_restart_until_then() -> None:
    world = begun()
    asked = tell(world, "ann", {**BASE, "desk.cool_off_ms": 1})
    assert world.desk.restore(world.config, world.desk.snapshot()).ledger == world.desk.ledger
    world.tick(1_100)
    agree(world, "bob", asked)
    assert world.desk.ledger.config.version == 1


def test_every_setting_that_tightens_some_way_exists() -> None:
    from halts.changes import TIGHTENS

    assert set(TIGHTENS) <= set(keys(Config())), "a name in halts.changes.TIGHTENS is no setting"


numbers = st.one_of(st.integers(0, 10**6), st.floats(0, 1e9, allow_nan=False))


@given(st.sampled_from(sorted(k for k, v in BASE.items() if isinstance(v, int | float))), numbers, numbers)
def test_there_and_back_is_never_free(key: str, a: float, b: float) -> None:
    """A control cannot be loosened by one person in small steps: of a change and its reverse at least one loosens."""
    if a != b:
        assert loosens(key, a, b) or loosens(key, b, a)


def test_lists_and_rules() -> None:
    scopes = "desk.two_person_scopes"
    assert not loosens(scopes, ["firm"], ["firm", "symbol"])
    assert loosens(scopes, ["firm", "server"], ["firm"])
    assert loosens("desk.rules.rate.hard", "halt", "warn")
    assert not loosens("desk.rules.rate.statistical", "warn", "halt")
    assert loosens("desk.operators.mal.public_key", None, "AAAA"), "a new operator is somebody who may open"
    assert loosens("desk.action", "block_and_cancel", "block")


def test_a_file_of_defaults_is_the_default_and_survives_kafka() -> None:
    said = decode(encode(Command("c", 1, "config", "firm", "w", "ann", values=settings_of(parse("", "x")))), Command)
    assert changes(said.values, BASE) == ()
    assert digest(said.values) == digest(BASE)
