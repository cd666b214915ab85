"""The table of scenarios: name to what is simulated. Incidents ought to be halted; benign look-alikes must not be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from producers.faults.power_peg import EXECUTIONS_PER_S_ONE_SERVER, PowerPeg
from producers.simulation import Behaviour
from schemas.units import MIN_NS

SESSION_MIN: Final = 390.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a scenario's maker gets. Times in ns; ``incident_ns`` is 0 for a benign one."""

    rng: np.random.Generator
    start_ns: int
    open_ns: int
    close_ns: int
    end_ns: int
    incident_ns: int


@dataclass(frozen=True, slots=True)
class Spec:
    """A scenario. minutes: its own length; lead_s: calm before the incident; since_open_s: where in the session it
    starts, when the market does not open at the incident."""

    make: Callable[[Setting], Sequence[Behaviour]]
    minutes: float = 10.0
    lead_s: float = 10.0
    opens_at_incident: bool = False
    since_open_s: float = 3_600.0
    session_min: float = SESSION_MIN


def _power_peg(s: Setting) -> Sequence[Behaviour]:
    return [PowerPeg(s.rng, s.incident_ns)]


def _power_peg_rollback(s: Setting) -> Sequence[Behaviour]:
    """The stale code spreads at minute 10 to 20 (the order does not say when); earlier in a shorter run."""
    minute = s.rng.uniform(10, 20)
    at = min(s.incident_ns + int(minute * MIN_NS), s.incident_ns + (s.end_ns - s.incident_ns) // 3)
    return [PowerPeg(s.rng, s.incident_ns, executions_per_s=EXECUTIONS_PER_S_ONE_SERVER * 8, rollback_ns=at)]


def _nothing(s: Setting) -> Sequence[Behaviour]:
    return []


INCIDENTS: Final[dict[str, Spec]] = {
    "power-peg": Spec(_power_peg, minutes=45, opens_at_incident=True),
    "power-peg-rollback": Spec(_power_peg_rollback, minutes=45, opens_at_incident=True),
}
BENIGN: Final[dict[str, Spec]] = {
    "calm": Spec(_nothing, minutes=30),
}
