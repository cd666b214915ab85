"""Mean and covariance of vectors, learned one at a time: the recursion of river's ``EmpiricalCovariance``, compiled."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import stats

from schemas.jit import compiled

Floats = NDArray[np.float64]


class MomentTables(NamedTuple):
    """What compiled loops read and write. n: (1,) vectors learned. rank: (d,) place of each component in river's order.
    mean: (d,). cov: (d, d), for a pair its covariance, on the diagonal the sum of squares."""

    n: Floats
    rank: NDArray[np.int64]
    mean: Floats
    cov: Floats


class Moments:
    """Welford's recursion for d named components (ddof 1). River keeps an object a pair, of which each update is a call,
    78 for twelve components; here they are two arrays, with the same numbers bit for bit (tests/detectors/test_novelty.py).

    inputs: names. mean: (d,). Pairs have river's order: names sorted, the lower one first.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self._inputs = tuple(inputs)
        d = len(inputs)
        order = sorted(range(d), key=lambda k: self._inputs[k])
        rank = np.array([order.index(k) for k in range(d)])
        self._order = order
        self.tables = MomentTables(np.zeros(1), rank, np.zeros(d), np.zeros((d, d)))

    @property
    def n(self) -> float:
        """Vectors learned."""
        return float(self.tables.n[0])

    @property
    def mean(self) -> Floats:
        """(d,)."""
        return self.tables.mean

    def update(self, x: Floats) -> None:
        """A vector (d,)."""
        update(x, self.tables)

    def matrix(self) -> Floats:
        """(d, d) the covariance; zeros before the second vector."""
        out = self.tables.cov.copy()
        diagonal = np.diag_indices(len(out))
        out[diagonal] = out[diagonal] / (self.n - 1.0) if self.n > 1.0 else 0.0
        return out

    def state(self) -> list[list[Any]]:
        """Plain values: of each pair names, count, means and covariance, then of each component name twice, count, mean
        and sum of squares."""
        if not self.n:
            return []
        names, mean, cov, order = self._inputs, self.mean.tolist(), self.tables.cov.tolist(), self._order
        pairs: list[list[Any]] = [
            [names[i], names[j], self.n, mean[i], mean[j], cov[i][j]]
            for k, i in enumerate(order) for j in order[k + 1 :]
        ]  # fmt: skip
        return pairs + [[names[i], names[i], self.n, mean[i], cov[i][i]] for i in order]

    def load(self, state: Sequence[Sequence[Any]]) -> None:
        """The reverse of ``state``."""
        for table in (self.tables.n, self.tables.mean, self.tables.cov):
            table[:] = 0.0
        at = {name: k for k, name in enumerate(self._inputs)}
        for a, b, n, *rest in state:
            i, j = at[a], at[b]
            self.tables.n[0] = n
            self.tables.cov[i, j] = self.tables.cov[j, i] = rest[-1]
            if i == j:
                self.mean[i] = rest[0]


def var_of(n: float, mean: float, squares: float) -> stats.Var:
    """River's variance of n values with this mean and sum of squared distances from it."""
    var = stats.Var()
    var.mean.n, var.mean._mean, var._S = n, mean, squares
    return var


@compiled
def update(x: Floats, tables: MomentTables) -> None:
    """As ``stats.Cov.update`` for each pair and ``stats.Var.update`` for each component."""
    count, rank, mean, cov = tables
    count[0] += 1.0
    n, d = count[0], len(x)
    over = max(n - 1.0, 1.0)
    share = 1.0 / n
    for i in range(d):
        for j in range(i + 1, d):
            low, high = (i, j) if rank[i] < rank[j] else (j, i)
            after = mean[high] + share * (x[high] - mean[high])
            change = ((x[low] - mean[low]) * (x[high] - after) - cov[i, j]) / over
            cov[i, j] += change
            cov[j, i] = cov[i, j]
    for i in range(d):
        before = mean[i]
        mean[i] += share * (x[i] - before)
        cov[i, i] += (x[i] - before) * (x[i] - mean[i])
