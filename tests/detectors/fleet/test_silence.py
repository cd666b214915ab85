"""Nodes, events and verdicts that do not come."""

from detectors.fleet.config import FleetConfig, SilenceConfig
from schemas.records import FeatureRow
from tests.detectors.fleet.fleet_world import NAMES, World, names_of, ordinary


def test_a_node_with_flow_that_stops_reporting() -> None:
    world = World()
    base = ordinary()
    world.run(3, base, nodes=True)

    def rest(frame: int, name: str) -> dict[str, float]:
        return {} if name == "R2" else dict(base(frame, name))

    for _ in range(13):
        world.run(1, rest)
        for name in NAMES:
            if name != "R2":
                world.node(name)
    (found,) = world.out
    assert (found.detector, found.server, found.hard) == ("silence", "R2", False)
    assert found.evidence["silent_ms"] >= 12_000
    world.run(4, base, nodes=True)
    assert names_of(world.out, "close") == ["silence"]


def test_a_node_without_flow_may_be_silent() -> None:
    world = World()
    world.run(1, lambda frame, name: {}, nodes=True)
    world.run(30, lambda frame, name: {})
    assert not world.out


def test_a_log_without_node_records_is_not_silent() -> None:
    world = World()
    world.run(30, ordinary())
    assert not world.out


def test_a_hole_that_stays_is_told_and_one_that_fills_is_not() -> None:
    world = World()
    world.run(2, ordinary())
    world.missing["R4"] = 3
    world.run(3, ordinary())
    world.missing["R4"] = 0
    world.run(5, ordinary())
    assert not world.out
    world.missing["R4"] = 2
    world.run(7, ordinary())
    assert [(b.detector, b.server, b.score) for b in world.out] == [("silence_gap", "R4", 2.0)]


def heavy(frame: int, name: str) -> dict[str, float]:
    return {"orders": 100.0, "fills": 50.0, "parents": 10.0}


def test_events_that_are_published_but_not_scored_are_lag_and_then_blindness() -> None:
    config = FleetConfig(silence=SilenceConfig(lag_halt_s=10.0))
    world = World(config)
    world.run(5, heavy, nodes=True)
    for _ in range(20):
        for name in NAMES:
            world.events[name] += 0 if name != "R6" else 1_600
        world.run(1, lambda frame, name: heavy(frame, name) if name != "R6" else {}, nodes=True)
    assert [b.detector for b in world.out if b.state == "open" and b.server == "R6"] == ["silence_lag", "silence_blind"]
    assert {b.server for b in world.out} == {"R6"}


def test_rows_that_come_but_are_old_are_lag() -> None:
    world = World()
    world.run(5, heavy, nodes=True)
    behind = world.events["R6"]
    for _ in range(60):
        for name in NAMES:
            if name == "R6":
                world.events[name] += 160
                stamp = world.ts // 100_000_000 - 40 + world.frame % 3
                old = FeatureRow(
                    "R6", stamp * 100_000_000, stamp, {"orders": 1.0}, {}, world.place(), counters={"events": behind}
                )
                world.fleet.row(old, world.place(), world.now)
            else:
                world.row(name, heavy(0, name))
        if world.frame % 10 == 0:
            for name in NAMES:
                world.node(name)
        world.frame += 1
        world.tick()
    assert names_of(world.out) == ["silence_lag"]


def test_keeping_up_is_no_lag_however_much_flows() -> None:
    world = World()
    world.run(30, lambda frame, name: {"orders": 5_000.0 if frame % 7 == 0 else 10.0}, nodes=True)
    assert not [b for b in world.out if b.family == "silence"]


def test_a_node_that_counts_anew_is_met_anew() -> None:
    world = World()
    world.run(5, heavy, nodes=True)
    for _ in range(5):
        for name in NAMES:
            world.node(name, seq=3)
        world.run(1, heavy)
    assert not world.out
