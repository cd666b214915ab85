"""Compile the simulator's loops ahead of time: ``python -m producers.warm``, after an installation or a change."""

from producers import scenarios
from producers.gating import ScriptedGate


def warm() -> int:
    """Run every loop of the simulator, on two short days, the second with a gate; returns how many events came."""
    events = sum(len(chunk.events) for chunk in scenarios.build("reentry-after-cancel", 1, minutes=0.1, incident_s=2))
    gate = ScriptedGate()
    return events + sum(len(chunk.events) for chunk in scenarios.build("calm", 1, minutes=0.1).simulate().run(gate))


if __name__ == "__main__":
    warm()
