"""Novelty: a second of flow unlike any that this server has shown before, whatever it is that differs."""

from statistics import NormalDist
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from detectors.arrays import I64, Bools
from detectors.config import NoveltyConfig
from detectors.features import FRAME_NS, NAMES
from detectors.surprise import Floats, Surprise, SurpriseTables, bound, distance, due, judge, learn
from schemas.jit import compiled
from schemas.records import Family
from schemas.units import S_NS

INPUTS: Final = (
    "parents", "orders", "cancels", "fills", "canceled", "rejects", "order_qty", "fill_usd",
    "aggressive_usd", "spread_burn_usd", "net_usd", "symbols",
)  # fmt: skip
_AT = np.array([NAMES.index(name) for name in INPUTS])
_ROWS_PER_DAY = 6.5 * 3600 * (S_NS // FRAME_NS)
_FRAMES = S_NS // FRAME_NS
_POWER = 0.25
_UPDATES_MIN = 2 * len(INPUTS)


class Closed(NamedTuple):
    """Frames that have closed, n of them. values: (n, k) features in the order of NAMES. clean: no breach is open. ends:
    stream times (ns) of the events that ended them; before: of the events before these, -1 where they are not at hand."""

    frames: I64
    values: Floats
    clean: Bools
    ends: I64
    before: I64


class Scored(NamedTuple):
    """n rows with d inputs: x (n, d); what each gives to d D^2 (n, d); D, its bound, and the run after each (n,)."""

    x: Floats
    parts: Floats
    distance: Floats
    bound: Floats
    runs: I64


def _scored(n: int) -> Scored:
    d = len(INPUTS)
    (x, parts), (distances, bounds) = np.zeros((2, n, d)), np.zeros((2, n))
    return Scored(x, parts, distances, bounds, np.zeros(n, np.int64))


class Novelty:
    """Mahalanobis distance of the last second's features from all seconds before, with its tail learned online.

    x is |feature| ** 0.25 over the frames of the last second, for the inputs above: between the root, which makes the
    variance of counts constant, and the logarithm, which multiples move alike. river's ``EmpiricalCovariance`` holds
    mean m and covariance S of the seconds so far (Welford updates); the distance is

        D = sqrt((x - m)' (S + floor I)^-1 (x - m) / d),

    and ln D is taken as normal, with mean and variance by river's ``stats.Var``: order flow has heavy tails, and the
    log-normal tail is theirs rather than chi-square's. A row is *novel* when ln D lies beyond the quantile that gives
    ``false_alarms_per_day`` rows per day by itself. The run grows by one with a novel row and falls by one with any other,
    to zero when a whole second had none; nothing is learned while it is not zero, and at ``run_rows`` it opens a breach. So
    one odd second never does, and one ordinary row among novel ones neither hides them nor teaches them to the model.
    Distances see combinations: a fill rate and an order rate that are each ordinary, but not together.

    Score before learning: a row is judged by the model of the rows before it. No learning while any detector of the
    server is in breach (else a long runaway becomes normal, see HalfSpaceTrees in docs/detectors.md). Warm-up:
    ``warm_rows`` rows for the model and as many again for its tail; nothing is novel before. Covariance is updated
    once a second (non-overlapping seconds), the inverse once in ten updates; see ``detectors/surprise.py``.

    Unit of the score: novel rows beyond ordinary ones. Statistical.
    """

    name: ClassVar[str] = "novelty"
    family: ClassVar[Family] = "novelty"
    hard: ClassVar[bool] = False

    def __init__(self, config: NoveltyConfig) -> None:
        self.config = config
        self.limit = config.run_rows
        self.quiet_ns = round(config.quiet_s * S_NS)
        self.z_limit = NormalDist().inv_cdf(1.0 - min(0.5, config.false_alarms_per_day / _ROWS_PER_DAY))
        self.model = Surprise(INPUTS, _UPDATES_MIN)
        self.sums: Floats = np.zeros((_FRAMES, len(INPUTS)))
        """Inputs of the frames of the last second, at frame modulo 10, and which frame each place holds."""
        self.frames: I64 = np.full(_FRAMES, -_FRAMES, np.int64)
        self.rows = 0
        self.run = 0
        self.ordinary = 0
        """Rows since the last novel one, up to a second."""
        self.last_learned = -1
        self.distance = 0.0
        self.bound = 0.0
        self._limits = config.warm_rows, self.limit, self.quiet_ns, _UPDATES_MIN, self.z_limit
        self._scored = _scored(1)

    def score(self, closed: Closed, quiet_from: int) -> list[int]:
        """Score rows, then learn them, one after the other: the run before them, and after each. quiet_from: stream time
        (ns) after which events are ordinary again, as far as runs before these tell."""
        n, model = len(closed.frames), self.model
        scored = self._scored = _scored(n)
        state = np.array([self.rows, self.run, self.ordinary, self.last_learned, quiet_from, 0, 0])
        runs = [self.run]
        _last_seconds(self.sums, self.frames, closed.frames, closed.values, scored.x)
        k = 0
        while k < n:
            with model.in_loop() as tables:
                k = _score(k, closed, scored, state, self._limits, tables)
            if state[6]:
                model.invert()
        self.rows, self.run, self.ordinary, self.last_learned, _, looked, _ = state.tolist()
        self.distance, self.bound = scored.distance.item(n - 1), scored.bound.item(n - 1)
        if looked:
            model.parts[:] = scored.parts[n - 1]
        runs += scored.runs.tolist()
        return runs

    def shares(self) -> Floats:
        """(n,) of the rows that were scored last: distance / bound, 0 while there is none."""
        distance, bound = self._scored.distance, self._scored.bound
        shares = np.zeros(len(bound))
        np.divide(distance, bound, out=shares, where=bound > 0.0)
        return shares.round(4)

    @property
    def bound_halt(self) -> float:
        """Never alone."""
        return 0.0

    def evidence(self, k: int) -> dict[str, Any]:
        """Of the k-th row that was scored last: distance against its bound, and the three inputs that contribute most."""
        scored = self._scored
        return {
            "distance": round(scored.distance.item(k), 3),
            "bound": round(scored.bound.item(k), 3),
            "top": {name: round(part, 1) for name, part in self.model.top(3, scored.parts[k])},
        }


@compiled
def _last_seconds(sums: Floats, frames: I64, closed: I64, values: Floats, x: Floats) -> None:
    """Put frames into the ring, one after the other; x: (n, d) |sum| ** _POWER of the inputs over the frames of the last
    second."""
    for i in range(len(closed)):
        frame = closed[i]
        at = frame % _FRAMES
        frames[at] = frame
        for k in range(x.shape[1]):
            sums[at, k] = values[i, _AT[k]]
            total = 0.0
            for j in range(_FRAMES):
                if frames[j] > frame - _FRAMES:
                    total += sums[j, k]
            x[i, k] = abs(total) ** _POWER


@compiled
def _score(
    k: int, closed: Closed, scored: Scored, state: I64, limits: tuple[int, int, int, int, float], model: SurpriseTables
) -> int:
    """Go on from row k, at most to a row after which the inverse is due; returns the row after it. state: (7,) as read and
    written in ``Novelty.score``, and whether it is due. limits: rows to warm up, run that opens, quiet (ns), updates before
    there is a distance, standard deviations."""
    warm, opens, quiet_ns, updates_min, z = limits
    rows, run, ordinary, last_learned, quiet_from = state[0], state[1], state[2], state[3], state[4]
    n, looked, stop = len(closed.frames), False, False
    while k < n and not stop:
        if closed.before[k] >= 0 and run >= opens:
            quiet_from = closed.before[k] + quiet_ns
        looked = rows >= warm
        found = distance(scored.x[k], model, updates_min, scored.parts[k]) if looked else 0.0
        limit = bound(model, z) if found > 0.0 else 0.0
        if found > limit and model.tail[0] > warm:
            ordinary, run = np.int64(0), run + 1
        else:
            ordinary = min(ordinary + 1, _FRAMES)
            run = max(run - 1, 0) if ordinary < _FRAMES else np.int64(0)
            if closed.clean[k] and closed.ends[k] > quiet_from and run == 0:
                rows += 1
                judge(model)
                if closed.frames[k] - last_learned >= _FRAMES:
                    last_learned = closed.frames[k]
                    learn(scored.x[k], model)
                    stop = due(model, updates_min)
        scored.distance[k], scored.bound[k], scored.runs[k] = found, limit, run
        k += 1
    state[0], state[1], state[2], state[3], state[4] = rows, run, ordinary, last_learned, quiet_from
    state[5], state[6] = looked, stop
    return k
