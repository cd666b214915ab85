"""Divergence: a server unlike its peers, in what it sends, in how much of that its parents asked for, in how much of it
is refused, and in how much of it crosses the spread."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct, field

from detectors.fleet.alarm import Alarm
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import told, verdict
from detectors.fleet.peers import BOUNDLESS, others, ratio
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
REJECT_PRIOR, REJECT_PRIOR_FAST = 500.0, 20.0
"""Orders by which a server's share of refused orders (of five minutes, of a second) is drawn to the least ordinary."""
AFTER_NS: Final = 600 * S_NS
"""A change of the server this recent is named in the evidence."""
_STEPS: Final = tuple(tuple((math.log(r), r - 1.0) for r in jumps) for jumps in JUMPS)
_NONE: Final = [0.0] * len(COUNTS)
UNITS: Final = ("orders a second", "orders a parent", "% of orders refused", "% of fills crossing the spread")


class Compared(Struct):
    """One server: counts per frame, smoothed; what it sends when nothing is wrong; its CUSUMs by channel and jump."""

    fast: list[float] = field(default_factory=lambda: [*_NONE])
    slow: list[float] = field(default_factory=lambda: [*_NONE])
    long: list[float] = field(default_factory=lambda: [*_NONE])
    seen: float = 0.0
    """Frames smoothed."""
    usual: float = 0.0
    """Orders per frame while nothing was wrong: the mean."""
    parents: float = 0.0
    known: float = 0.0
    """Frames learned."""
    frames: int = 0
    counts: list[float] = field(default_factory=lambda: [*_NONE])
    """Totals at the last judgement."""
    walks: list[list[float]] = field(default_factory=lambda: [[0.0] * len(jumps) for jumps in JUMPS])
    alarms: list[Alarm] = field(default_factory=lambda: [Alarm() for _ in UNITS])

    def smooth(self, counts: list[float], span: int) -> None:
        """Take in counts of so many frames."""
        self.fast, self.slow, self.long = (
            _smoothed(held, counts, span, min(self.seen, frames))
            for held, frames in ((self.fast, FAST), (self.slow, SLOW), (self.long, LONG))
        )
        self.seen = min(self.seen + span, LONG)


def _smoothed(held: list[float], counts: list[float], span: int, frames: float) -> list[float]:
    gain, each = span / (span + frames), 1.0 / span
    return [h + gain * (c * each - h) for h, c in zip(held, counts, strict=True)]


class Peers(Struct):
    """What the servers whose rows come show, each quantity in ascending order."""

    moving: list[float]
    fan_out: list[float]
    refused: list[float]
    refused_now: list[float]
    crossing: list[float]
    parents: float
    """Median of parents per frame."""


