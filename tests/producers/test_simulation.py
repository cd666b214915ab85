"""The laws of the simulated fleet."""

import hashlib

import numpy as np
import pytest

from producers import scenarios
from producers.gating import ScriptedGate
from producers.scenarios import Simulation
from schemas.codec import decode, encode_json, encode_sbe
from schemas.events import Kind
from schemas.records import Declared, NodeState
from schemas.units import MS_NS, S_NS
from tests.producers.life import Lives


def digest(simulation: Simulation, gate: ScriptedGate | None = None, slice_ns: int = 100 * MS_NS) -> str:
    found = hashlib.sha256()
    for chunk in simulation.run(gate, slice_ns):
        found.update(chunk.events.tobytes())
        found.update(chunk.bad.tobytes())
        found.update(repr(chunk.control).encode())
    return found.hexdigest()


@pytest.mark.parametrize("name", ["calm", "power-peg"])
def test_a_seed_says_it_all_and_slices_do_not_matter(name: str) -> None:
    scenario = scenarios.build(name, 5, minutes=0.4)
    whole = digest(scenario.simulate())
    assert digest(scenario.simulate()) == whole
    assert digest(scenarios.build(name, 6, minutes=0.4).simulate()) != whole
    run = scenario.simulate()
    found = hashlib.sha256()
    events, bad = zip(*((c.events, c.bad) for c in run.run(ScriptedGate(), 5 * MS_NS)), strict=True)
    found.update(np.concatenate(events).tobytes())
    found.update(np.concatenate(bad).tobytes())
    once = hashlib.sha256()
    chunks = list(scenario)
    once.update(np.concatenate([c.events for c in chunks]).tobytes())
    once.update(np.concatenate([c.bad for c in chunks]).tobytes())
    assert found.hexdigest() == once.hexdigest()


def test_healthy_routers_conserve_every_parent() -> None:
    lives = Lives().follow(scenarios.build("calm", 2, minutes=0.7))
    assert not lives.over
    assert not lives.bad
    assert not lives.sent_after_done
    for kind in Kind:
        assert lives.counts.get(kind, 0) > 0, f"calm flow has no {kind.name}"
    assert all(p.filled <= p.qty for p in lives.parents.values())
    assert sum(p.filled == p.qty for p in lives.parents.values()) > 100


def test_bad_is_what_goes_beyond_its_parent_and_what_becomes_of_it() -> None:
    lives = Lives().follow(scenarios.build("power-peg", 2, minutes=0.4))
    assert lives.over, "nothing ran away"
    assert lives.over <= lives.bad
    assert lives.sent_after_done > 1_000, "a filled parent still emits"


@pytest.mark.parametrize("name", ["calm", "power-peg"])
def test_every_event_passes_the_codec_in_both_encodings(name: str) -> None:
    for i, chunk in enumerate(scenarios.build(name, 3, minutes=0.25)):
        if not len(chunk.events):
            continue
        found = decode("orderflow", 0, [encode_sbe(chunk.events)], [0])
        assert not found.refused
        assert found.batch.events.tobytes() == chunk.events.tobytes()
        if i % 20 == 0:
            assert not decode("orderflow", 0, [encode_json(chunk.events)], [0]).refused


def test_time_runs_forward_and_prices_are_those_of_the_market() -> None:
    scenario, last = scenarios.build("calm", 1, minutes=0.5), 0
    for chunk in scenario:
        e = chunk.events
        ts = e["ts"].astype(np.int64)
        assert (np.diff(ts) >= 0).all()
        assert not len(ts) or (ts[0] >= last and ts[-1] < chunk.end_ns)
        last = chunk.end_ns - 100 * MS_NS
        quoted = e[np.isin(e["kind"], [Kind.order, Kind.fill, Kind.replace])]
        assert (quoted["bid"] > 0).all()
        assert (quoted["ask"] > quoted["bid"]).all()
        fills = e[e["kind"] == Kind.fill]
        assert (fills["px"] >= fills["bid"] - 3 * 10_000_000).all()
        assert (fills["px"] <= fills["ask"] + 3 * 10_000_000).all()


def test_nodes_speak_every_second_and_the_release_speaks_first() -> None:
    scenario = scenarios.build("power-peg", 1, minutes=0.2)
    control = [record for chunk in scenario for record in chunk.control]
    declared = [r for r in control if isinstance(r, Declared)]
    nodes = [r for r in control if isinstance(r, NodeState)]
    assert [r.server for r in declared] == list(scenario.servers)
    assert len(nodes) == 12 * 8
    assert {(n.ts - scenario.start_ns) % S_NS for n in nodes} == {0}
    differs = {n.server for n in nodes for d in declared if n.server == d.server and n.build != d.build}
    assert len(differs) == 1
    stale = next(n for n in nodes if n.server in differs)
    assert stale.flags["power_peg"]
    assert not declared[0].flags["power_peg"]


def test_real_days_look_alarming() -> None:
    """Busiest second against the 99th percentile second: 6 to 10 on tapes of a day; here ten minutes of 8 servers."""
    scenario = scenarios.build("calm", 1, minutes=10)
    orders = np.zeros((600, 8), np.int64)
    for chunk in scenario:
        e = chunk.events[chunk.events["kind"] == Kind.order]
        second = (e["ts"].astype(np.int64) - scenario.start_ns) // S_NS
        server = np.searchsorted(np.array(scenario.servers, "S16"), e["server"])
        np.add.at(orders, (second, server), 1)
    p99 = np.quantile(orders, 0.99)
    assert p99 > 2.5 * orders.mean()
    assert orders.max() > 3 * p99


def test_bad_arguments_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="no scenario 'nope'; expected one of power-peg"):
        scenarios.build("nope")
    with pytest.raises(ValueError, match="0 servers asked for, expected 1 to 99"):
        scenarios.build("calm", servers=0)
    with pytest.raises(ValueError, match="0 minutes"):
        scenarios.build("calm", minutes=0)
    simulation = scenarios.build("calm", minutes=0.01).simulate()
    with pytest.raises(ValueError, match="expected a divisor of 100000000"):
        next(simulation.run(None, 7))
    list(simulation.run())
    with pytest.raises(RuntimeError, match="has been run"):
        next(simulation.run())
