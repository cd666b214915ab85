"""Divergence: a server unlike its peers, in what it sends, in how much of that its parents asked for, in how much of it
is refused, and in how much of it crosses the spread."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Final, NamedTuple

import msgspec
from msgspec import Struct, field

from detectors.fleet.alarm import Alarm
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import told, verdict
from detectors.fleet.peers import BOUNDLESS, each_others, others, ratio
from detectors.fleet.roster import ASKS, COUNTS, FILLS, HITS, PARENTS, REJECTS, Roster, Server
from schemas.records import Breach, Family
from schemas.units import S_NS

JUMPS: Final = ((2.0, 8.0), (2.0, 8.0), (2.0, 8.0), (1.25, 1.6))
"""By channel, ratios to what is allowed against which the CUSUMs are set (a share of fills can hardly double)."""
FAST, SLOW, LONG = 10, 300, 3_000
"""Frames (100 ms) over which a rate is smoothed: a second, half a minute, five minutes."""
KNOWN: Final = 600
"""Frames after which a server's share is known as well as its peers' tell it."""
KNOWN_MAX: Final = 30_000
"""Frames over which usual rates are averaged, at most: 50 minutes of flow."""
RATIO_MIN: Final = 0.3
"""A fleet that falls silent lowers nobody's allowance to less than this part of his usual."""
HITS_SHARE_MIN: Final = 0.05
REJECT_PRIOR, REJECT_PRIOR_NOW = 500.0, 20.0
"""Orders by which a server's share of refused orders (of five minutes, of a second) is drawn to the least ordinary."""
AFTER_NS: Final = 600 * S_NS
"""A change of the server this recent is named in the evidence."""
_STEPS: Final = tuple((math.log(r), r - 1.0, math.log(r2), r2 - 1.0) for r, r2 in JUMPS)
UNITS: Final = ("orders a second", "orders a parent", "% of orders refused", "% of fills crossing the spread")


class Compared(Struct):
    """One server: counts per frame, smoothed (``_now`` over FAST frames, ``_slow``, ``_long``); what it sends when
    nothing is wrong; its CUSUMs by channel and jump. Plain attributes: this is the desk's inner loop."""

    asks_now: float = 0.0
    parents_now: float = 0.0
    rejects_now: float = 0.0
    asks_slow: float = 0.0
    parents_slow: float = 0.0
    fills_slow: float = 0.0
    hits_slow: float = 0.0
    asks_long: float = 0.0
    rejects_long: float = 0.0
    seen: float = 0.0
    """Frames smoothed."""
    usual: float = 0.0
    """Orders per frame while nothing was wrong: the mean."""
    parents: float = 0.0
    known: float = 0.0
    """Frames learned."""
    rate: float = 0.0
    """``usual``, drawn to the peers' median while it is not known well."""
    frames: int = 0
    counts: list[float] = field(default_factory=lambda: [0.0] * len(COUNTS))
    """Totals at the last judgement."""
    hot: bool = False
    """Some walk is above zero, or some alarm not at rest."""
    walks: list[list[float]] = field(default_factory=lambda: [[0.0] * len(jumps) for jumps in JUMPS])
    alarms: list[Alarm] = field(default_factory=lambda: [Alarm() for _ in UNITS])

    def smooth(self, counts: list[float], span: int) -> None:
        """Take in counts of so many frames."""
        asks, parents, fills, hits, rejects = counts
        asks, parents, fills, hits, rejects = asks / span, parents / span, fills / span, hits / span, rejects / span
        seen = self.seen
        gain = span / (span + (seen if seen < FAST else FAST))
        self.asks_now += gain * (asks - self.asks_now)
        self.parents_now += gain * (parents - self.parents_now)
        self.rejects_now += gain * (rejects - self.rejects_now)
        gain = span / (span + (seen if seen < SLOW else SLOW))
        self.asks_slow += gain * (asks - self.asks_slow)
        self.parents_slow += gain * (parents - self.parents_slow)
        self.fills_slow += gain * (fills - self.fills_slow)
        self.hits_slow += gain * (hits - self.hits_slow)
        gain = span / (span + (seen if seen < LONG else LONG))
        self.asks_long += gain * (asks - self.asks_long)
        self.rejects_long += gain * (rejects - self.rejects_long)
        self.seen = min(seen + span, LONG)

    def show(self, reject_share_min: float) -> None:
        """Work out what peers are compared by: ``moving``, ``fan_out``, ``refused``, ``refused_now``, ``crossing``."""
        self.moving = self.asks_now / self.rate
        self.fan_out = ratio(self.asks_slow, self.parents_slow)
        least = REJECT_PRIOR * reject_share_min
        self.refused = (self.rejects_long * LONG + least) / (self.asks_long * LONG + REJECT_PRIOR)
        least = REJECT_PRIOR_NOW * reject_share_min
        self.refused_now = (self.rejects_now * FAST + least) / (self.asks_now * FAST + REJECT_PRIOR_NOW)
        self.crossing = ratio(self.hits_slow, self.fills_slow)

    moving: float = 1.0
    fan_out: float = BOUNDLESS
    refused: float = 0.0
    refused_now: float = 0.0
    crossing: float = BOUNDLESS


