"""Silence: nodes, events and verdicts that do not come, our own included."""

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct

from detectors.fleet.alarm import Alarm
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import verdict
from detectors.fleet.roster import BOUNDLESS, NEVER, Roster, Server
from schemas.records import Breach, Family
from schemas.units import S_NS

KINDS: Final = ("silence", "silence_gap", "silence_lag", "silence_blind")


class Waits(Struct):
    """One server: since when numbers are missing and events not scored (desk time; -1: they are not)."""

    missing_since: int = -1
    behind_since: int = -1
    alarms: tuple[Alarm, Alarm, Alarm, Alarm] = (Alarm(), Alarm(), Alarm(), Alarm())


class Silence:
    """What should be heard of a server and is not. All times desk time, so that nothing fires without ticks.

    | verdict | opens when | score |
    |---|---|---|
    | ``silence`` | a node that reports, and had flow within ``flow_s``, has not for ``heartbeat_s`` | seconds |
    | ``silence_gap`` | numbers of its sequence have been missing for ``missing_s`` | numbers missing |
    | ``silence_lag`` | it says that it published ``lag_events`` more than stage 1 scored, for ``lag_s`` | seconds |
    | ``silence_blind`` | the same for ``lag_halt_s`` | seconds |

    Lag is counted in the node's own sequence (``seq`` of its records against the events in its rows, less what that
    differs by when stage 1 keeps up), while its rows are more than half of ``lag_s`` older than its last record, or do
    not come: no other clock is asked, so that a recorded day that is replayed is no lag. A silent node may still have
    orders in the market, but its own gate fails closed, so silence and gaps only warn. Lag leaves the detectors blind:
    it warns, and when it lasts it halts (rule ``silence_blind``): a halt is not put off for ever because we are slow.

    Statistical; no learning. Warm-up: one row and one node record. False-alarm cost: every restart of a node that takes
    longer than ``heartbeat_s`` warns once.

    Source: Reg SCI and RTS 6 Art. 13-14 (monitoring that fails must be seen); domain notes 4, no. 17.
    """

    names: ClassVar[tuple[str, ...]] = KINDS
    family: ClassVar[Family] = "silence"

    def __init__(self, config: FleetConfig) -> None:
        c = self._config = config.silence
        self._quiet_ns = round(c.quiet_s * S_NS)
        self._late_ns = round(c.lag_s * S_NS) // 2
        self._flow_ns, self._missing_ns = c.flow_s * S_NS, c.missing_s * S_NS
        self._limits = (c.heartbeat_s, float(c.missing_events), max(c.lag_s, 1e-3), c.lag_halt_s or 1.0)
        self.waits: dict[str, Waits] = {}

    def alarms(self) -> Iterator[tuple[str, Alarm]]:
        """Of every server."""
        for waits in self.waits.values():
            yield from zip(KINDS, waits.alarms, strict=True)

    def judge(self, roster: Roster, now: int) -> list[Breach]:
        """Look at every server."""
        found: list[Breach] = []
        for server in roster.servers.values():
            waits = self.waits.get(server.name)
            if waits is None:
                waits = self.waits[server.name] = Waits(alarms=(Alarm(), Alarm(), Alarm(), Alarm()))
            found += self._one(server, waits, now)
        return found

    def _one(self, server: Server, waits: Waits, now: int) -> list[Breach]:
        c = self._config
        quiet_s = (now - server.beat_at) / S_NS if server.beat_at != NEVER else 0.0
        flowed = now - server.asked_at <= self._flow_ns or waits.alarms[0].open
        waits.missing_since = _since(waits.missing_since, server.missing >= c.missing_events, now)
        missing = waits.missing_since >= 0 and now - waits.missing_since >= self._missing_ns
        behind = self._behind(server, now)
        waits.behind_since = _since(waits.behind_since, behind >= c.lag_events, now)
        blind_s = (now - waits.behind_since) / S_NS if waits.behind_since >= 0 else 0.0
        scores = (
            quiet_s if flowed else 0.0, float(server.missing) if missing else 0.0, blind_s,
            blind_s if c.lag_halt_s else 0.0,
        )  # fmt: skip
        found = []
        for name, alarm, score, limit in zip(KINDS, waits.alarms, scores, self._limits, strict=True):
            if score < limit and not alarm.open:
                alarm.ratio = score / limit if score else 0.0
                continue
            edge = alarm.step(score, limit, now, self._quiet_ns, server.first)
            if edge:
                evidence = {
                    "what": name.removeprefix("silence_"), "silent_ms": round(quiet_s * 1e3), "missing": server.missing,
                    "behind": behind, "blind_ms": round(blind_s * 1e3),
                }  # fmt: skip
                found.append(verdict(name, self.family, edge, alarm, score, limit, server=server, evidence=evidence))
        return found

    def _behind(self, server: Server, now: int) -> int:
        """Events published by the node that stage 1 has not scored, if its rows are late or do not come."""
        if server.level == BOUNDLESS:
            return 0
        late_ns = max(server.beat_ts - server.ts, now - server.heard_at)
        return max(server.published - server.scored - server.level, 0) if late_ns > self._late_ns else 0

    def state(self) -> Any:
        """Plain data."""
        return msgspec.to_builtins(self.waits)

    def load(self, state: Any) -> None:
        """The reverse."""
        self.waits = msgspec.convert(state, dict[str, Waits])


def _since(since: int, holds: bool, now: int) -> int:
    return (since if since >= 0 else now) if holds else -1
