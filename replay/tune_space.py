"""What ``tune`` may change, and how far."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from halts.config import Config, keys

FACTOR: Final = 4.0
"""A parameter is searched from its value divided by this to its value times this, on a logarithmic scale."""
DIGITS: Final = 3
"""Significant digits of a value tried: more would promise a precision that no evidence has."""
POLICY: Final = ("desk.combine_window_ms", "desk.confirm_ms")
"""Settings of the desk that are searched; the others are operations, or a person's decision."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting and its range (both ends included)."""

    key: str
    low: float
    high: float
    whole: bool

    def suggest(self, trial: Any) -> int | float:
        """A value from an optuna trial, to ``DIGITS`` significant digits."""
        if self.whole:
            return int(trial.suggest_int(self.key, int(self.low), int(self.high), log=True))
        value = trial.suggest_float(self.key, self.low, self.high, log=True)
        return float(f"{value:.{DIGITS}g}")


def space(config: Config, only: Sequence[str] = ()) -> list[Parameter]:
    """Every positive number of a detector (``stage1.<detector>.<name>``), and the policy's windows.

    only: patterns as ``stage1.rate.*``; ValueError if one matches nothing.
    """
    found = [p for key, value in keys(config).items() if (p := _parameter(key, value)) is not None]
    for pattern in only:
        if not any(fnmatchcase(p.key, pattern) for p in found):
            known = ", ".join(p.key for p in found)
            raise ValueError(f"--only {pattern!r} matches no parameter; found {known}")
    return [p for p in found if not only or any(fnmatchcase(p.key, pattern) for pattern in only)]


def _parameter(key: str, value: Any) -> Parameter | None:
    of_detector = key.startswith("stage1.") and key.count(".") == 2
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if not is_number or not (of_detector or key in POLICY):
        return None
    if isinstance(value, int):
        return Parameter(key, max(1, round(value / FACTOR)), max(2, round(value * FACTOR)), True)
    return Parameter(key, value / FACTOR, value * FACTOR, False)
