"""A node that does not run what was declared, and a change that made it worse."""

from detectors.fleet.config import DriftConfig, FleetConfig
from schemas.records import Breach
from tests.detectors.fleet.fleet_world import NAMES, World, but, names_of, ordinary


def stale(world: World, server: str = "R8") -> None:
    """Everything declared; one node runs the old build with the old flag (Knight)."""
    for name in world.names:
        world.declare(name, "rlp-2012-07-31")
    for name in world.names:
        world.node(name, build="7.1.9", rlp=False, power_peg=True) if name == server else world.node(name)


def drifts(world: World) -> list[Breach]:
    return [b for b in world.out if b.family == "drift"]


def test_a_stale_build_on_one_of_eight_warns_with_its_owner() -> None:
    world = World()
    stale(world)
    world.run(4, ordinary())
    assert not drifts(world), "a restart takes time"
    world.run(2, ordinary())
    (found,) = drifts(world)
    assert (found.detector, found.server, found.scope, found.state) == ("drift", "R8", "server:R8", "open")
    e = found.evidence
    assert (e["what"], e["observed"], e["declared"]) == ("build", "7.1.9", "7.2.1")
    assert (e["owner"], e["release"], e["peers_alike"], e["peers"]) == ("release desk", "rlp-2012-07-31", 7, 7)
    assert set(e["differs"]) == {"build", "flag rlp", "flag power_peg"}
    assert found.score == 3.0 < found.bound_halt, "three things differ: a warning"


def test_nobody_repairs_it_and_it_halts_in_minutes() -> None:
    world = World()
    stale(world)
    world.run(400, lambda frame, name: {})
    beyond = [b for b in world.out if b.score >= b.bound_halt]
    assert beyond
    assert 200 < beyond[0].evidence["unrepaired_s"] < 300


def test_refused_orders_shorten_that() -> None:
    world = World()
    stale(world)
    world.run(20, but(ordinary(), "R8", rejects=0.2))
    beyond = [b for b in world.out if b.detector == "drift" and b.score >= b.bound_halt]
    assert beyond
    assert beyond[0].evidence["refused"] >= 8
    assert beyond[0].evidence["unrepaired_s"] < 15


def test_what_all_are_refused_does_not_count() -> None:
    world = World()
    stale(world)
    base = ordinary()
    world.run(20, lambda frame, name: {**base(frame, name), "rejects": 0.2})
    assert all(b.score < b.bound_halt for b in world.out if b.detector == "drift")


def test_repairing_or_declaring_it_closes() -> None:
    for repair in (True, False):
        world = World()
        stale(world)
        world.run(10, ordinary())
        if repair:
            world.node("R8")
        else:
            world.declare("R8", "held-back", build="7.1.9", rlp=False, power_peg=True)
        world.run(1, ordinary())
        assert names_of(drifts(world)) == names_of(drifts(world), "close") == ["drift"]


def test_a_release_that_is_declared_and_then_deployed_is_no_drift() -> None:
    world = World()
    for name in NAMES:
        world.declare(name)
    world.run(3, ordinary(), nodes=True)
    for name in NAMES:
        world.declare(name, "r2", build="7.3.0")
        world.run(3, ordinary())
        for other in NAMES[: NAMES.index(name) + 1]:
            world.node(other, build="7.3.0")
    world.run(10, ordinary())
    assert not drifts(world)


def test_a_change_that_nobody_declared_is_told_within_two_seconds() -> None:
    world = World()
    for name in NAMES:
        world.declare(name)
    world.run(10, ordinary(), nodes=True)
    world.node("R2", config="deadbeef")
    world.run(2, ordinary())
    (found,) = drifts(world)
    assert found.evidence["what"] == "config"
    assert found.evidence["after_change"]["what"] == {"config": "c0ffee -> deadbeef"}


def test_without_declarations_peers_are_the_measure() -> None:
    world = World()
    world.node("R1", build="7.1.9")
    for name in NAMES[1:]:
        world.node(name)
    world.run(3, ordinary())
    (found,) = drifts(world)
    assert (found.server, found.evidence["by_peers"], found.evidence["declared"]) == ("R1", True, "7.2.1")


def test_two_camps_have_no_measure() -> None:
    world = World()
    for i, name in enumerate(NAMES):
        world.node(name, build=str(i % 2))
    world.run(10, ordinary())
    assert not drifts(world)


def test_a_rollback_that_made_it_worse_is_named() -> None:
    """Knight took the new code off the seven good servers: all eight ran away."""
    world = World()
    stale(world, "R1")
    world.run(8, ordinary())
    world.breach("R1")
    world.run(20, ordinary())
    for name in NAMES[1:]:
        world.declare(name, "rollback", build="7.1.9", rlp=False, power_peg=True)
        world.node(name, build="7.1.9", rlp=False, power_peg=True)
    world.run(5, ordinary())
    assert "drift_widened" not in names_of(world.out)
    for name in ("R2", "R3", "R4"):
        world.breach(name)
    world.run(1, ordinary())
    (found,) = (b for b in world.out if b.detector == "drift_widened")
    assert found.scope == "firm"
    assert found.evidence["release"] == "rollback"
    assert found.evidence["before"] == ["R1"]
    assert found.score == 3.0


def test_one_more_server_after_a_change_is_not_yet_a_pattern() -> None:
    world = World(FleetConfig(drift=DriftConfig(widened_servers=2)))
    world.run(2, ordinary(), nodes=True)
    world.breach("R1")
    world.node("R2", build="9")
    world.breach("R2")
    world.run(1, ordinary())
    assert "drift_widened" not in names_of(world.out)
