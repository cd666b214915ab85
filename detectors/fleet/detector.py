"""What every detector of the fleet is, and how its verdicts are made."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, Protocol

from detectors.fleet.alarm import Alarm, Edge
from detectors.fleet.roster import Change, Roster, Server
from schemas.records import Breach, Family, FirstEvent, Money, Source
from schemas.scopes import FIRM, scope
from schemas.topics import VERDICTS
from schemas.units import S_NS

NAMED_MAX: Final = 8
"""Servers, or things that differ, named in evidence."""


class FleetDetector(Protocol):
    """One kind of evidence about the fleet. Deterministic, no clock, bounded by the number of servers."""

    names: ClassVar[tuple[str, ...]]
    """Of the verdicts that it gives."""
    family: ClassVar[Family]

    def judge(self, roster: Roster, now: int) -> list[Breach]:
        """Score what came since the last judgement, then remember it. now: desk time (ns)."""

    def alarms(self) -> Iterable[tuple[str, Alarm]]:
        """Name of the verdict, and each of its alarms."""

    def state(self) -> Any:
        """Plain data from which ``load`` goes on identically."""

    def load(self, state: Any) -> None:
        """The reverse, under the same configuration."""


def verdict(
    detector: str, family: Family, edge: Edge, alarm: Alarm, score: float, limit: float, *,
    server: Server | None, newest: Server | None = None, evidence: dict[str, Any], baseline: float = 0.0,
    hard: bool = False, bound_halt: float = 0.0, money: Money | None = None, ts: int = 0,
) -> Breach:  # fmt: skip
    """A breach of ``server``, or of the firm when None; then ``newest`` is the server whose record decided it.

    Its source is the record on the desk's log that decided it, so that a breach that rests on one record is known to.
    """
    told = server or newest
    place = told.place if told else Source(VERDICTS.name, 0, 0)
    at = ts or (told.ts if told else 0)
    first = alarm.first or (told.first if told else FirstEvent(place.topic, place.partition, place.offset, at))
    if money is None:
        money = Money(round(server.loss_usd, 2), 0.0, round(server.gross_usd, 2)) if server else Money()
    return Breach(
        server=server.name if server else "", ts=at or first.ts, detector=detector, family=family, hard=hard,
        state=edge, scope=scope("server", server.name) if server else FIRM, score=round(score, 3),
        limit=round(limit, 3), baseline=round(baseline, 3), evidence=evidence, first_event=first, source=place,
        money=money, bound_halt=round(bound_halt, 3),
    )  # fmt: skip


def told(change: Change, now: int) -> dict[str, Any]:
    """A change, as evidence."""
    return {
        "server": change.server,
        "release": change.release,
        "declared": change.declared,
        "what": {name: f"{before} -> {after}" for name, (before, after) in list(change.what.items())[:NAMED_MAX]},
        "s_ago": round((now - change.at) / S_NS, 1),
    }


def newest_of(roster: Roster) -> Server | None:
    """The server of which a record was taken in last."""
    return roster.servers.get(roster.newest)
