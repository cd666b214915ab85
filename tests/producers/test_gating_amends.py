"""What could get past a gate: an amend instead of an order, and an order again after its cancel. Neither does."""

import numpy as np
import pytest

from producers import scenarios
from producers.gating import ScriptedGate
from schemas.events import Kind
from schemas.units import MS_NS, S_NS


@pytest.mark.parametrize(("name", "kind"), [("amend-bypass", Kind.replace), ("reentry-after-cancel", Kind.order)])
def test_neither_amends_nor_orders_again_after_a_cancel_pass_a_closed_gate(name: str, kind: Kind) -> None:
    """The fault runs when the firm is closed: what it does most, before, is what it would go on doing."""
    scenario, gate = scenarios.build(name, 5, servers=2, minutes=0.2, incident_s=2), ScriptedGate()
    simulation, before, after, closed = scenario.simulate(), [], [], False
    for chunk in simulation.run(gate, 10 * MS_NS):
        (after if closed else before).append(chunk.events)
        if not closed and chunk.end_ns >= scenario.start_ns + 7 * S_NS:
            gate.close("firm")
            closed = True
    was, now = np.concatenate(before)["kind"], np.concatenate(after)["kind"]
    assert (was == kind).sum() > 10, "the fault is there to be stopped"
    assert not ((now == Kind.order) | (now == Kind.replace)).any()
    assert (now == Kind.cancel).any(), "cancels pass"
    assert simulation.orders_blocked > 10, "it goes on trying"
