"""Novelty: a second of flow unlike any that this server has shown before, whatever it is that differs."""

from statistics import NormalDist
from typing import Any, ClassVar, Final

import numpy as np

from detectors.arrays import I64
from detectors.config import NoveltyConfig
from detectors.features import FRAME_NS, NAMES
from detectors.surprise import Floats, Surprise
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
        self.limit, self._warm = config.run_rows, config.warm_rows
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
        self._closed: list[int] = []
        """What ``take`` was given and ``score`` still works off: frames, and x of each."""
        self._x: Floats = np.empty((0, len(INPUTS)))
        self._seen = -1, 0
        """Inversions of the model when x was looked at, and from which row on."""

    def take(self, frames: I64, values: Floats) -> None:
        """Frames that have closed, (n,), and their features, (n, k) in the order of NAMES. ``score`` each, in order."""
        self._closed, self._seen = frames.tolist(), (-1, 0)
        self._x = np.empty((len(frames), len(INPUTS)))
        _last_seconds(self.sums, self.frames, frames, values, self._x)

    def score(self, k: int, learn: bool) -> int:
        """Score the k-th of them, then learn it; returns the run."""
        model, warm = self.model, self._warm
        self.distance = distance = self._distance(k) if self.rows >= warm else 0.0
        self.bound = bound = model.bound(self.z_limit) if distance else 0.0
        if distance > bound and model.judged > warm:
            self.ordinary, self.run = 0, self.run + 1
            return self.run
        if self.ordinary < _FRAMES:
            self.ordinary += 1
        run = self.run = max(self.run - 1, 0) if self.run and self.ordinary < _FRAMES else 0
        if learn and not run:
            self.rows += 1
            model.judge()
            frame = self._closed[k]
            if frame - self.last_learned >= _FRAMES:
                self.last_learned = frame
                model.learn(self._x[k])
        return run

    @property
    def share(self) -> float:
        """Distance of the last row / bound; 0 while there is none."""
        return round(self.distance / self.bound, 4) if self.bound else 0.0

    def _distance(self, k: int) -> float:
        inversions, start = self._seen
        if inversions != self.model.inversions:
            self._seen = self.model.inversions, (start := k)
            self.model.look(self._x[k:])
        return self.model.distance_of(k - start)

    @property
    def bound_halt(self) -> float:
        """Never alone."""
        return 0.0

    def evidence(self) -> dict[str, Any]:
        """Distance against its bound, and the three inputs that contribute most."""
        return {
            "distance": round(self.distance, 3),
            "bound": round(self.bound, 3),
            "top": {name: round(part, 1) for name, part in self.model.top(3)},
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
