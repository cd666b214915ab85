"""Novelty: a second of flow unlike any that this server has shown before, whatever it is that differs."""

import math
from collections import deque
from statistics import NormalDist
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from river import covariance, stats

from detectors.config import NoveltyConfig
from detectors.features import FRAME_NS, NAMES
from schemas.records import Family
from schemas.units import S_NS

INPUTS: Final = (
    "parents", "orders", "cancels", "fills", "canceled", "rejects", "order_qty", "fill_usd",
    "aggressive_usd", "spread_burn_usd", "net_usd", "symbols",
)  # fmt: skip
_AT = np.array([NAMES.index(name) for name in INPUTS])
_ROWS_PER_DAY = 6.5 * 3600 * (S_NS // FRAME_NS)
_FRAMES = S_NS // FRAME_NS
_FLOOR = 0.05
"""Least standard deviation of an input (log units), so that a feature that never moved does not divide by nothing."""


class Novelty:
    """Mahalanobis distance of the last second's features from all seconds before, with its tail learned online.

    x is log(1 + |feature|) over the frames of the last second, for the inputs above. river's ``EmpiricalCovariance``
    holds mean m and covariance S of the seconds so far (Welford updates); the distance is

        D = sqrt((x - m)' (S + floor I)^-1 (x - m) / d),

    and ln D is taken as normal, with mean and variance by river's ``stats.Var``: order flow has heavy tails, and the
    log-normal tail is theirs rather than chi-square's. A row is *novel* when ln D lies beyond the quantile that gives
    ``false_alarms_per_day`` rows per day by itself; ``run_rows`` novel rows in a row open a breach, so that one odd
    row never does. Distances see combinations: a fill rate and an order rate that are each ordinary, but not together.

    Score before learning: a row is judged by the model of the rows before it. No learning while any detector of the
    server is in breach (else a long runaway becomes normal, see HalfSpaceTrees in docs/detectors.md). Warm-up:
    ``warm_rows`` rows for the model and as many again for its tail; nothing is novel before. Covariance is updated
    once a second (non-overlapping seconds), the inverse once in ten updates.

    Unit of the score: novel rows in a row. Statistical.
    """

    name: ClassVar[str] = "novelty"
    family: ClassVar[Family] = "novelty"
    hard: ClassVar[bool] = False

    def __init__(self, config: NoveltyConfig) -> None:
        self.config = config
        self.limit = config.run_rows
        self.quiet_ns = round(config.quiet_s * S_NS)
        self.z_limit = NormalDist().inv_cdf(1.0 - min(0.5, config.false_alarms_per_day / _ROWS_PER_DAY))
        self.cov = covariance.EmpiricalCovariance()
        self.tail = stats.Var()
        self.window: deque[tuple[int, NDArray[np.float64]]] = deque()
        self.rows = 0
        self.run = 0
        self.last_learned = -1
        self.updates = 0
        self.mean: NDArray[np.float64] = np.zeros(len(INPUTS))
        self.inverse: NDArray[np.float64] = np.zeros((len(INPUTS), len(INPUTS)))
        self.distance = 0.0
        self.bound = 0.0
        self.parts: NDArray[np.float64] = np.zeros(len(INPUTS))

    def row(self, frame: int, values: NDArray[np.float64], learn: bool) -> int:
        """Score a closed frame's features (in the order of NAMES), then learn it; returns the run of novel rows."""
        window = self.window
        window.append((frame, values[_AT]))
        while window[0][0] <= frame - _FRAMES:
            window.popleft()
        total = window[0][1].copy()
        for _, more in list(window)[1:]:
            total += more
        x = np.log1p(np.abs(total))
        self._score(x)
        if learn:
            self._learn(frame, x)
        return self.run

    def _score(self, x: NDArray[np.float64]) -> None:
        if self.rows < self.config.warm_rows or self.updates < 2 * len(INPUTS):
            self.run, self.distance, self.bound = 0, 0.0, 0.0
            return
        away = x - self.mean
        pull = self.inverse @ away
        self.parts = away * pull
        self.distance = math.sqrt(max(float(self.parts.sum()), 1e-12) / len(x))
        spread = math.sqrt(max(float(self.tail.get()), 1e-4))
        self.bound = math.exp(float(self.tail.mean.get()) + self.z_limit * spread)
        self.run = self.run + 1 if self.distance > self.bound and self.tail.mean.n > self.config.warm_rows else 0

    def _learn(self, frame: int, x: NDArray[np.float64]) -> None:
        self.rows += 1
        if self.distance > 0.0:
            self.tail.update(math.log(self.distance))
        if frame - self.last_learned < _FRAMES:
            return
        self.last_learned = frame
        self.cov.update(dict(zip(INPUTS, x.tolist(), strict=True)))
        self.updates += 1
        if self.updates % 10 == 0 or self.updates == 2 * len(INPUTS):
            self._invert()

    def _invert(self) -> None:
        d = len(INPUTS)
        matrix = np.empty((d, d))
        for i, a in enumerate(INPUTS):
            for j in range(i, d):
                key = (a, INPUTS[j]) if a <= INPUTS[j] else (INPUTS[j], a)
                matrix[i, j] = matrix[j, i] = float(self.cov.matrix[key].get())
            self.mean[i] = float(self.cov.matrix[a, a].mean.get())
        matrix[np.diag_indices(d)] += _FLOOR**2
        self.inverse = np.asarray(np.linalg.inv(matrix), np.float64)

    @property
    def bound_halt(self) -> float:
        """Never alone."""
        return 0.0

    def evidence(self) -> dict[str, Any]:
        """Distance against its bound, and the three inputs that contribute most."""
        top = np.argsort(-self.parts, kind="stable")[:3]
        return {
            "distance": round(self.distance, 3),
            "bound": round(self.bound, 3),
            "top": {INPUTS[i]: round(float(self.parts[i]), 1) for i in top},
        }

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot: river's moments as numbers."""
        moments = [_moments(a, b, c) for (a, b), c in self.cov.matrix.items()]
        return {
            "moments": moments,
            "tail": [self.tail.mean.n, self.tail.mean.get(), self.tail._S],
            "window": [[f, v.tolist()] for f, v in self.window],
            "rows": self.rows,
            "run": self.run,
            "last_learned": self.last_learned,
            "updates": self.updates,
            "mean": self.mean,
            "inverse": self.inverse,
            "distance": self.distance,
            "bound": self.bound,
            "parts": self.parts,
        }

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        self.cov = covariance.EmpiricalCovariance()
        for a, b, n, *rest in state["moments"]:
            if a == b:
                self.cov.matrix[a, b] = _var(n, rest[0], rest[1])
            else:
                pair = stats.Cov()
                pair.mean_x.n, pair.mean_x._mean = n, rest[0]
                pair.mean_y.n, pair.mean_y._mean = n, rest[1]
                pair.cov = rest[2]
                self.cov.matrix[a, b] = pair
        self.tail = _var(*state["tail"])
        self.window = deque((f, np.array(v)) for f, v in state["window"])
        for name in ("rows", "run", "last_learned", "updates", "mean", "inverse", "distance", "bound", "parts"):
            setattr(self, name, state[name])


def _moments(a: str, b: str, c: Any) -> list[Any]:
    if a == b:
        return [a, b, c.mean.n, c.mean.get(), c._S]
    return [a, b, c.mean_x.n, c.mean_x.get(), c.mean_y.get(), c.cov]


def _var(n: float, mean: float, total: float) -> stats.Var:
    var = stats.Var()
    var.mean.n, var.mean._mean, var._S = n, mean, total
    return var