class Divergence:
    """For each server and channel, CUSUMs of the log-likelihood of its count against what its **peers'** flow makes
    likely. With n events since the last judgement where e were to be expected,

        W_r = max(0, W_r + ln r * n - (r - 1) * a * e),   r in JUMPS,   score = max_r W_r / F   (nats),

    a the headroom, F the dispersion (quasi-likelihood, as in ``rate``). While it is open, W halves with each judgement in
    which n <= a e, so that it closes soon after the excess has ended, however high it was. Leave-one-out: e rests on the
    median of the other servers, never on the server itself, so that it is neither judged by its own flow nor blamed for one bad peer;
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
        new: list[tuple[Server, Compared, list[float], int]] = []
        current: list[Compared] = []
        for server in roster.servers.values():
            one = self.compared.get(server.name)
            if one is None:
                one = self.compared[server.name] = Compared()
            if now - server.heard_at <= self._current_ns:
                current.append(one)
            if span := server.frames - one.frames:
                counts = [a - b for a, b in zip(server.counts, one.counts, strict=True)]
                one.frames, one.counts = server.frames, [*server.counts]
                one.smooth(counts, span)
                new.append((server, one, counts, span))
        found: list[Breach] = []
        if new and len(current) > 1:
            usual = self._usual(current)
            peers = self._peers(current, usual)
            for _, one, counts, span in new:
                expected = self._expected(one, peers, usual, counts, span)
                observed = (counts[ASKS], counts[ASKS], counts[REJECTS], counts[HITS])
                for k, (n, e) in enumerate(zip(observed, expected, strict=True)):
                    walks, over = one.walks[k], one.alarms[k].open and n <= e
                    for r, (gain, cost) in enumerate(_STEPS[k]):
                        held = walks[r] / 2 if over else walks[r]
                        walks[r] = max(0.0, held + gain * n - cost * e)
        for server in roster.servers.values():
            found += self._tell(roster, server, now)
        for server, one, counts, span in new:
            self._learn(server, one, counts, span)
        return found

    def _usual(self, current: list[Compared]) -> list[float]:
        """Median usual rate of the servers, ascending rates: what a server's own is drawn to while not known well."""
        return sorted(one.usual if one.known else one.fast[ASKS] for one in current)

    def _rate(self, one: Compared, usual: list[float]) -> float:
        """A server's usual orders per frame."""
        own = one.usual if one.known else one.fast[ASKS]
        middle = others(usual, own if own in usual else None)
        drawn = (one.usual * one.known + (own if middle == BOUNDLESS else middle) * KNOWN) / (one.known + KNOWN)
        return max(drawn, self._floor)

    def _peers(self, current: list[Compared], usual: list[float]) -> Peers:
        moving = sorted(one.fast[ASKS] / self._rate(one, usual) for one in current)
        self.moving = others(moving, None)
        risen = sorted(max(one.fast[PARENTS], one.slow[PARENTS]) / one.parents for one in current if one.parents > 0)
        self.moving_parents = others(risen, None)
        return Peers(
            moving,
            sorted(ratio(one.slow[ASKS], one.slow[PARENTS]) for one in current),
            sorted(self._refused(one.long, LONG, REJECT_PRIOR) for one in current),
            sorted(self._refused(one.fast, FAST, REJECT_PRIOR_FAST) for one in current),
            sorted(ratio(one.slow[HITS], one.slow[FILLS]) for one in current),
            others(sorted(one.slow[PARENTS] for one in current), None),
        )

    def _refused(self, smoothed: list[float], frames: int, prior: float) -> float:
        least = self._config.reject_share_min
        return (smoothed[REJECTS] * frames + prior * least) / (smoothed[ASKS] * frames + prior)

    def _expected(
        self, one: Compared, peers: Peers, usual: list[float], counts: list[float], span: int
    ) -> tuple[float, float, float, float]:
        """Allowed events since the last judgement, by channel."""
        c, fast, slow = self._config, one.fast, one.slow
        room = c.headroom * (1.0 + KNOWN / (KNOWN + one.known))
        rate = self._rate(one, usual)
        moving = max(_others(peers.moving, fast[ASKS] / rate), RATIO_MIN)
        fan_out = _others(peers.fan_out, ratio(slow[ASKS], slow[PARENTS]))
        asked = max(slow[PARENTS], fast[PARENTS], peers.parents / 4, 1e-6) * fan_out
        refused = max(
            _others(peers.refused, self._refused(one.long, LONG, REJECT_PRIOR)),
            _others(peers.refused_now, self._refused(fast, FAST, REJECT_PRIOR_FAST)),
            c.reject_share_min,
        )
        crossing = max(_others(peers.crossing, ratio(slow[HITS], slow[FILLS])), HITS_SHARE_MIN)
        return (
            max(rate * moving, self._floor) * room * span,
            max(asked, self._floor) * room * span,
            counts[ASKS] * refused * c.headroom,
            counts[FILLS] * crossing * c.crossing_headroom,
        )

    def _tell(self, roster: Roster, server: Server, now: int) -> list[Breach]:
        c, one = self._config, self.compared[server.name]
        found = []
        for k, (name, walks, alarm) in enumerate(zip(self.names, one.walks, one.alarms, strict=True)):
            score = max(walks) / self._dispersions[k]
            if score <= 0.0 and alarm.first is None:
                alarm.ratio = 0.0
                continue
            edge = alarm.step(score, c.limit_nats, now, self._quiet_ns, server.first)
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

    def _learn(self, server: Server, one: Compared, counts: list[float], span: int) -> None:
        """Usual rates, while nothing is open or under way."""
        quarter = self._config.limit_nats / 4
        if server.opens or any(max(w) / d >= quarter for w, d in zip(one.walks, self._dispersions, strict=True)):
            return
        one.known = min(one.known + span, KNOWN_MAX)
        gain = min(span / one.known, 1.0)
        one.usual += gain * (counts[ASKS] / span - one.usual)
        one.parents += gain * (counts[PARENTS] / span - one.parents)

    def moves_as_one(self, move_ratio: float) -> bool:
        """Does the median server send ``move_ratio`` times its usual rate, and do parents (where the flow has any) rise
        with it? More orders out of no more parents is nothing that comes from outside."""
        return self.moving >= move_ratio and self.moving_parents >= math.sqrt(move_ratio)

    def unlike(self, server: str) -> bool:
        """Is it open on any channel, or half way to it?"""
        one, half = self.compared.get(server), self._config.limit_nats / 2
        if one is None:
            return False
        walks = zip(one.walks, one.alarms, self._dispersions, strict=True)
        return any(alarm.open or max(w) / d >= half for w, alarm, d in walks)

    def state(self) -> Any:
        """Plain data."""
        return msgspec.to_builtins([self.compared, self.moving, self.moving_parents])

    def load(self, state: Any) -> None:
        """The reverse."""
        self.compared = msgspec.convert(state[0], dict[str, Compared])
        self.moving, self.moving_parents = state[1:]


def _others(ordered: list[float], own: float) -> float:
    """The median without ``own``, if it is there (a server whose rows do not come is not)."""
    return others(ordered, own if own in ordered else None)


def _value(k: int, one: Compared) -> float:
    """What a channel compares, in the unit of UNITS."""
    over, under, times = (
        (one.fast[ASKS], 1.0, 10.0),
        (one.slow[ASKS], one.slow[PARENTS], 1.0),
        (one.long[REJECTS], one.long[ASKS], 100.0),
        (one.slow[HITS], one.slow[FILLS], 100.0),
    )[k]
    return over / under * times if under > 0 else 0.0
