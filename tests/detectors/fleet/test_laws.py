"""Laws of every detector in the fleet's catalogue: a new one is held to them by its line there."""

from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.fleet.bank import Fleet
from detectors.fleet.catalog import FLEET
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import FleetDetector
from schemas.records import Breach, Money, encode
from tests.detectors.fleet.fleet_world import NAMES, World, but, ordinary

CONFIG = FleetConfig()
MAKERS = [pytest.param(make, id=type(make(CONFIG)).__name__) for make in FLEET]


def day(world: World, each: Callable[[World], None] = lambda world: None) -> list[bytes]:
    """Everything that can happen to a fleet: calm, a stale build, a server that runs away and pushes prices, breaches,
    silence, a loss, prices that follow a server; then calm again. ``each`` is called every tenth of a second. Verdicts
    as bytes."""
    rng = np.random.default_rng(7)
    for name in world.names:
        world.declare(name)
    base = ordinary(20)

    def span(seconds: float, flow: Any, quiet: str = "") -> None:
        for _ in range(round(seconds * 10)):
            if world.frame % 10 == 0:
                for name in world.names:
                    if name != quiet:
                        world.node(name, **({"build": "old"} if name == "R2" and world.frame > 80 else {}))
            world.run(0.1, flow)
            each(world)

    span(12, base)
    runaway = but(
        base, "R3", orders=200.0, fills=190.0, buys_at_ask=180.0, rejects=20.0, moved_usd=9e4, aligned_usd=9e4
    )
    span(3, runaway)
    for name in world.names[:5]:
        world.breach(name, "rate", evidence={"symbols": [f"S{i}" for i in rng.integers(0, 40, 12)]})
    world.declare("R2", "r2", build="newer")
    world.money = {"R3": Money(loss_usd=3e7, gross_usd=3e9)}
    world.missing["R4"] = 4
    span(6, runaway)
    span(14, lambda frame, name: {} if name == "R5" else base(frame, name), quiet="R5")
    for name in world.names[:5]:
        world.breach(name, "rate", "close")
    for k in range(60):
        world.money = {"R7": Money(loss_usd=-4_000.0 * k)}
        span(0.5, base)
    span(40, base)
    return [encode(b) for b in world.out]


@pytest.fixture(scope="module")
def verdicts() -> list[bytes]:
    return day(World())


@pytest.mark.parametrize("make", MAKERS)
def test_it_gives_every_verdict_it_names_and_no_other(make: Any, verdicts: list[bytes]) -> None:
    detector: FleetDetector = make(CONFIG)
    found = {b.detector for b in map(_breach, verdicts) if b.family == detector.family}
    rare = {"silence_lag", "silence_blind", "drift_widened"}  # examples of their own
    names = {n for d in (m(CONFIG) for m in FLEET) if d.family == detector.family for n in d.names}
    assert found <= names
    assert set(detector.names) - rare <= found


def _breach(data: bytes) -> Breach:
    return msgspec.json.decode(data, type=Breach)


def test_verdicts_open_before_they_close_and_say_what_they_must(verdicts: list[bytes]) -> None:
    opens: set[tuple[str, str]] = set()
    for b in map(_breach, verdicts):
        key = (b.detector, b.scope)
        assert (key in opens) == (b.state != "open"), f"{b.state} of {key}"
        (opens.discard if b.state == "close" else opens.add)(key)
        assert all(isfinite(x) for x in (b.score, b.limit, b.baseline, b.bound_halt, *_numbers(b.evidence)))
        assert b.state == "close" or b.score >= b.limit
        assert b.first_event.ts <= b.ts or not b.first_event.ts
        assert b.source.topic == "verdicts"
    assert {detector for detector, _ in opens} <= {"drift", "silence_gap"}, "calm again, but for what stays wrong"


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [x for v in value.values() for x in _numbers(v)]
    return [value] if isinstance(value, float) else []


def test_same_input_same_output(verdicts: list[bytes]) -> None:
    assert day(World()) == verdicts


def test_a_snapshot_at_every_tenth_of_a_second_changes_nothing(verdicts: list[bytes]) -> None:
    def restored(world: World) -> None:
        data = msgspec.msgpack.encode(world.fleet.snapshot())
        world.fleet = Fleet.restore(world.config, msgspec.msgpack.decode(data))

    assert day(World(), restored) == verdicts


def test_shifted_stamps_change_nothing_else(verdicts: list[bytes]) -> None:
    shift = 86_400 * 10**9

    def back(b: Breach) -> bytes:
        first = msgspec.structs.replace(b.first_event, ts=b.first_event.ts - (shift if b.first_event.ts else 0))
        return encode(msgspec.structs.replace(b, ts=b.ts - shift, first_event=first))

    assert [back(b) for b in map(_breach, day(World(shift_ns=shift)))] == verdicts


def test_repeated_rows_change_nothing() -> None:
    """A worker that crashed sends rows again: same frames, same sources."""
    once, twice = World(), World()
    base, again = ordinary(30), ordinary(30)
    for _ in range(300):
        for name in NAMES:
            values = base(once.frame, name)
            once.row(name, values)
            assert again(twice.frame, name) == values
            twice.row(name, values)
            twice.events[name] -= int(sum(values.get(k, 0) for k in ("orders", "parents", "fills", "rejects")))
            twice.row(name, values)
        once.frame += 1
        twice.frame += 1
        once.tick()
        twice.tick()
    for a, b in zip(once.fleet.roster.servers.values(), twice.fleet.roster.servers.values(), strict=True):
        assert (a.counts, a.frames, a.scored) == (b.counts, b.frames, b.scored)


def test_state_is_bounded() -> None:
    config = msgspec.structs.replace(CONFIG, servers_max=4)
    world = World(config)
    for k in range(300):
        world.node("R1", build=str(k))
        world.declare("R1", f"r{k}", build=str(k))
        world.breach("R1", "rate", evidence={"symbols": [f"S{k}-{i}" for i in range(20)]})
    world.run(5, ordinary())
    assert len(world.fleet.roster.servers) == 4
    assert world.fleet.roster.left_out > 0
    size = len(msgspec.msgpack.encode(world.fleet.snapshot()))
    world.run(10, ordinary())
    for k in range(100):
        world.breach("R1", "rate", evidence={"symbols": [f"T{k}-{i}" for i in range(20)]})
    assert len(msgspec.msgpack.encode(world.fleet.snapshot())) < size * 1.05


def test_a_snapshot_of_another_version_is_refused() -> None:
    data = Fleet(CONFIG).snapshot()
    with pytest.raises(ValueError, match="version 9, expected 1"):
        Fleet.restore(CONFIG, {**data, "v": 9})


def test_a_detector_that_is_new_since_the_snapshot_begins_anew() -> None:
    world = World()
    world.run(5, ordinary())
    data = world.fleet.snapshot()
    data["detectors"].pop("Divergence")
    fresh = Fleet.restore(CONFIG, data)
    assert fresh.roster == world.fleet.roster
