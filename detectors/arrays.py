"""Array types and the segmented operations that the columnar detectors are made of.

A segment is the run of a batch's events that share a key (a symbol, an order, a parent), in log order. All sums are
int64: they are exact, so that a result does not depend on where the log was cut into batches.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]

_RADIX = 1 << 16


def stable_argsort(keys: I64) -> I64:
    """Stable order of non-negative keys below 2**32. numpy sorts 16-bit integers by radix, which makes one or two
    such passes several times faster than one merge sort of wider keys."""
    low: I64 = np.argsort(keys.astype(np.uint16), kind="stable")
    if len(keys) and int(keys.max()) >= _RADIX:
        high = (keys >> 16).astype(np.uint16)
        low = low[np.argsort(high[low], kind="stable")]
    return low


def where(mask: NDArray[Any]) -> I64:
    """Indices at which mask (n,) is true or not zero; what ``np.flatnonzero`` gives, at a third of its overhead."""
    return mask.nonzero()[0]


def steps_from(values: I64, first: int) -> I64:
    """(n,) differences to the element before; to ``first`` at the start. n >= 1."""
    out = np.empty_like(values)
    out[0] = values[0] - first
    np.subtract(values[1:], values[:-1], out=out[1:])
    return out


class Segments:
    """Events grouped by key, log order kept inside each group.

    order: (n,) event index in sorted order. sid: (n,) segment number of each sorted element. start, last: (m,) sorted
    position of each segment's first and last element. heads: (m,) the keys. n >= 1.
    """

    __slots__ = ("heads", "last", "order", "sid", "start")

    def __init__(self, keys: I64) -> None:
        n = len(keys)
        self.order = stable_argsort(keys)
        ordered = keys[self.order]
        first = np.empty(n, np.bool_)
        first[0] = True
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        self.start = where(first)
        self.sid = np.cumsum(first) - 1
        self.last = np.empty_like(self.start)
        self.last[:-1] = self.start[1:] - 1
        self.last[-1] = n - 1
        self.heads = ordered[self.start]

    def cumsum(self, values: I64, carry: I64) -> I64:
        """(n,) running sum inside each segment, starting from carry (m,)."""
        total = np.cumsum(values)
        base = carry - total[self.start] + values[self.start]
        total += base[self.sid]
        return total

    def before(self, values: NDArray[Any], carry: NDArray[Any]) -> NDArray[Any]:
        """(n,) the value of the element before in the segment; carry (m,) for the first."""
        out = np.empty_like(values)
        out[1:] = values[:-1]
        out[self.start] = carry
        return out

    def ffill(self, values: NDArray[Any], valid: Bools, carry: NDArray[Any]) -> NDArray[Any]:
        """(n,) the latest valid value at or before each element; carry (m,) where there is none yet."""
        at = self.last_index(valid)
        return np.where(at >= 0, values[at], carry[self.sid])

    def last_index(self, valid: Bools) -> I64:
        """(n,) sorted position of the latest valid element at or before each, -1 where there is none in the segment."""
        at = np.where(valid, np.arange(len(valid)), -1)
        np.maximum.accumulate(at, out=at)
        at[at < self.start[self.sid]] = -1
        return at


def reflected(increments: I64, carry: I64) -> I64:
    """(k, n) the Lindley recursions ``W[i] = max(0, W[i-1] + x[i])`` with ``W[-1] = carry`` (k,), in closed form and exact.

    With the walk S[i] = carry + x[0] + ... + x[i], W[i] = S[i] - min(0, S[0], ..., S[i]).
    """
    walk = increments.cumsum(axis=1)
    walk += carry[:, None]
    floor = np.minimum(walk, 0)
    np.minimum.accumulate(floor, axis=1, out=floor)
    walk -= floor
    return walk