class Shown:
    """One quantity of the servers whose rows come. ``ordered``: ascending."""

    def __init__(self, values: list[float]) -> None:
        self.ordered = sorted(values)
        self._others = each_others(values, self.ordered)

    def others(self, at: int, own: float) -> float:
        """The median of the peers of the server at place ``at`` of ``values``; -1: it is not among them."""
        return self._others[at] if at >= 0 else others(self.ordered, own)


class Peers(NamedTuple):
    """What the servers whose rows come show."""

    moving: Shown
    fan_out: Shown
    refused: Shown
    refused_now: Shown
    crossing: Shown
    parents: float
    """Median of parents per frame."""


class Fresh(NamedTuple):
    """A server that has new rows. counts: of them. span: frames. at: its place among the servers whose rows come, or
    -1."""

    server: Server
    one: Compared
    counts: list[float]
    span: int
    at: int


class Divergence:
    """For each server and channel, CUSUMs of the log-likelihood of its count against what its **peers'** flow makes
    likely. With n events since the last judgement where e were to be expected,

        W_r = max(0, W_r + ln r * n - (r - 1) * a * e),   r in JUMPS,   score = max_r W_r / F   (nats),

    a the headroom, F the dispersion (quasi-likelihood, as in ``rate``). One judgement adds at most a third of the limit:
    a cluster that is over within a second opens nothing. While it is open, W halves with each judgement in
    which n <= a e, so that it closes soon after the excess has ended, however high it was. Leave-one-out: e rests on the
    median of the other servers, never on the server itself, so that it is neither judged by its own flow nor blamed for
    one bad peer;
    fewer than half the peers cannot shift a median. What all do at once (an auction, news) raises e for all, and is
    no divergence.

    | channel | n | e |
    |---|---|---|
    | ``divergence_rate`` | orders, replaces | its usual rate x the median over peers of rate / usual rate |
    | ``divergence_fan_out`` | orders, replaces | its parents x the median over peers of orders per parent |
    | ``divergence_rejects`` | refused orders | its orders x the median over peers of the refused share |
    | ``divergence_crossing`` | aggressive fills | its fills x the median over peers of the aggressive share |

    Rates are smoothed over a second, parents over a second or 30 s, refusals over a second or 5 min, whichever is more
    (an exchange that refuses everybody's orders is nobody's fault), crossing over 30 s. A server's usual
    rate is the mean of what it sent while nothing was open on it, drawn to the peers' median by ``KNOWN`` frames; until
    then the headroom is up to doubled. Nothing is learned of a server while it is abnormal. A flow without parents has
    no fan-out channel. Warm-up: none, but duller in the first minute. Needs two servers whose rows come.

    Unit of the score: nats. Statistical. False-alarm cost: for counts that are Poisson given their peers' flow (F = 1),
    a CUSUM of a likelihood ratio crosses h in the mean at most once in e^h judgements (Lorden 1971): at 16 nats, 5
    judgements a second, 8 servers, 4 channels and 2 ratios, once in 8 hours at the very edge of the headroom and
    exponentially rarer below; F > 1 is an engineering answer to clusters, without a theorem.

    Source: Lorden 1971; McCullagh and Nelder 1989, ch. 9; SEC 34-70694 par. 15-16 (one server of eight).
    """

    names: ClassVar[tuple[str, ...]] = (
        "divergence_rate", "divergence_fan_out", "divergence_rejects", "divergence_crossing",
    )  # fmt: skip
    family: ClassVar[Family] = "divergence"

    def __init__(self, config: FleetConfig) -> None:
        c = self._config = config.divergence
        self._current_ns = round(config.current_s * S_NS)
        self._quiet_ns = round(c.quiet_s * S_NS)
        self._dispersions = (c.dispersion, c.dispersion, c.reject_dispersion, c.crossing_dispersion)
        self._most = tuple(c.limit_nats * d / 3 for d in self._dispersions)
        self._floor = c.orders_per_s_min / 10.0
        self.compared: dict[str, Compared] = {}
        self.moving = 1.0
        """Median over servers of rate / usual rate."""
        self.moving_parents = 1.0

    def alarms(self) -> Iterator[tuple[str, Alarm]]:
        """Of every server."""
        for one in self.compared.values():
            yield from zip(self.names, one.alarms, strict=True)

    def judge(self, roster: Roster, now: int) -> list[Breach]:
        """Score, then learn."""
        new: list[Fresh] = []
        current: list[Compared] = []
        compared, current_ns = self.compared, self._current_ns
        for server in roster.servers.values():
            one = compared.get(server.name)
            if one is None:
                one = compared[server.name] = Compared()
            at = -1
            if now - server.heard_at <= current_ns:
                at = len(current)
                current.append(one)
            elif one.hot:
                one.walks = [[0.0] * len(jumps) for jumps in JUMPS]  # it was halted, or has gone: nothing flows
            if span := server.frames - one.frames:
                a, b, c, d, e = server.counts
                f, g, h, i, j = one.counts
                counts = [a - f, b - g, c - h, d - i, e - j]
                one.frames, one.counts = server.frames, [a, b, c, d, e]
                one.smooth(counts, span)
                new.append(Fresh(server, one, counts, span, at))
        if new and len(current) > 1:
            self._walk(current, new)
        found: list[Breach] = []
        for server in roster.servers.values():
            if compared[server.name].hot:
                found += self._tell(roster, server, now)
        learns = self._config.limit_nats / 4
        for server, one, counts, span, _ in new:
            if not server.opens and not (one.hot and self._worst(one) >= learns):
                one.known = min(one.known + span, KNOWN_MAX)
                gain = min(span / one.known, 1.0)
                one.usual += gain * (counts[ASKS] / span - one.usual)
                one.parents += gain * (counts[PARENTS] / span - one.parents)
        return found

    def _walk(self, current: list[Compared], new: list[Fresh]) -> None:
        """One step of the CUSUMs of every server that has new rows."""
        least, floor = self._config.reject_share_min, self._floor
        usual = [one.usual if one.known else one.asks_now for one in current]
        for one, middle in zip(current, each_others(usual, sorted(usual)), strict=True):
            one.rate = max((one.usual * one.known + middle * KNOWN) / (one.known + KNOWN), floor)
            one.show(least)
        peers = Peers(
            Shown([one.moving for one in current]), Shown([one.fan_out for one in current]),
            Shown([one.refused for one in current]), Shown([one.refused_now for one in current]),
            Shown([one.crossing for one in current]), others(sorted([one.parents_slow for one in current]), None),
        )  # fmt: skip
        self.moving = others(peers.moving.ordered, None)
        risen = [max(one.parents_now, one.parents_slow) / one.parents for one in current if one.parents > 0]
        self.moving_parents = others(sorted(risen), None)
        for fresh in new:
            one, counts = fresh.one, fresh.counts
            rate, fan_out, refused, crossing = self._expected(fresh, peers)
            self._step(one, 0, counts[ASKS], rate)
            self._step(one, 1, counts[ASKS], fan_out)
            self._step(one, 2, counts[REJECTS], refused)
            self._step(one, 3, counts[HITS], crossing)

    def _expected(self, fresh: Fresh, peers: Peers) -> tuple[float, float, float, float]:
        """Allowed events since the last judgement, by channel."""
        c, floor = self._config, self._floor
        _, one, counts, span, at = fresh
        room = c.headroom * (1.0 + KNOWN / (KNOWN + one.known)) * span
        moving = max(peers.moving.others(at, one.moving), RATIO_MIN)
        asked = max(one.parents_slow, one.parents_now, peers.parents / 4, 1e-6) * peers.fan_out.others(at, one.fan_out)
        refused = max(
            peers.refused.others(at, one.refused), peers.refused_now.others(at, one.refused_now), c.reject_share_min
        )
        crossing = max(peers.crossing.others(at, one.crossing), HITS_SHARE_MIN)
        return (
            max(one.rate * moving, floor) * room,
            max(asked, floor) * room,
            counts[ASKS] * refused * c.headroom,
            counts[FILLS] * crossing * c.crossing_headroom,
        )

    def _step(self, one: Compared, k: int, n: float, e: float) -> None:
        """One step of the CUSUMs of channel ``k``: ``n`` events where ``e`` are allowed."""
        gain, cost, gain2, cost2 = _STEPS[k]
        up, up2 = gain * n - cost * e, gain2 * n - cost2 * e
        walks = one.walks[k]
        low, high = walks
        if up <= 0.0 and up2 <= 0.0 and low == high == 0.0:
            return  # at rest, as nearly always
        if n <= e and one.alarms[k].open:
            low, high = low / 2, high / 2
        most = self._most[k]
        low += min(up, most)
        high += min(up2, most)
        walks[0], walks[1] = low if low > 0.0 else 0.0, high if high > 0.0 else 0.0
        if low > 0.0 or high > 0.0:
            one.hot = True

    def _worst(self, one: Compared) -> float:
        """Largest score of a server, over its channels (nats)."""
        return max(max(w) / d for w, d in zip(one.walks, self._dispersions, strict=True)) if one.hot else 0.0

    def _tell(self, roster: Roster, server: Server, now: int) -> list[Breach]:
        c, one = self._config, self.compared[server.name]
        found = []
        one.hot = False
        first = server.first
        for k, (name, walks, alarm) in enumerate(zip(self.names, one.walks, one.alarms, strict=True)):
            score = max(walks) / self._dispersions[k]
            if score <= 0.0 and alarm.first is None:
                alarm.ratio = 0.0
                continue
            edge = alarm.step(score, c.limit_nats, now, self._quiet_ns, first)
            one.hot = one.hot or score > 0.0 or alarm.open
            if edge:
                evidence = self._evidence(k, one)
                if (change := roster.change_of(server.name, now, AFTER_NS)) is not None:
                    evidence["after_change"] = told(change, now)
                found.append(
                    verdict(
                        name, self.family, edge, alarm, score, c.limit_nats, server=server, evidence=evidence,
                        baseline=evidence["peers"], bound_halt=c.bound_halt * c.limit_nats,
                    )
                )  # fmt: skip
        return found

    def _evidence(self, k: int, one: Compared) -> dict[str, Any]:
        """The server's value, and the median of its peers'."""
        values = sorted(_value(k, other) for other in self.compared.values())
        own = _value(k, one)
        return {
            "what": self.names[k].removeprefix("divergence_"), "value": round(own, 2),
            "peers": round(others(values, own), 2), "unit": UNITS[k], "servers": len(values),
        }  # fmt: skip

    def moves_as_one(self, move_ratio: float) -> bool:
        """Does the median server send ``move_ratio`` times its usual rate, and do parents (where the flow has any) rise
        with it? More orders out of no more parents is nothing that comes from outside."""
        return self.moving >= move_ratio and self.moving_parents >= math.sqrt(move_ratio)

    def unlike(self, server: str) -> bool:
        """Is it open on any channel, or half way to it?"""
        one = self.compared.get(server)
        if one is None or not one.hot:
            return False
        return self._worst(one) >= self._config.limit_nats / 2 or any(alarm.open for alarm in one.alarms)

    def state(self) -> Any:
        """Plain data."""
        return msgspec.to_builtins([self.compared, self.moving, self.moving_parents])

    def load(self, state: Any) -> None:
        """The reverse."""
        self.compared = msgspec.convert(state[0], dict[str, Compared])
        self.moving, self.moving_parents = state[1:]


def _value(k: int, one: Compared) -> float:
    """What a channel compares, in the unit of UNITS."""
    over, under, times = (
        (one.asks_now, 1.0, 10.0),
        (one.asks_slow, one.parents_slow, 1.0),
        (one.rejects_long, one.asks_long, 100.0),
        (one.hits_slow, one.fills_slow, 100.0),
    )[k]
    return over / under * times if under > 0 else 0.0
