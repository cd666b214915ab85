"""Rate: more orders than is normal, at any time scale, from this server, one of its strategies or in one symbol."""

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

from detectors.arrays import I64
from detectors.baseline import Baseline, count
from detectors.config import RateConfig
from detectors.detector import Context
from detectors.excursion import Excursion, Finding, room_for
from detectors.excursion import walk as excursion_walk
from detectors.flow import Columns, Where, places, read
from detectors.kinds import ASKS
from detectors.rate_series import LEVELS, UNIT, Floats, Scores, Series, SeriesTables, keep, score, scores_room
from detectors.totals import COLUMNS, PROFIT, TRADED
from schemas.jit import compiled
from schemas.records import Family, FirstEvent
from schemas.units import MIN_NS, S_NS

_MEMORY_MINUTES = 30.0


class Rate:
    """Banks of Poisson CUSUMs over the times of orders and replaces: one bank for the server, one for each strategy, one
    for each symbol; in a bank one CUSUM for each rate ratio r in ``jumps``.

    Against a normal rate of at most b per second, r times that rate makes an order worth ``ln r`` and each second since
    the series' order before ``-(r - 1) b``, both divided by the dispersion F (quasi-likelihood for clustered flow,
    McCullagh and Nelder 1989, ch. 9):

        W = max(0, W + (ln r - (r - 1) b dt) / F),   score = max over series and r,   opens at h = ln(3 J arl_events)

    with J jumps. It covers all window lengths at once: r = 30 answers to a burst of milliseconds, r = 2 to a slow rise
    of minutes. The series that stands highest names the breach, and the order at which it last left zero is the first.

    False alarms. For F = 1 and flow of any rates up to the bounds, the mean number of orders between false alarms *of
    all series together* is at least ``arl_events``. exp(W) lies below the Shiryaev-Roberts sum R; each R grows by at
    most 1 in the mean at an order of its own series, so that the sum of R over the symbols, less the count of orders,
    is a supermartingale however many symbols there are: an order belongs to one. The same holds for strategies and for
    the server, and the mean over these three levels and the J jumps alarms by exp(h) / (3 J) (e-detectors: Shin, Ramdas
    and Rinaldo, arXiv 2203.03532; event clock: El Karoui, Loisel and Salhi 2017). K series so cost ln 3, not ln K.
    F > 1 answers to clusters and has no theorem.

    b is ``headroom`` times what is expected, at least the level's prior: for the server the ``Baseline`` with its
    profile over the day; for a strategy or symbol its own mean of late, moved as the server's expectation is by the time
    of day. F is the level's ``dispersion`` floor; times the ratio if the server's learned variance-to-mean ratio of
    orders per second is beyond its floor. Both change on the minute, from minutes without a breach. Warm-up: none; the
    priors hold until then.

    Unit of the score: nats. Statistical: warns alone, and halts alone beyond ``bound_halt`` limits.
    """

    name: ClassVar[str] = "rate"
    family: ClassVar[Family] = "rate"
    hard: ClassVar[bool] = False

    def __init__(self, config: RateConfig) -> None:
        self.config = config
        self.limit_nats = math.log(config.arl_events * len(config.jumps) * len(LEVELS))
        self.series = Series(config.jumps)
        self.normal = Baseline(_MEMORY_MINUTES)
        self.excursion = Excursion(round(self.limit_nats * UNIT), round(config.quiet_s * S_NS))
        self.first: FirstEvent | None = None
        self.began = 0
        self.base: I64 = np.zeros(2, np.int64)
        self.row = 0
        self.bound_per_s = config.prior_per_s
        self._priors: Floats = np.array([config.prior_per_s, config.prior_strategy_per_s, config.prior_symbol_per_s])
        self._floors: Floats = np.array([config.dispersion_min, config.dispersion_strategy, config.dispersion_symbol])
        self._dispersion: Floats = self._floors
        self._minute = -1
        self.out = rate_room(0)
        self._n = 0
        self._told: dict[tuple[int, str], dict[str, Any]] = {}

    def _set_bounds(self, minute: int) -> None:
        config, normal, series = self.config, self.normal, self.series
        self._dispersion = self._floors * self._clustered()
        expected = normal.expected(minute)
        shape = min(max(expected / normal.mean, 0.2), 5.0) if normal.mean > 0 and expected > 0 else 1.0
        learned = config.headroom * shape * np.where(series.minutes >= normal.warm_minutes, series.learned, 0.0)
        learned[0] = config.headroom * expected
        bounds = np.maximum(self._priors[series.levels()], learned)
        series.set_bounds(bounds, self._priors, self._dispersion)
        self.bound_per_s = float(bounds[0])
        self._minute = minute

    def _clustered(self) -> float:
        """How much more clustered than assumed the server's flow is."""
        return max(1.0, self.normal.dispersion / self.config.dispersion_min) if self.normal.warm else 1.0

    @property
    def bound_halt(self) -> float:
        """In nats."""
        return self.config.bound_halt * self.limit_nats

    def room(self) -> int:
        """Events for which the tables are large enough."""
        return self.series.room()

    def tables(self, more: int) -> "RateTables":
        """For the compiled loop, with room for ``more`` names; until the next minute."""
        return RateTables(self.excursion.row, self.series.tables(more), self.normal.seconds, self.excursion.limit)

    def begin(self, t: int) -> None:
        """A flow at stream time t (ns): the bounds of its minute, before ``tables``."""
        self.normal.begin(t)
        if t // MIN_NS != self._minute:
            self._set_bounds(t // MIN_NS)

    def step(self, context: Context) -> list[Finding]:
        """Score a flow, then count it for the baseline."""
        flow, n = context.flow, len(context.flow)
        if not context.walked:
            self.begin(int(flow.t[0]))
            self.out = rate_room(n)
            walk(n, places(flow), read(flow), context.totals, self.tables(n), self.out)
        self._n, out = n, self.out
        if not out.used[0]:
            return []
        findings = self.excursion.findings(flow, out.scores.beyond, context.totals, out.found, int(out.used[0]))
        self._told = {(finding.index, finding.edge): self._place(context, finding) for finding in findings}
        keep(self.series.tables(0), places(flow), context.totals, out.scores)
        return findings

    def _place(self, context: Context, finding: Finding) -> dict[str, Any]:
        """The finding begins where its series left zero, and its money is counted from there. Returns its evidence."""
        i, scores, series = finding.index, self.out.scores, self.series
        finding.value = int(scores.value[i])
        row = int(scores.row[i])
        origin = series.origin(context.flow, context.totals, row, int(scores.began[i]))
        if finding.edge == "open":  # at an order, or after a silence through which it stayed beyond the limit
            self.row, self.first, self.began = row, origin.first, origin.t
            self.base = np.array([origin.profit, origin.traded], np.int64)
        assert self.first is not None
        finding.first, finding.began = self.first, self.began
        finding.since = np.zeros(len(COLUMNS), np.int64)
        finding.since[[PROFIT, TRADED]] = context.totals[i + 1, [PROFIT, TRADED]] - self.base
        if finding.edge == "close":
            return _who(*series.name(self.row))
        span = max(int(context.flow.t[i]) - origin.t, 1)
        return self._evidence(row, int(scores.orders[i]), span)

    def _evidence(self, row: int, count: int, span_ns: int) -> dict[str, Any]:
        series = self.series
        level, name = series.name(row)
        dispersion = float(self._dispersion[LEVELS.index(level)])
        return {
            "count": count,
            "window_ms": round(span_ns / 1e6, 3),
            "per_s": round(count / max(span_ns / S_NS, 1e-3), 1),
            "expected": round(series.bound_per_s(row, dispersion) * span_ns / S_NS, 1),
            "learned_per_s": round(float(series.learned[row] if row else self.normal.mean), 3),
            "dispersion": round(dispersion, 1),
            **_who(level, name),
        }

    def score(self, value: int) -> float:
        """Nats."""
        return round(value / UNIT, 3)

    def baseline(self) -> float:
        """Upper bound of the server's normal rate, orders per second."""
        return round(self.bound_per_s, 3)

    def values(self) -> I64:
        """(n,) the highest CUSUM, fixed point."""
        return self.out.scores.value[: self._n]

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """Which series; how many orders in how long, against how many expected."""
        return self._told[finding.index, finding.edge]

    def minute(self, learn: bool) -> None:
        """Learn the minute; the next flow sets its own bounds."""
        series = self.series
        most = np.where(series.minutes > 0, 3.0 * series.learned + self._priors[series.levels()] / 10.0, np.inf)
        series.close(learn, _MEMORY_MINUTES, most)
        self.normal.close(learn)


def _who(level: str, name: str) -> dict[str, Any]:
    """A series, as evidence: its level, and the strategy or symbol."""
    return {"series": level, level: name} if name else {"series": level}


class RateTables(NamedTuple):
    """State: excursion, series, the baseline's seconds; and the limit."""

    row: I64
    series: SeriesTables
    seconds: I64
    limit: int


class RateOut(NamedTuple):
    """The scores; transitions, and how many."""

    scores: Scores
    found: I64
    used: I64


def rate_room(n: int) -> RateOut:
    """Room for n events."""
    return RateOut(scores_room(n), room_for(n), np.zeros(1, np.int64))


@compiled
def walk(n: int, at: Where, flow: Columns, totals: I64, tables: RateTables, out: RateOut) -> None:
    """Score n events. Without a transition, what is kept beyond this flow is kept at once; else ``step`` asks first."""
    scores, series = out.scores, tables.series
    scores.used[0] = 0
    for i in range(n):
        ask = ASKS[flow.kind[i]]
        if ask:
            count(tables.seconds, at.t[i], 1)
        score(series, i, at.t[i], at.words, ask, scores)
        # below the limit the excursion need not know: each series remembers where it left zero
        scores.beyond[i] = scores.value[i] if scores.value[i] >= tables.limit else 0
    out.used[0] = excursion_walk(n, at, scores.beyond, totals, tables.row, out.found)
    if out.used[0] == 0:
        keep(series, at, totals, scores)
