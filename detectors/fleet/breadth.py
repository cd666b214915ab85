"""Breadth: how much is abnormal at once, and whether the whole fleet moves as one."""

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from detectors.fleet.alarm import Alarm
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import NAMED_MAX, newest_of, verdict
from detectors.fleet.roster import Roster, Server
from schemas.records import Breach, Family
from schemas.units import S_NS


class Breadth:
    """Two counts of what stage 1 finds abnormal at the same time, over all servers.

    ``breadth``: servers with an open breach, as a share of those whose rows come; opens at ``servers_share``, of at
    least two, on the scope of the firm. Where the cause is outside (an auction, news) this is the one warning that a
    person gets, for all servers together; see policy, ``common``.

    ``breadth_symbols``: distinct symbols that open breaches name, in their scope or evidence; opens at
    ``symbols_limit``, on the server if all come from one, else on the firm. A runaway that goes through a list of
    parents (Knight: 154 stocks at once) is broad; a strategy that is busy in one stock is not.

    Unit: share of servers; symbols. Statistical: warns, and counts as ``volume`` evidence. No warm-up, nothing learned.
    False-alarm cost: that of the detectors whose breaches are counted; never more than one on a scope at a time, and
    ``quiet_s`` apart.

    Source: Nanex, 2012-08-01 (hundreds of symbols at 09:30); SEC 34-70694 par. 17.
    """

    names: ClassVar[tuple[str, ...]] = ("breadth", "breadth_symbols")
    family: ClassVar[Family] = "breadth"

    def __init__(self, config: FleetConfig) -> None:
        self._config = config.breadth
        self._current_ns = round(config.current_s * S_NS)
        self._quiet_ns = round(self._config.quiet_s * S_NS)
        self.servers = Alarm()
        self.symbols = Alarm()
        self.symbols_of = ""
        """Server on which ``breadth_symbols`` opened; empty: the firm."""

    def alarms(self) -> Iterator[tuple[str, Alarm]]:
        """Two of the fleet."""
        yield from zip(self.names, (self.servers, self.symbols), strict=True)

    def judge(self, roster: Roster, now: int) -> list[Breach]:
        """Count."""
        abnormal = [s for s in roster.servers.values() if s.opens]
        if not abnormal and not self.servers.open and not self.symbols.open:
            self.servers.ratio = self.symbols.ratio = 0.0
            return []
        newest = newest_of(roster)
        if newest is None:
            return []
        return [*self._by_servers(roster, abnormal, newest, now), *self._by_symbols(roster, abnormal, newest, now)]

    def _by_servers(self, roster: Roster, abnormal: list[Server], newest: Server, now: int) -> list[Breach]:
        current = len(roster.current(now, self._current_ns))
        share = len(abnormal) / max(current, len(abnormal), 1) if len(abnormal) > 1 else 0.0
        limit = self._config.servers_share
        edge = self.servers.step(share, limit, now, self._quiet_ns, newest.first)
        if edge is None:
            return []
        detectors = sorted({d for s in abnormal for d in s.opens})
        evidence: dict[str, Any] = {
            "servers": [s.name for s in abnormal[:NAMED_MAX]], "count": len(abnormal), "of": current,
            "detectors": detectors[:NAMED_MAX],
        }  # fmt: skip
        return [
            verdict(
                "breadth", self.family, edge, self.servers, share, limit, server=None, newest=newest,
                evidence=evidence, money=roster.total(),
            )
        ]  # fmt: skip

    def _by_symbols(self, roster: Roster, abnormal: list[Server], newest: Server, now: int) -> list[Breach]:
        by_server = {s.name: {x for named in s.symbols.values() for x in named} for s in abnormal if s.symbols}
        every = sorted(set().union(*by_server.values()))
        limit = float(self._config.symbols_limit)
        if not self.symbols.open:
            self.symbols_of = next(iter(by_server)) if len(by_server) == 1 else ""
        edge = self.symbols.step(float(len(every)), limit, now, self._quiet_ns, newest.first)
        if edge is None:
            return []
        server = roster.servers.get(self.symbols_of)
        evidence: dict[str, Any] = {
            "symbols": len(every), "some": every[:NAMED_MAX], "servers": sorted(by_server)[:NAMED_MAX],
        }  # fmt: skip
        return [
            verdict(
                "breadth_symbols", self.family, edge, self.symbols, float(len(every)), limit, server=server,
                newest=newest, evidence=evidence, money=None if server else roster.total(),
            )
        ]  # fmt: skip

    def state(self) -> Any:
        """Plain data."""
        return msgspec.to_builtins([self.servers, self.symbols, self.symbols_of])

    def load(self, state: Any) -> None:
        """The reverse."""
        self.servers, self.symbols = (msgspec.convert(x, Alarm) for x in state[:2])
        self.symbols_of = state[2]
