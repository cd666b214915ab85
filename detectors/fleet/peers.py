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
    middle = (ordered[low] + ordered[high]) / 2
    return middle if middle < BOUNDLESS else BOUNDLESS


def ratio(over: float, under: float) -> float:
    """``over / under``, BOUNDLESS over nothing."""
    return over / under if under > 0 else BOUNDLESS
