"""The fleet's detectors together: what the desk feeds and asks."""

from typing import Any, Final

import msgspec

from detectors.fleet.catalog import FLEET
from detectors.fleet.config import FleetConfig
from detectors.fleet.divergence import Divergence
from detectors.fleet.roster import NEVER, Placed, Roster
from schemas.records import Breach, Declared, FeatureRow, NodeState
from schemas.units import MS_NS, S_NS

VERSION: Final = 1


class Fleet:
    """Takes in what the desk takes in, and judges it on ticks, ``judge_ms`` of desk time apart. Pure: no clock, no
    chance, and as records come one by one, cutting cannot matter. at: where the record stands on the desk's log."""

    def __init__(self, config: FleetConfig) -> None:
        self.config = config
        self.roster = Roster()
        self.detectors = [make(config) for make in FLEET]
        self.judged_at = 0
        self.together_at = NEVER
        """When the fleet was last seen to move as one."""
        self._divergence = next((d for d in self.detectors if isinstance(d, Divergence)), None)

    def row(self, row: FeatureRow, at: Placed, now: int) -> None:
        """A feature row of stage 1."""
        self.roster.row(row, at, now, self.config.servers_max)

    def node(self, node: NodeState, at: Placed, now: int) -> None:
        """What a node runs."""
        self.roster.node(node, at, now, self.config.servers_max)

    def declared(self, said: Declared, at: Placed, now: int) -> None:
        """What a node ought to run."""
        self.roster.declared(said, at, now, self.config.servers_max)

    def breach(self, breach: Breach, at: Placed, now: int) -> None:
        """A verdict of stage 1."""
        self.roster.breach(breach, at, now, self.config.servers_max)

    def tick(self, now: int) -> list[Breach]:
        """Desk time is ``now`` (ns): what follows from what came since the last judgement."""
        if now - self.judged_at < self.config.judge_ms * MS_NS:
            return []
        self.judged_at = now
        self.roster.forget(now)
        found: list[Breach] = []
        for detector in self.detectors:
            found += detector.judge(self.roster, now)
        if self._divergence is not None and self._divergence.moves_as_one(self.config.breadth.move_ratio):
            self.together_at = now
        return found

    def explained(self, now: int) -> frozenset[str]:
        """Servers whose statistical breaches a move of the whole fleet explains: it moves as one, and they are not
        unlike their peers."""
        if self._divergence is None or now - self.together_at > self.config.breadth.together_s * S_NS:
            return frozenset()
        return frozenset(name for name in self.roster.servers if not self._divergence.unlike(name))

    def ratios(self) -> dict[str, float]:
        """Score / limit of each detector, of the server nearest to its bound: 1 is the bound."""
        found = {name: 0.0 for detector in self.detectors for name in detector.names}
        for detector in self.detectors:
            for name, alarm in detector.alarms():
                found[name] = max(found[name], alarm.ratio)
        return found

    def snapshot(self) -> dict[str, Any]:
        """Everything as plain data."""
        states = {type(d).__name__: d.state() for d in self.detectors}
        return {
            "v": VERSION, "roster": msgspec.to_builtins(self.roster), "judged_at": self.judged_at,
            "together_at": self.together_at, "detectors": states,
        }  # fmt: skip

    @classmethod
    def restore(cls, config: FleetConfig, data: dict[str, Any]) -> "Fleet":
        """The fleet of a snapshot. A detector that the snapshot does not know begins anew. ValueError for another
        version."""
        if data.get("v") != VERSION:
            raise ValueError(f"fleet snapshot has version {data.get('v')}, expected {VERSION}: discard it")
        fleet = cls(config)
        fleet.roster = msgspec.convert(data["roster"], Roster)
        fleet.judged_at, fleet.together_at = data["judged_at"], data["together_at"]
        for detector in fleet.detectors:
            state = data["detectors"].get(type(detector).__name__)
            if state is not None:
                detector.load(state)
        return fleet
