"""The fleet's detectors together: what the desk feeds and asks."""

from typing import Any, Final, NamedTuple

import msgspec

from detectors.fleet.catalog import FLEET
from detectors.fleet.config import FleetConfig
from detectors.fleet.divergence import Divergence
from detectors.fleet.roster import NEVER, Placed, Roster
from schemas.records import Breach, Declared, FeatureRow, NodeState
from schemas.units import MS_NS, S_NS

VERSION: Final = 1


class FleetView(NamedTuple):
    """What the fleet as a whole says of single servers. ``explained``: of these a move of the whole fleet explains what
    rises with volume. ``compared``: these have peers, so that one judgement more can tell whether they moved alone."""

    explained: frozenset[str] = frozenset()
    compared: frozenset[str] = frozenset()


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
        self.compared: frozenset[str] = frozenset()
        """Servers that had peers at the last judgement."""
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
        current = self.roster.current(now, round(self.config.current_s * S_NS))
        self.compared = frozenset(server.name for server in current) if len(current) > 1 else frozenset()
        found: list[Breach] = []
        for detector in self.detectors:
            found += detector.judge(self.roster, now)
        if self._divergence is not None and self._divergence.moves_as_one(self.config.breadth.move_ratio):
            self.together_at = now
        return found

    def view(self, now: int) -> FleetView:
        """Explained are, while the fleet moves as one, those that are not unlike their peers."""
        if self._divergence is None:
            return FleetView()
        if now - self.together_at > self.config.breadth.together_s * S_NS:
            return FleetView(compared=self.compared)
        unlike = self._divergence.unlike
        return FleetView(frozenset(name for name in self.roster.servers if not unlike(name)), self.compared)

    def ratios(self) -> dict[str, float]:
        """Score / limit of each detector, of the server nearest to its bound: 1 is the bound."""
        found = {name: 0.0 for detector in self.detectors for name in detector.names}
        for detector in self.detectors:
            for name, alarm in detector.alarms():
                found[name] = max(found[name], alarm.ratio)
        return {name: round(share, 4) for name, share in found.items()}

    def snapshot(self) -> dict[str, Any]:
        """Everything as plain data."""
        states = {type(d).__name__: d.state() for d in self.detectors}
        return {
            "v": VERSION, "roster": msgspec.to_builtins(self.roster), "judged_at": self.judged_at,
            "together_at": self.together_at, "compared": sorted(self.compared), "detectors": states,
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
        fleet.compared = frozenset(data.get("compared", ()))
        for detector in fleet.detectors:
            state = data["detectors"].get(type(detector).__name__)
            if state is not None:
                detector.load(state)
        return fleet
