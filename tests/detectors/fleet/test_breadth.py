"""How much is abnormal at once."""

from tests.detectors.fleet.fleet_world import NAMES, World, names_of, ordinary


def test_half_of_the_servers_abnormal_is_one_warning_on_the_firm() -> None:
    world = World()
    world.run(2, ordinary())
    for name in NAMES[:3]:
        world.breach(name)
    world.run(1, ordinary())
    assert not world.out
    world.breach(NAMES[3], "novelty", family="novelty")
    world.run(1, ordinary())
    (found,) = world.out
    assert (found.detector, found.scope, found.server, found.hard) == ("breadth", "firm", "", False)
    assert (found.evidence["count"], found.evidence["of"]) == (4, 8)
    assert found.evidence["detectors"] == ["novelty", "rate"]


def test_one_server_alone_is_not_broad() -> None:
    world = World(names=("R1",))
    world.run(1, ordinary())
    world.breach("R1")
    world.run(2, ordinary())
    assert not world.out


def test_it_closes_when_the_breaches_have() -> None:
    world = World()
    for name in NAMES:
        world.breach(name)
    world.run(1, ordinary())
    for name in NAMES:
        world.breach(name, state="close")
    assert "breadth" in names_of(world.run(35, ordinary()), "close")


def test_a_breach_that_nobody_closes_is_forgotten() -> None:
    world = World()
    for name in NAMES:
        world.breach(name)
    world.run(1, ordinary())
    for _ in range(2_500):
        world.now += 200_000_000
        world.tick()
    assert "breadth" in names_of(world.out, "close")


def test_symbols_of_one_server_are_its_own() -> None:
    world = World()
    world.run(1, ordinary())
    for i in range(19):
        world.breach("R3", "rate", evidence={"symbol": f"S{i}"})
    world.run(1, ordinary())
    assert not world.out
    world.breach("R3", "rate", evidence={"symbol": "S19"})
    world.run(1, ordinary())
    (found,) = world.out
    assert (found.detector, found.scope, found.score) == ("breadth_symbols", "server:R3", 20.0)


def test_symbols_of_several_servers_are_the_firms_and_scopes_count() -> None:
    world = World()
    for i in range(20):
        world.breach(NAMES[i % 2], f"rate{i}", scope=f"symbol:S{i}")
    world.run(1, ordinary())
    (found,) = (b for b in world.out if b.detector == "breadth_symbols")
    assert found.scope == "firm"
    assert found.evidence["servers"] == ["R1", "R2"]
