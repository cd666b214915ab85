"""A gate that closes stops the flow within one slice, and its cancels leave nothing working."""

import numpy as np
import pytest

from producers import scenarios
from producers.gating import ScriptedGate, covers
from producers.scenarios import Simulation
from schemas.events import Kind, Side
from schemas.units import MS_NS, S_NS
from tests.producers.life import Lives

SLICE_NS = 10 * MS_NS


def closed_run(
    name: str, scope: str, at_s: float, seed: int = 2, action: str = "block_and_cancel", minutes: float = 0.4
) -> tuple[Simulation, list[np.ndarray], Lives, ScriptedGate, int]:  # type: ignore[type-arg]
    """Run until the end, closing ``scope`` at ``at_s`` seconds. Returns what came after, by chunk."""
    scenario = scenarios.build(name, seed, minutes=minutes)
    simulation, gate = scenario.simulate(), ScriptedGate()
    scope = scope.replace("STALE", _stale(name, seed))
    after: list[np.ndarray] = []  # type: ignore[type-arg]
    lives, closed = Lives(), 0
    for chunk in simulation.run(gate, SLICE_NS):
        lives.follow([chunk])
        if closed:
            after.append(chunk.events)
        elif chunk.end_ns >= scenario.start_ns + round(at_s * S_NS):
            gate.close(scope, action)
            closed = chunk.end_ns
    return simulation, after, lives, gate, closed


def _stale(name: str, seed: int) -> str:
    simulation = scenarios.build(name, seed, minutes=0.01).simulate()
    list(simulation.run())
    return str(simulation.world.truth.params.get("stale_server", "R1"))


def sends(events: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return events[(events["kind"] == Kind.order) | (events["kind"] == Kind.replace)]


def test_the_bad_server_stops_and_the_others_go_on() -> None:
    simulation, after, lives, gate, closed = closed_run("power-peg", "server:STALE", 12)
    stale = simulation.world.truth.params["stale_server"].encode()
    sent = np.concatenate([sends(e) for e in after])
    assert not (sent["server"] == stale).any()
    assert len(np.unique(sent["server"])) == 7
    assert simulation.bad_orders_blocked > 10_000, "it would have gone on"
    assert simulation.blocked_by_server[int(stale[1:]) - 1] == simulation.orders_blocked
    ours = [o for o, (_, parent) in lives.orders.items() if parent[1:3] == b"%02d" % (int(stale[1:]) - 1)]
    assert ours == [], "everything of the halted server is cancelled, and said so"
    assert gate.left == {("", f"server:{stale.decode()}"): []}
    assert simulation.first_bad is not None
    assert simulation.first_bad.ts < closed
    late = np.concatenate(after)
    late = late[(late["server"] == stale) & (late["ts"].astype(np.int64) > closed + S_NS)]
    assert set(np.unique(late["kind"])) <= {Kind.parent, Kind.parent_done}, "a second later nothing moves"


def test_the_loss_stops_with_the_flow() -> None:
    scenario = scenarios.build("power-peg", 2, minutes=0.5)
    simulation, gate = scenario.simulate(), ScriptedGate()
    for chunk in simulation.run(gate, SLICE_NS):
        if chunk.end_ns == scenario.incident_ns + S_NS:
            gate.close("firm")
    unhalted, _ = scenario.loss_unhalted()
    assert simulation.loss_usd < unhalted / 20


@pytest.mark.parametrize("scope", ["firm", "account:RETAIL", "strategy:VWAP", "symbol:NOK"])
def test_every_scope_stops_what_it_covers_and_nothing_else(scope: str) -> None:
    simulation, after, lives, gate, _ = closed_run("calm", scope, 6, minutes=0.25)
    sent = np.concatenate([sends(e) for e in after])
    covered = [
        covers(scope, *(e[f].decode() for f in ("server", "symbol", "strategy", "account")))
        for e in sent[["server", "symbol", "strategy", "account"]]
    ]
    assert not any(covered)
    assert (len(sent) == 0) == (scope == "firm")
    assert simulation.orders_blocked > 0
    assert gate.left[("", scope)] == []
    if scope == "firm":
        assert lives.orders == {}
        assert all(p.filled <= p.qty and p.working == 0 for p in lives.parents.values())


def test_block_alone_leaves_working_orders() -> None:
    _, after, _, _, _ = closed_run("calm", "firm", 6, action="block", minutes=0.25)
    kinds = np.unique(np.concatenate(after)["kind"])
    assert Kind.order not in kinds
    assert Kind.fill in kinds, "resting orders go on living"


def test_reduce_only_lets_through_what_brings_a_position_nearer_to_zero() -> None:
    scenario = scenarios.build("calm", 2, minutes=0.25)
    simulation, gate = scenario.simulate(), ScriptedGate()
    position: dict[tuple[bytes, bytes, bytes], int] = {}
    passed = 0
    for chunk in simulation.run(gate, SLICE_NS):
        for e in sends(chunk.events) if gate.reduce_only else ():
            held = position.get((e["server"], e["account"], e["symbol"]), 0)
            towards = -held if e["side"] == Side.B else held
            assert e["qty"] <= towards
            passed += 1
        for e in chunk.events[chunk.events["kind"] == Kind.fill]:
            key = (e["server"], e["account"], e["symbol"])
            position[key] = position.get(key, 0) + int(e["qty"]) * (1 if e["side"] == Side.B else -1)
        if chunk.end_ns == scenario.start_ns + 6 * S_NS:
            gate.close("firm", "reduce_only")
    assert 0 < passed < simulation.orders_blocked


def test_reopened_it_sends_again() -> None:
    scenario = scenarios.build("calm", 1, minutes=0.2)
    gate = ScriptedGate()
    gate.close("firm")
    sent = 0
    for chunk in scenario.simulate().run(gate, SLICE_NS):
        if chunk.end_ns == scenario.start_ns + 6 * S_NS:
            assert sent == 0
            gate.reopen("firm")
        sent += len(sends(chunk.events))
    assert sent > 100


def test_a_closed_gate_does_not_change_the_rules_of_life() -> None:
    """Closing and reopening at odd times: ids stay unique, orders known, parents kept."""
    scenario, gate, lives = scenarios.build("calm", 9, minutes=0.3), ScriptedGate(), Lives()
    scopes = ["server:R1", "symbol:NOK", "firm", "strategy:PEG", "account:A03"]
    for i, chunk in enumerate(scenario.simulate().run(gate, SLICE_NS)):
        lives.follow([chunk])
        if i % 37 == 11:
            gate.close(scopes[i % len(scopes)])
        if i % 53 == 40:
            for scope in scopes:
                gate.reopen(scope)
    assert lives.counts[Kind.order] > 300
    assert not lives.over


def test_an_unknown_action_or_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="action 'stop' is not one of"):
        ScriptedGate().close("firm", "stop")
    with pytest.raises(ValueError, match="scope 'R1' is not one of"):
        ScriptedGate().close("R1")
