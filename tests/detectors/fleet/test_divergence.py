"""One server unlike its peers is found, on the right channel; what all do at once is not."""

import pytest

from detectors.fleet.config import FleetConfig
from detectors.fleet.divergence import Divergence, Shown
from tests.detectors.fleet.fleet_world import NAMES, World, but, names_of, ordinary


def opened(world: World) -> set[tuple[str, str]]:
    return {(b.detector, b.server) for b in world.out if b.state == "open" and b.family == "divergence"}


@pytest.mark.parametrize(
    ("more", "channel"),
    [
        ({"orders": 150.0, "fills": 140.0, "buys_at_ask": 60.0}, "divergence_rate"),
        ({"orders": 150.0, "fills": 140.0, "buys_at_ask": 60.0}, "divergence_fan_out"),
        ({"rejects": 2.0}, "divergence_rejects"),
        ({"fills": 60.0, "buys_at_ask": 60.0}, "divergence_crossing"),
    ],
)
def test_one_of_eight_is_found_within_seconds(more: dict[str, float], channel: str) -> None:
    world = World()
    world.run(30, ordinary())
    assert not world.out
    world.run(5, but(ordinary(2), "R3", **more))
    assert (channel, "R3") in opened(world)
    assert {server for _, server in opened(world)} == {"R3"}, "nobody is blamed for a bad peer"
    (found,) = (b for b in world.out if b.detector == channel and b.state == "open")
    assert (found.scope, found.hard) == ("server:R3", False)
    assert found.score >= found.limit
    assert found.evidence["value"] > found.evidence["peers"]
    assert (found.source.topic, found.first_event.topic) == ("verdicts", "orderflow")


def test_more_parents_are_no_fan_out() -> None:
    world = World()
    world.run(30, ordinary())
    world.run(10, but(ordinary(2), "R3", orders=60.0, parents=15.0, fills=55.0, buys_at_ask=25.0))
    assert "divergence_fan_out" not in {name for name, _ in opened(world)}


@pytest.mark.parametrize("times", [3.0, 10.0, 40.0])
def test_what_all_do_at_once_is_no_divergence(times: float) -> None:
    world = World()
    world.run(70, ordinary())
    world.run(20, ordinary(3, times))
    assert not opened(world)
    assert world.fleet.view(world.now).explained == set(NAMES)


def test_a_burst_of_orders_without_parents_does_not_come_from_outside() -> None:
    world = World()
    world.run(70, ordinary())
    base = ordinary(4)
    world.run(10, lambda frame, name: {**base(frame, name), "orders": 60.0})
    assert not world.fleet.view(world.now).explained


def test_an_exchange_that_refuses_everybody_blames_nobody() -> None:
    world = World()
    world.run(70, ordinary())
    base = ordinary(5)
    world.run(10, lambda frame, name: (v := dict(base(frame, name))) | {"rejects": v["orders"] * 0.6})
    assert not opened(world)


def test_a_large_server_among_small_ones_is_itself() -> None:
    weights = {"R1": 6.0}
    world = World()
    world.run(240, ordinary(6, weights=weights))
    assert not opened(world)
    world.run(10, ordinary(7, 2.0, weights=weights))
    assert not opened(world)


@pytest.mark.parametrize("n", [2, 3, 64])
def test_any_size_of_fleet(n: int) -> None:
    names = tuple(f"S{i}" for i in range(n))
    world = World(names=names)
    world.run(15, ordinary(8))
    world.run(4, but(ordinary(9), "S1", orders=200.0, fills=190.0, buys_at_ask=80.0))
    assert {server for _, server in opened(world)} == {"S1"}


def test_one_server_alone_has_nobody_to_differ_from() -> None:
    world = World(names=("R1",))
    world.run(10, ordinary())
    world.run(10, but(ordinary(2), "R1", orders=200.0))
    assert not world.out


def test_a_server_whose_peers_rows_do_not_come_is_not_judged_by_them() -> None:
    world = World()
    world.run(30, ordinary())
    base = ordinary(10)
    world.run(6, lambda frame, name: base(frame, name) if name == "R1" else {})
    before = len(opened(world))
    world.run(20, lambda frame, name: {**base(frame, name), "orders": 300.0} if name == "R1" else {})
    assert len(opened(world)) == before


def test_rows_that_come_in_a_heap_are_a_rate_not_a_burst() -> None:
    """A worker that died holds one server's rows back for 4 s, then they come in one go."""
    world = World()
    world.run(60, ordinary())
    base, held = ordinary(11), []
    for _ in range(40):
        for name in NAMES:
            values = base(world.frame, name)
            if name == "R5":
                held.append(values)
            else:
                world.row(name, values)
        world.frame += 1
        world.tick()
    for back, values in enumerate(held):
        world.row("R5", values, late_ns=(len(held) - back) * 100_000_000)
    world.run(5, base)
    assert not opened(world)


def test_it_closes_when_it_is_like_its_peers_again() -> None:
    world = World()
    world.run(30, ordinary())
    world.run(3, but(ordinary(2), "R3", orders=150.0))
    found = world.run(60, ordinary(3))
    assert "divergence_rate" in names_of(found, "close")
    assert set(names_of(world.out, "close")) == {name for name, _ in opened(world)}


def test_what_is_wrong_is_not_learned() -> None:
    world = World()
    world.run(70, ordinary())
    divergence = next(d for d in world.fleet.detectors if isinstance(d, Divergence))
    before = divergence.compared["R3"].usual
    world.run(60, but(ordinary(2), "R3", orders=150.0))
    assert divergence.compared["R3"].usual == pytest.approx(before, rel=0.25)


def test_a_calm_fleet_raises_nothing() -> None:
    world = World(FleetConfig())
    world.run(400, ordinary(100))
    assert not world.out


def test_a_server_that_is_not_among_those_whose_rows_come_is_compared_all_the_same() -> None:
    shown = Shown([3.0, 1.0, 2.0])
    assert [shown.others(at, own) for at, own in enumerate([3.0, 1.0, 2.0])] == [1.5, 2.5, 2.0]
    assert shown.others(-1, 7.0) == 2.0, "of all"
    assert shown.others(-1, 3.0) == 1.5, "without one that shows the same"
