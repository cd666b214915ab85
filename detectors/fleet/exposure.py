"""Firm exposure: what all servers together hold and have lost, against the firm's limits."""

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from detectors.fleet.alarm import Alarm
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import newest_of, verdict
from detectors.fleet.roster import Roster
from schemas.records import Breach, Family
from schemas.units import S_NS


class FirmExposure:
    """Sums over servers, each from its own rows: gross position (absolute, at mark), net (absolute value of the signed
    notional filled since the log began), loss (marked to the NBBO). Servers do not net against each other in gross.

    ``exposure_firm``: the largest of value / limit reaches 1. **Hard**: halts the firm alone. It is the last line, set
    far above a day's business: what a runaway may cost when every other detector is blind.
    ``exposure_near``: it reaches ``warn_share``; warns, and counts as ``position`` evidence.

    A limit of 0 is none, and that is itself said, once (``exposure_near``, limit 0). Unit: share of the limit. No
    learning, no warm-up. False-alarm cost: none but a limit that is wrong. Loss is what rows say since each server's
    engine began; an engine that lost its state begins at 0.

    Source: Rule 15c3-5(c)(1)(i); SEC 34-70694 par. 25 (the 33 Account's limit stopped nothing).
    """

    names: ClassVar[tuple[str, ...]] = ("exposure_firm", "exposure_near")
    family: ClassVar[Family] = "exposure"

    def __init__(self, config: FleetConfig) -> None:
        c = self._config = config.exposure
        self._limits = {"gross": c.gross_usd_limit, "net": c.net_usd_limit, "loss": c.loss_usd_limit}
        self._none = [name for name, limit in self._limits.items() if limit <= 0]
        self.beyond = Alarm()
        self.near = Alarm()

    def alarms(self) -> Iterator[tuple[str, Alarm]]:
        """Two of the firm."""
        yield from zip(self.names, (self.beyond, self.near), strict=True)

    def judge(self, roster: Roster, now: int) -> list[Breach]:
        """Add up."""
        newest = newest_of(roster)
        if newest is None:
            return []
        servers = roster.servers.values()
        held = {
            "gross": sum(s.gross_usd for s in servers),
            "net": abs(sum(s.net_usd for s in servers)),
            "loss": sum(s.loss_usd for s in servers),
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

    def state(self) -> Any:
        """Plain data."""
        return msgspec.to_builtins([self.beyond, self.near])

    def load(self, state: Any) -> None:
        """The reverse."""
        self.beyond, self.near = msgspec.convert(state, list[Alarm])
