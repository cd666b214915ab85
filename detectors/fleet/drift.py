"""Drift: a node that does not run what was declared, and a change that made things worse."""

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct, field

from detectors.fleet.alarm import AGAIN_NS, Alarm
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import NAMED_MAX, newest_of, told, verdict
from detectors.fleet.roster import ASKS, REJECTS, Change, Observed, Roster, Server
from schemas.records import Breach, Family
from schemas.units import S_NS

PEERS_MIN: Final = 3
"""Nodes that must agree before one is measured by the others for want of a declaration."""
SHARE_MIN: Final = 0.75
"""Share of them that must."""


class Case(Struct):
    """A node that differs: since when (desk time), its totals of orders and refusals then, and those of all others."""

    since: int
    asks: float
    rejects: float
    asks_others: float
    rejects_others: float
    told: float = 0.0
    alarm: Alarm = field(default_factory=Alarm)


class Drift:
    """What a node says it runs (``nodes``) against what the release process says it runs (``declared``): build, config
    and each flag. A node of which nothing was declared is held against what at least three quarters of its peers run.
    The score, in points:

        one for each thing that differs
        + one for each order refused beyond what ordinary flow brings, since it differs
        + one for each ``point_s`` for which nobody repaired it

    Opens at one point, ``grace_s`` after a declaration (a restart takes time) and ``change_grace_s`` after a change of the
    node itself, and warns with the owner
    who has to repair the node or declare what it runs. At ``halt_points`` it halts alone: a stale build is a halt in
    minutes, in seconds when venues refuse its orders, and at once together with any other group's evidence (policy:
    group ``software``), so before the first live order where there is a pre-open. Knight: the eighth server's build
    differed for days, and 97 of its orders were refused in the 89 minutes before the open.

    Ordinary is the share of orders that all other servers see refused in the same time, at least ``reject_share_min``.
    Closes when both agree again. Declaring what a node really runs is the way out; an acknowledgement is
    not, because it repairs nothing.

    ``drift_widened``: after a change (of any node, or of what is declared) at least ``widened_servers`` more servers
    became abnormal that were not before, where one was before: evidence that "this change widened it". It is on the
    scope of the firm. Knight took the new code off the seven good servers, and all eight ran away.

    Unit: points; servers for ``drift_widened``. Statistical; no learning, no warm-up. False-alarm cost: every
    deployment that the release process does not declare within ``grace_s``, by construction.

    Source: SEC 34-70694 par. 13-19, 27.
    """

    names: ClassVar[tuple[str, ...]] = ("drift", "drift_widened")
    family: ClassVar[Family] = "drift"

    def __init__(self, config: FleetConfig) -> None:
        self._config = config.drift
        self._reject_share_min = config.divergence.reject_share_min
        self._grace_ns = round(self._config.grace_s * S_NS)
        self._change_grace_ns = round(self._config.change_grace_s * S_NS)
        self._widened_ns = round(self._config.widened_s * S_NS)
        self.cases: dict[str, Case] = {}
        self.widened = Alarm()

    def alarms(self) -> Iterator[tuple[str, Alarm]]:
        """Of every server that differs, and of the change that widened."""
        for case in self.cases.values():
            yield "drift", case.alarm
        yield "drift_widened", self.widened

    def judge(self, roster: Roster, now: int) -> list[Breach]:
        """Score every node that has shown itself."""
        found: list[Breach] = []
        common = _common(roster)
        for server in roster.servers.values():
            if server.running is None:
                continue
            ought = server.said or common
            if ought is None or server.running == ought:
                found += self._agrees(server)
            elif now - server.said_at >= self._grace_ns and now - server.running_at >= self._change_grace_ns:
                found += self._differs(roster, server, server.running.differs(ought), now)
        return found + self._widening(roster, now)

    def _agrees(self, server: Server) -> list[Breach]:
        case = self.cases.pop(server.name, None)
        if case is None:
            return []
        return [verdict("drift", self.family, "close", case.alarm, 0.0, 1.0, server=server, evidence={})]

    def _differs(self, roster: Roster, server: Server, differs: dict[str, tuple[str, str]], now: int) -> list[Breach]:
        c = self._config
        others = [s.counts for s in roster.servers.values() if s.name != server.name]
        asks, rejects = sum(x[ASKS] for x in others), sum(x[REJECTS] for x in others)
        case = self.cases.get(server.name)
        if case is None:
            case = Case(now, server.counts[ASKS], server.counts[REJECTS], asks, rejects)
            self.cases[server.name] = case
        of_others = (rejects - case.rejects_others) / max(asks - case.asks_others, 1.0)
        ordinary = max(of_others, self._reject_share_min) * (server.counts[ASKS] - case.asks)
        refused = max(server.counts[REJECTS] - case.rejects - ordinary, 0.0)
        unrepaired_s = (now - case.since) / S_NS
        points = len(differs) + float(refused // 1) + unrepaired_s // c.point_s
        edge = case.alarm.step(points, 1.0, now, 0, server.first)
        if edge is None and case.told < c.halt_points <= points:
            edge = "update"
        if edge is None:
            return []
        case.told = points
        evidence = self._evidence(roster, server, differs, now)
        evidence |= {"refused": int(refused), "unrepaired_s": round(unrepaired_s, 1)}
        return [
            verdict(
                "drift", self.family, edge, case.alarm, points, 1.0, server=server, evidence=evidence,
                bound_halt=c.halt_points,
            )
        ]  # fmt: skip

    def _evidence(
        self, roster: Roster, server: Server, differs: dict[str, tuple[str, str]], now: int
    ) -> dict[str, Any]:
        """What differs, how many peers run what was declared, whose business it is."""
        name, (runs, ought) = next(iter(differs.items()))
        peers = [s for s in roster.servers.values() if s.name != server.name and s.running is not None]
        alike = sum(s.running == server.said for s in peers) if server.said else len(peers)
        evidence: dict[str, Any] = {
            "what": name,
            "observed": runs,
            "declared": ought,
            "differs": {k: f"{own}, not {its}" for k, (own, its) in list(differs.items())[:NAMED_MAX]},
            "release": server.release,
            "owner": self._config.owner,
            "peers_alike": alike,
            "peers": len(peers),
        }
        if not server.said:
            evidence["by_peers"] = True
        if (change := roster.change_of(server.name, now, self._widened_ns)) is not None:
            evidence["after_change"] = told(change, now)
        return evidence

    def _widening(self, roster: Roster, now: int) -> list[Breach]:
        """The newest change after which most servers became abnormal that were not; a declared one tells more."""
        if not self.widened.open and not roster.changes:
            self.widened.ratio = 0.0
            return []
        abnormal = roster.abnormal()
        more = 0
        change: Change | None = None
        for one in reversed(roster.changes):
            if now - one.at > self._widened_ns:
                break
            fresh = sum(name not in one.abnormal for name in abnormal) if one.abnormal else 0
            named = change is not None and one.declared > change.declared
            if fresh > more or (fresh == more and named):
                more, change = fresh, one
        limit = float(self._config.widened_servers)
        newest = newest_of(roster)
        if newest is None:
            return []
        edge = self.widened.step(float(more), limit, now, AGAIN_NS, newest.first)
        if edge is None:
            return []
        evidence: dict[str, Any] = {"servers": list(abnormal)[:NAMED_MAX], "owner": self._config.owner}
        if change is not None:
            together = [c.server for c in roster.changes if c.release == change.release and c.what == change.what]
            evidence |= {
                **told(change, now), "changed": together[:NAMED_MAX], "before": list(change.abnormal)[:NAMED_MAX],
                "more": more,
            }  # fmt: skip
        return [
            verdict(
                "drift_widened", self.family, edge, self.widened, float(more), limit, server=None, newest=newest,
                evidence=evidence, money=roster.total(),
            )
        ]  # fmt: skip

    def state(self) -> Any:
        """Plain data."""
        return {"cases": msgspec.to_builtins(self.cases), "widened": msgspec.to_builtins(self.widened)}

    def load(self, state: Any) -> None:
        """The reverse."""
        self.cases = msgspec.convert(state["cases"], dict[str, Case])
        self.widened = msgspec.convert(state["widened"], Alarm)


def _common(roster: Roster) -> Observed | None:
    """What the nodes of which nothing was declared are held against: what nearly all run; None if there is no such."""
    nodes = [s.running for s in roster.servers.values() if s.running is not None]
    if len(nodes) < PEERS_MIN or all(s.said for s in roster.servers.values() if s.running is not None):
        return None
    for one in nodes[: len(nodes) - int(SHARE_MIN * len(nodes)) + 1]:
        if sum(one == other for other in nodes) >= SHARE_MIN * len(nodes):
            return one
    return None
