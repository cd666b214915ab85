"""Firm exposure: what all servers together hold and have lost, against the firm's limits."""

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec

from detectors.fleet.alarm import Alarm
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import newest_of, verdict
from detectors.fleet.roster import Roster, Server
from schemas.records import Breach, Family
from schemas.units import DAY_MIN, MIN_NS, S_NS

DAY_NS: Final = DAY_MIN * MIN_NS


class FirmExposure:
    """Sums over servers, each from its own rows: gross position (absolute, at mark), net (absolute value of the signed
    notional filled), loss (marked to the NBBO); the last two of the trading day, for over weeks the spread that ordinary
    flow pays adds up to any limit. Servers do not net against each other in gross.

    ``exposure_firm``: the largest of value / limit reaches 1. **Hard**: halts the firm alone. It is the last line, set
    far above a day's business: what a runaway may cost when every other detector is blind.
    ``exposure_near``: it reaches ``warn_share``; warns, and no more: how much of a limit is used says nothing of whether
    what goes on now is right, so it must not complete a halt with a fleet that is busy at the close.

    A limit of 0 is none, and that is itself said, once (``exposure_near``, limit 0). Unit: share of the limit. No
    learning, no warm-up. False-alarm cost: none but a limit that is wrong. Loss is what rows say, from the last judgement of
    the day before on; an engine that lost its state begins at 0.

    Source: Rule 15c3-5(c)(1)(i); SEC 34-70694 par. 25 (the 33 Account's limit stopped nothing).
    """

    names: ClassVar[tuple[str, ...]] = ("exposure_firm", "exposure_near")
    family: ClassVar[Family] = "exposure"

    def __init__(self, config: FleetConfig) -> None:
        c = self._config = config.exposure
        self._limits = {"gross": c.gross_usd_limit, "net": c.net_usd_limit, "loss": c.loss_usd_limit}
        self._none = [name for name, limit in self._limits.items() if limit <= 0]
        self._begins_ns = c.day_begins_min * MIN_NS
        self.beyond = Alarm()
        self.near = Alarm()
        self.day = -1
        """The trading day of the newest event."""
        self.before: dict[str, Before] = {}
        """By server: what does not belong to this day."""

    def alarms(self) -> Iterator[tuple[str, Alarm]]:
        """Two of the firm."""
        yield from zip(self.names, (self.beyond, self.near), strict=True)

    def judge(self, roster: Roster, now: int) -> list[Breach]:
        """Add up."""
        newest = newest_of(roster)
        if newest is None:
            return []
        self._turn(roster)
        servers = roster.servers.values()
        held = {
            "gross": sum(s.gross_usd for s in servers),
            "net": abs(sum(s.net_usd - self._before(s).net_usd for s in servers)),
            "loss": sum(s.loss_usd - self._before(s).loss_usd for s in servers),
        }
        shares = {name: held[name] / limit for name, limit in self._limits.items() if limit > 0}
        worst = max(shares, key=lambda name: shares[name], default=self._none[0] if self._none else "gross")
        share = shares.get(worst, 0.0)
        warn = self._config.warn_share
        found = []
        for name, alarm, score, limit, hard in (
            ("exposure_firm", self.beyond, share, 1.0, True),
            ("exposure_near", self.near, max(share, warn if self._none else 0.0), warn, False),
        ):
            edge = alarm.step(score, limit, now, 10 * S_NS, newest.first)
            if edge:
                evidence: dict[str, Any] = {
                    "what": worst, "held_usd": round(held[worst], 2), "limit_usd": self._limits[worst],
                    "servers": {s.name: round(s.gross_usd) for s in sorted(servers, key=lambda s: -s.gross_usd)[:3]},
                }  # fmt: skip
                if self._none:
                    evidence["no_limit"] = self._none
                found.append(
                    verdict(
                        name, self.family, edge, alarm, score, limit, server=None, newest=newest, evidence=evidence,
                        hard=hard, money=roster.total(),
                    )
                )  # fmt: skip
        return found

    def _turn(self, roster: Roster) -> None:
        """A trading day begins with the first event of it on any server."""
        day = (max(s.ts for s in roster.servers.values()) - self._begins_ns) // DAY_NS
        if day <= self.day:
            return
        if self.day >= 0:
            self.before = {s.name: Before(s.loss_usd, s.net_usd, s.scored) for s in roster.servers.values()}
        self.day = day

    def _before(self, server: Server) -> "Before":
        """What a server had lost and filled before the day; of an engine that began anew in it, no loss."""
        before = self.before.get(server.name, _NOTHING)
        return before if server.scored >= before.scored else Before(0.0, before.net_usd, 0)

    def state(self) -> Any:
        """Plain data."""
        return msgspec.to_builtins([self.beyond, self.near, self.day, self.before])

    def load(self, state: Any) -> None:
        """The reverse."""
        beyond, near, *day = state
        self.beyond, self.near = msgspec.convert([beyond, near], list[Alarm])
        if day:  # a desk of before there were days left none
            self.day, self.before = day[0], msgspec.convert(day[1], dict[str, Before])


class Before(msgspec.Struct, frozen=True):
    """Of a server when the trading day began. scored: events that stage 1 had scored."""

    loss_usd: float
    net_usd: float
    scored: int


_NOTHING: Final = Before(0.0, 0.0, 0)
