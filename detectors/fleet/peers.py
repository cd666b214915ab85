"""The median of the others."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

BOUNDLESS: Final = 1e12
"""What stands for "no peer can tell": nothing is beyond it."""


def others(ordered: Sequence[float], own: float | None) -> float:
    """The median of ``ordered`` (ascending) without one ``own``; of all where own is None or not among them;
    BOUNDLESS where nothing is left, and at most that.

    >>> others([1.0, 2.0, 30.0], 30.0), others([1.0, 2.0, 30.0], 1.0), others([1.0, 2.0, 30.0], None)
    (1.5, 16.0, 2.0)
    """
    n = len(ordered)
    at = n if own is None else bisect_left(ordered, own)
    left = n - 1 if at < n and ordered[at] == own else n
    if left <= 0:
        return BOUNDLESS
    low, high = (left - 1) // 2, left // 2
    if left < n:
        low, high = low + (at <= low), high + (at <= high)
    return _at_most((ordered[low] + ordered[high]) / 2)


def each_others(values: Sequence[float], ordered: Sequence[float]) -> list[float]:
    """``others(ordered, own)`` for each of ``values``, of which ``ordered`` is all in ascending order. There are at most
    three such medians.

    >>> each_others([30.0, 1.0, 2.0], [1.0, 2.0, 30.0])
    [1.5, 16.0, 15.5]
    """
    n = len(ordered)
    if n < 2:
        return [BOUNDLESS] * n
    low, high = (n - 2) // 2, (n - 1) // 2
    least, most = ordered[low], ordered[high]
    if low == high:
        below, above = _at_most((ordered[low + 1] + ordered[high + 1]) / 2), _at_most((least + most) / 2)
        return [below if own <= least else above for own in values]
    below, between = _at_most((most + ordered[high + 1]) / 2), _at_most((least + ordered[high + 1]) / 2)
    above = _at_most((least + most) / 2)
    return [below if own <= least else between if own <= most else above for own in values]


def _at_most(middle: float) -> float:
    return middle if middle < BOUNDLESS else BOUNDLESS


def ratio(over: float, under: float) -> float:
    """``over / under``, BOUNDLESS over nothing."""
    return over / under if under > 0 else BOUNDLESS
