"""How unlike all vectors before a vector is: a distance learned online, with its own tail for calibration."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import stats

from detectors.moments import Moments, MomentTables, update, var_of
from schemas.jit import compiled

Floats = NDArray[np.float64]
_INVERT_EVERY: Final = 10
_TAIL_MIN: Final = 1e-4
"""Least variance of ln D."""


class SurpriseTables(NamedTuple):
    """What compiled loops read and write. learned: moments of what was learned. mean, inverse: as taken last. tail: (3,)
    count, mean and sum of squares of ln D, while a loop has them. row: (2,) the last distance; vectors learned."""

    learned: MomentTables
    mean: Floats
    inverse: Floats
    tail: Floats
    row: Floats


class Surprise:
    """Mahalanobis distance to what was learned, D = sqrt((x - m)' (S + floor^2 I)^-1 (x - m) / d), and the tail of ln D.

    inputs: names of the d components. updates_min: vectors learned before there is a distance. floor: least standard
    deviation of a component, in its own unit, so that one that never moved does not divide by nothing. floor_share: the
    same as a share of the components' root mean square deviation.

    What is learned is river's: ``EmpiricalCovariance`` (Welford; ``detectors.moments``) the mean m and the covariance S,
    ``stats.Var`` mean and variance of ln D. m and the inverse are taken from it once in ten updates. Score first: ask for
    a distance, then ``judge`` and ``learn``. Whatever learns in a compiled loop stops where ``due`` says so, for the inverse
    to be taken (``invert``).
    """

    def __init__(self, inputs: Sequence[str], updates_min: int, floor: float = 0.05, floor_share: float = 0.0) -> None:
        self._inputs = tuple(inputs)
        self.updates_min, self._floor, self._floor_share = updates_min, floor, floor_share
        self.learned = Moments(inputs)
        d = len(self._inputs)
        self._tail = stats.Var()
        self.tables = SurpriseTables(self.learned.tables, np.zeros(d), np.zeros((d, d)), np.zeros(3), np.zeros(2))
        self.parts: Floats = np.zeros(d)
        """What each component gives to d D^2, of the last distance."""

    @property
    def judged(self) -> int:
        """Distances that the tail has learned."""
        return int(self._tail.mean.n)

    @property
    def updates(self) -> int:
        """Vectors that were learned."""
        return int(self.tables.row[1])

    def distance(self, x: Floats) -> float:
        """D of a vector (d,), positive; 0 until enough was learned. It is the last distance from here on."""
        return float(distance(x, self.tables, self.updates_min, self.parts))

    def z(self) -> float:
        """Of the last distance: standard deviations of ln D above its mean."""
        last = float(self.tables.row[0])
        spread = math.sqrt(max(self._tail.get(), _TAIL_MIN))
        return (math.log(last) - self._tail.mean.get()) / spread if last else 0.0

    def judge(self) -> None:
        """The last distance was an ordinary one: the tail learns it."""
        if self.tables.row[0]:
            self._tail.update(math.log(self.tables.row[0]))

    @contextmanager
    def in_loop(self) -> Iterator[SurpriseTables]:
        """The tables, with the tail of river's in them, which takes over what a loop makes of it."""
        tail, held = self.tables.tail, self._tail
        tail[:] = held.mean.n, held.mean.get(), held._S
        yield self.tables
        held.mean.n, held.mean._mean, held._S = tail.tolist()

    def learn(self, x: Floats) -> None:
        """A vector (d,) of ordinary flow."""
        learn(x, self.tables)
        if due(self.tables, self.updates_min):
            self.invert()

    def invert(self) -> None:
        """Take mean and inverse from what was learned."""
        tables, matrix = self.tables, self.learned.matrix()
        tables.mean[:] = self.learned.mean
        d = len(self._inputs)
        share = self._floor_share**2 * float(np.trace(matrix)) / d
        matrix[np.diag_indices(d)] += self._floor**2 + share
        tables.inverse[:] = np.linalg.inv(matrix)

    def top(self, n: int, parts: Floats | None = None) -> list[tuple[str, float]]:
        """The n components that contribute most to the last distance (to that with these parts), and what each gives to
        d D^2."""
        given = self.parts if parts is None else parts
        order = np.argsort(-given, kind="stable")[:n]
        return [(self._inputs[i], float(given[i])) for i in order]

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot: river's moments as numbers."""
        tables = self.tables
        return {
            "moments": self.learned.state(),
            "tail": [self._tail.mean.n, self._tail.mean.get(), self._tail._S],
            "updates": self.updates,
            "mean": tables.mean,
            "inverse": tables.inverse,
            "parts": self.parts,
            "last": float(tables.row[0]),
        }

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        tables = self.tables
        self.learned.load(state["moments"])
        self._tail = var_of(*state["tail"])
        tables.row[:] = state["last"], state["updates"]
        tables.mean[:], tables.inverse[:] = state["mean"], state["inverse"]
        self.parts[:] = state["parts"]


@compiled
def distance(x: Floats, model: SurpriseTables, updates_min: int, parts: Floats) -> float:
    """As ``Surprise.distance``: at least 1e-6. parts: (d,) what each component gives to it."""
    mean, inverse = model.mean, model.inverse
    d = len(x)
    total = 0.0
    known = model.row[1] >= updates_min
    for i in range(d):
        parts[i] = 0.0
        if known:
            pull = 0.0
            for j in range(d):
                pull += inverse[i, j] * (x[j] - mean[j])
            parts[i] = (x[i] - mean[i]) * pull
            total += parts[i]
    found = np.sqrt(max(total, d * 1e-12) / d) if known else 0.0
    model.row[0] = found
    return found


@compiled
def bound(model: SurpriseTables, z: float) -> float:
    """The distance that lies z standard deviations of ln D above its mean: a log-normal tail."""
    n, mean, squares = model.tail
    spread = squares / (n - 1.0) if n > 1.0 else 0.0
    return math.exp(mean + z * math.sqrt(max(spread, _TAIL_MIN)))


@compiled
def judge(model: SurpriseTables) -> None:
    """As ``Surprise.judge``: what ``stats.Var.update`` does, number for number, on the tail in the tables."""
    if model.row[0] == 0.0:
        return
    tail, x = model.tail, math.log(model.row[0])
    before = tail[1]
    tail[0] += 1.0
    tail[1] += (1.0 / tail[0]) * (x - before)
    tail[2] += (x - before) * (x - tail[1])


@compiled
def learn(x: Floats, model: SurpriseTables) -> None:
    """As ``Surprise.learn``, but for the inverse."""
    update(x, model.learned)
    model.row[1] += 1.0


@compiled
def due(model: SurpriseTables, updates_min: int) -> bool:
    """Whether the inverse is to be taken, after a vector was learned."""
    return bool(model.row[1] % _INVERT_EVERY == 0.0 or model.row[1] == updates_min)
