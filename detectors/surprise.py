"""How unlike all vectors before a vector is: a distance learned online, with its own tail for calibration."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import stats

from detectors.moments import Moments, var_of
from schemas.jit import compiled

Floats = NDArray[np.float64]
_INVERT_EVERY = 10


class Surprise:
    """Mahalanobis distance to what was learned, D = sqrt((x - m)' (S + floor^2 I)^-1 (x - m) / d), and the tail of ln D.

    inputs: names of the d components. updates_min: vectors learned before there is a distance. floor: least standard
    deviation of a component, in its own unit, so that one that never moved does not divide by nothing. floor_share: the
    same as a share of the components' root mean square deviation.

    What is learned is river's: ``EmpiricalCovariance`` (Welford; ``detectors.moments``) the mean m and the covariance S,
    ``stats.Var`` mean and variance of ln D. m and the inverse are taken from it once in ten updates, so that between them
    many vectors can be looked at in one go (``look``). Call ``distance`` before ``judge`` and ``learn``: score first.
    """

    def __init__(self, inputs: Sequence[str], updates_min: int, floor: float = 0.05, floor_share: float = 0.0) -> None:
        self._inputs = tuple(inputs)
        self._updates_min, self._floor, self._floor_share = updates_min, floor, floor_share
        self.learned = Moments(inputs)
        self._tail = stats.Var()
        d = len(self._inputs)
        self._mean: Floats = np.zeros(d)
        self._inverse: Floats = np.zeros((d, d))
        self._ahead = [0.0]
        self._parts: Floats = np.zeros((1, d))
        """By vector of the last ``look``: D, and what each component gives to d D^2."""
        self._at = 0
        """Which of them was the last."""
        self._last = 0.0
        self.updates = 0
        self.inversions = 0
        """Times that the inverse was taken; until the next, what ``look`` found holds."""

    @property
    def judged(self) -> int:
        """Distances that the tail has learned."""
        return int(self._tail.mean.n)

    def look(self, x: Floats) -> None:
        """Vectors (n, d) of which ``distance_of`` is going to be asked."""
        out = np.zeros(len(x))
        self._parts, self._at = np.zeros_like(x), 0
        if self.updates >= self._updates_min:
            _distances(x, self._mean, self._inverse, self._parts, out)
        self._ahead = out.tolist()

    def distance_of(self, k: int) -> float:
        """D of the k-th of them, positive; 0 until enough was learned. It is the last distance from here on."""
        self._at, self._last = k, self._ahead[k]
        return self._last

    def distance(self, x: Floats) -> float:
        """D of a vector (d,)."""
        self.look(x[None])
        return self.distance_of(0)

    def spread(self) -> float:
        """Standard deviation of ln D, at least 0.01."""
        return math.sqrt(max(float(self._tail.get()), 1e-4))

    def bound(self, z: float) -> float:
        """The distance that lies z standard deviations of ln D above its mean: a log-normal tail."""
        tail = self._tail
        return math.exp(tail.mean.get() + z * math.sqrt(max(tail.get(), 1e-4)))

    def z(self) -> float:
        """Of the last distance: standard deviations of ln D above its mean."""
        return (math.log(self._last) - float(self._tail.mean.get())) / self.spread() if self._last else 0.0

    def judge(self) -> None:
        """The last distance was an ordinary one: the tail learns it."""
        if self._last:
            self._tail.update(math.log(self._last))

    def learn(self, x: Floats) -> None:
        """A vector (d,) of ordinary flow."""
        self.learned.update(x)
        self.updates += 1
        if self.updates % _INVERT_EVERY == 0 or self.updates == self._updates_min:
            self._invert()

    def _invert(self) -> None:
        d = len(self._inputs)
        matrix = self.learned.matrix()
        self._mean[:] = self.learned.mean
        share = self._floor_share**2 * float(np.trace(matrix)) / d
        matrix[np.diag_indices(d)] += self._floor**2 + share
        self._inverse = np.ascontiguousarray(np.linalg.inv(matrix), np.float64)
        self.inversions += 1

    def top(self, n: int) -> list[tuple[str, float]]:
        """The n components that contribute most to the last distance, and what each gives to d D^2."""
        parts = self._parts[self._at]
        order = np.argsort(-parts, kind="stable")[:n]
        return [(self._inputs[i], float(parts[i])) for i in order]

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot: river's moments as numbers."""
        return {
            "moments": self.learned.state(),
            "tail": [self._tail.mean.n, self._tail.mean.get(), self._tail._S],
            "updates": self.updates,
            "mean": self._mean,
            "inverse": self._inverse,
            "parts": self._parts[self._at],
            "last": self._last,
        }

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        self.learned.load(state["moments"])
        self._tail = var_of(*state["tail"])
        self.updates, self._last = state["updates"], state["last"]
        self._mean, self._inverse = state["mean"], state["inverse"]
        self._parts, self._at = state["parts"][None], 0
        self.inversions += 1


@compiled
def _distances(x: Floats, mean: Floats, inverse: Floats, parts: Floats, out: Floats) -> None:
    """out: (n,) sqrt of the quadratic form over d, at least 1e-6; parts: (n, d) what each component gives to it."""
    d = x.shape[1]
    for k in range(len(x)):
        total = 0.0
        for i in range(d):
            pull = 0.0
            for j in range(d):
                pull += inverse[i, j] * (x[k, j] - mean[j])
            parts[k, i] = (x[k, i] - mean[i]) * pull
            total += parts[k, i]
        out[k] = np.sqrt(max(total, d * 1e-12) / d)
