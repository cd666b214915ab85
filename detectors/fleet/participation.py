"""Participation: prices that follow what a server holds."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct, field

from detectors.fleet.alarm import Alarm
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import verdict
from detectors.fleet.peers import BOUNDLESS, each_others
from detectors.fleet.roster import Roster, Server
from schemas.records import Breach, Family
from schemas.units import S_NS

MEMORY: Final = 10
"""Judgements over which the size of a step is smoothed (5 s at the default)."""


class Pushed(Struct):
    """One server: totals at the last judgement, size of its steps (USD squared), the walk, and the push since it left
    zero."""

    profit: float = 0.0
    burn: float = 0.0
    met: bool = False
    square: float = 0.0
    walk: float = 0.0
    push: float = 0.0
    path: float = 0.0
    alarm: Alarm = field(default_factory=Alarm)


class Participation:
    """Does the NBBO move with the server's own signed position? Profit at mark changes by what fills pay beyond the mid
    (the burn) and by what the mid does to the shares held; the second is

        A = change of profit + burn   (USD since the last judgement; > 0: prices went the way we had traded),

    less ``headroom`` times the peers' median A where that is positive (a crash in which all are short is the market's
    doing). If prices take no notice of us, A is as likely to be -a as +a, given its size, and exp(l A - l^2 A^2 / 2)
    is a supermartingale for every l known beforehand (de la Pena 1999, for symmetric differences: no variance, no
    normality assumed). With l = 1 / (2 s), s the root mean square of the last steps, the score is its CUSUM,

        W = max(0, W + l A - l^2 A^2 / 2)   nats,

    and a breach opens at ``limit_nats`` if the push since W left zero is at least ``push_usd_limit`` as well. A step
    gains at most half a nat, so that no single move opens it: at least 32 judgements, some 16 s. A flow that holds
    nothing pushes nothing; ping-pong is for *crossing*.

    The share of market volume itself is not on the topics (a router does not see the tape); how prices answer is.
    Unit: nats. Statistical, group ``volume``: warns, and agrees with what is of another group. Warm-up: one row.
    False-alarm cost: once in e^16 judgements (50 days of one server, at two a second) under symmetry, which trends
    (a position that was right) break: then it says something true that is no fault.

    Source: de la Pena 1999, Ann. Probab. 27, 537-564; SEC 34-70694 par. 18 (over 20 % of volume and 5 % of price in 75
    stocks).
    """

    names: ClassVar[tuple[str, ...]] = ("participation",)
    family: ClassVar[Family] = "participation"

    def __init__(self, config: FleetConfig) -> None:
        self._config = config.participation
        self._quiet_ns = round(self._config.quiet_s * S_NS)
        self.pushed: dict[str, Pushed] = {}

    def alarms(self) -> Iterator[tuple[str, Alarm]]:
        """Of every server."""
        for one in self.pushed.values():
            yield self.names[0], one.alarm

    def judge(self, roster: Roster, now: int) -> list[Breach]:
        """One step of every server whose books moved."""
        steps: list[tuple[Server, Pushed, float]] = []
        for server in roster.servers.values():
            one = self.pushed.get(server.name)
            if one is None:
                one = self.pushed[server.name] = Pushed()
            profit, burn = -server.loss_usd, server.burn_usd
            step = (profit - one.profit) + (burn - one.burn)
            # what a server held before it was met is not its doing
            steps.append((server, one, step if one.met else 0.0))
            one.profit, one.burn, one.met = profit, burn, bool(server.event)
        values = [step for _, _, step in steps]
        peers = each_others(values, sorted(values))
        found: list[Breach] = []
        for (server, one, step), common in zip(steps, peers, strict=True):
            if not step and not one.alarm.open:
                continue
            net = step - self._config.headroom * common if step > 0 and 0 < common < BOUNDLESS else step
            self._walk(one, max(net, 0.0) if step > 0 else step)
            found += self._tell(server, one, now)
        return found

    def _walk(self, one: Pushed, step: float) -> None:
        if not step:
            one.walk /= 2  # open, and nothing moves any more: it was halted
        elif one.square > 0:
            bet = 1.0 / (2.0 * math.sqrt(one.square))
            one.walk = max(0.0, one.walk + bet * step - (bet * step) ** 2 / 2)
        one.push, one.path = (one.push + step, one.path + abs(step)) if one.walk > 0 else (0.0, 0.0)
        if step:
            one.square += (step * step - one.square) / MEMORY if one.square else step * step

    def _tell(self, server: Server, one: Pushed, now: int) -> list[Breach]:
        limit = self._config.limit_nats
        score = one.walk if one.push >= self._config.push_usd_limit else min(one.walk, limit / 2)
        edge = one.alarm.step(score, limit, now, self._quiet_ns, server.first)
        if edge is None:
            return []
        evidence: dict[str, Any] = {
            "push_usd": round(one.push, 2), "share": round((1 + one.push / one.path) / 2, 3) if one.path else 0.0,
            "since_s": round((now - one.alarm.began_at) / S_NS, 1),
        }  # fmt: skip
        return [verdict("participation", self.family, edge, one.alarm, score, limit, server=server, evidence=evidence)]

    def state(self) -> Any:
        """Plain data."""
        return msgspec.to_builtins(self.pushed)

    def load(self, state: Any) -> None:
        """The reverse."""
        self.pushed = msgspec.convert(state, dict[str, Pushed])
