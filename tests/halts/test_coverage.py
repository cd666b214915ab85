"""Partitions that nobody reads: known to the desk by what the workers say, and no order passes there meanwhile."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import DefaultPartitioner

from halts.config import DeskConfig
from halts.coverage import PARTITIONS_MAX, Coverage, unwatched_text
from halts.desk import Desk
from halts.gate_io import partition_of
from halts.gate_state import GateState
from schemas.records import Heartbeat, Watch, encode
from schemas.units import MS_NS, S_NS
from tests.halts.desk_world import T0, World, breach
from tests.halts.gate_log import BEAT, FAIL, SKEW, Log, halt, opened

OWN = partition_of("R1", 8)
OTHER = (OWN + 1) % 8


class Cluster:
    """Eight partitions of the order flow, as kafka-python's producer knows them."""

    def topics(self) -> set[str]:
        return {"orderflow"}

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(8))

    available_partitions_for_topic = partitions_for_topic


def watch(ts: int, *held: int, partitions: int = 4, worker: str = "w1") -> Watch:
    return Watch(worker, ts, partitions, held)


def test_partition_is_that_of_kafkas_default_partitioner() -> None:
    found = Counter()
    for i in range(500):
        name = f"router-{i}"
        key = name.encode()
        assert partition_of(name, 8) == DefaultPartitioner().partition("orderflow", key, key, b"", b"", Cluster())
        found[partition_of(name, 8)] += 1
    assert len(found) == 8


def test_a_partition_is_unwatched_when_nobody_speaks_of_it() -> None:
    world = World()
    world.tick(100)
    world.put(watch(world.now, 0, 1))
    world.put(watch(world.now, 2, worker="w2"))
    for _ in range(18):
        world.tick(100)
        world.put(watch(world.now, 0, 1))
    assert {beat.unwatched for beat in world.beats()} == {()}
    assert world.beats()[-1].partitions == 4
    for _ in range(6):
        world.tick(100)
        world.put(watch(world.now, 0, 1))
    assert world.beats()[-1].unwatched == (2, 3), "2 has lost its worker, 3 never had one"
    world.put(watch(world.now, 2, 3, worker="w3"))
    world.tick(300)
    assert world.beats()[-1].unwatched == ()


def test_nothing_is_held_against_anybody_before_the_first_watch() -> None:
    world = World()
    world.tick(10_000)
    assert {(beat.partitions, beat.unwatched) for beat in world.beats()} == {(0, ())}


def test_zero_switches_it_off() -> None:
    world = World(DeskConfig(unwatched_after_ms=0))
    world.put(watch(T0, 0))
    world.tick(10_000)
    assert {beat.unwatched for beat in world.beats()} == {()}


def test_it_is_in_the_snapshot() -> None:
    world = World()
    world.tick(100)
    world.put(watch(world.now, 0))
    world.tick(3_000)
    again = Desk.restore(world.config, world.desk.snapshot())
    assert again.snapshot() == world.desk.snapshot()
    world.desk = again
    world.tick(300)
    assert world.beats()[-1].unwatched == (0, 1, 2, 3)


def test_a_clock_that_is_ahead_hides_no_death() -> None:
    world = World()
    world.tick(100)
    world.put(watch(world.now + 3_600 * S_NS, 0, 1, 2, 3))
    world.tick(2_500)
    assert world.beats()[-1].unwatched == (0, 1, 2, 3)


@pytest.mark.parametrize("count", [0, -1, PARTITIONS_MAX + 1])
def test_a_senseless_watch_is_not_believed(count: int) -> None:
    assert Coverage().taken(watch(T0, 0, partitions=count), T0) == Coverage()


@given(
    st.lists(st.tuples(st.integers(0, 50), st.lists(st.integers(-2, 6), max_size=4)), max_size=20), st.integers(0, 60)
)
def test_unwatched_is_what_no_watch_has_named_since(said: list[tuple[int, list[int]]], at: int) -> None:
    coverage = Coverage()
    for ts, held in said:
        coverage = coverage.taken(watch(T0 + ts * MS_NS, *held), T0 + 50 * MS_NS)
    found = coverage.unwatched(T0 + at * MS_NS, 10 * MS_NS)
    for p in range(4 if said else 0):
        newest = max([ts for ts, held in said if p in held], default=said[0][0])
        assert (p in found) == (at - newest > 10)
    assert set(found) <= set(range(4)), "only partitions that exist"


def test_the_gate_of_an_unwatched_router_closes_and_opens_by_itself() -> None:
    log = opened()

    def beat(*unwatched: int) -> None:
        log.put(BEAT, encode(Heartbeat(log.utc, log.offset, 1, partitions=8, unwatched=unwatched)))

    beat(OTHER)
    assert log.ask()
    beat(OTHER, OWN)
    found = log.ask()
    assert not found
    assert not found.halt_id
    assert f"no worker reads this router's orders (partition {OWN} of orderflow)" in found.reason
    assert log.state.gate(fresh=False).state == "CLOSED"
    log.halt(halt("server:R1"))
    assert log.ask().halt_id == "h1", "a halt keeps its own reason"
    beat()
    assert log.ask().halt_id == "h1", "and is not opened by it"


def test_it_reopens() -> None:
    log = opened()
    log.put(BEAT, encode(Heartbeat(log.utc, 50, 1, partitions=8, unwatched=(OWN,))))
    assert not log.ask()
    log.put(BEAT, encode(Heartbeat(log.utc, 51, 1, partitions=8)))
    assert log.ask()


def test_a_heartbeat_said_again_does_not_open_it() -> None:
    log = opened()
    log.put(BEAT, encode(Heartbeat(log.utc, 50, 1, partitions=8)))
    log.put(BEAT, encode(Heartbeat(log.utc, 51, 1, partitions=8, unwatched=(OWN,))))
    log.put(BEAT, encode(Heartbeat(log.utc, 50, 1, partitions=8)))
    assert not log.ask()


def test_who_looks_on_has_no_partition() -> None:
    log = Log()
    log.state = GateState("-", fail_closed_after_ns=FAIL, clock_skew_ns_max=SKEW)
    log.state.connected(0, 0)
    log.put(BEAT, encode(Heartbeat(log.utc, 1, 1, partitions=1, unwatched=(0,))))
    assert log.ask()
    assert unwatched_text(log.state.beat.unwatched if log.state.beat else ()) == (
        "no worker reads partition 0 of orderflow: the gates of the routers there are closed until one does"
    )
    assert "partitions 0, 3 of" in unwatched_text((0, 3))
    assert not unwatched_text(())


def test_a_watch_decides_nothing_else() -> None:
    with_it, without = World(), World()
    for world in (with_it, without):
        for i in range(30):
            world.tick(100)
            if world is with_it:
                world.put(watch(world.now, 0, 1, 2, 3))
            if i == 5:
                world.put(breach())
    assert with_it.halts() == without.halts()
    assert with_it.halts()
