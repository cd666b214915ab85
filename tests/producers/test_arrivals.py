"""Bursts that are added to those of the day."""

import numpy as np
import pytest

from producers import scenarios
from schemas.events import Kind
from schemas.units import S_NS


def test_a_burst_is_added_before_its_time() -> None:
    simulation = scenarios.build("calm", 3, minutes=0.2).simulate()
    at = simulation.world.start_ns + 5 * S_NS
    simulation.arrivals.add_burst(at, 400, server=2, sym=7, spread_ns=S_NS // 10, lean=0.5)
    events = np.concatenate([chunk.events for chunk in simulation.run()])
    there = (events["kind"] == Kind.parent) & (events["ts"] >= at) & (events["ts"] < at + S_NS // 10)
    there &= events["symbol"] == simulation.world.universe.symbols[7]
    assert (events["server"][there] == b"R3").sum() > 300
    with pytest.raises(ValueError, match="expected one that comes after"):
        simulation.arrivals.add_burst(at, 400, spread_ns=S_NS, lean=0.5)
