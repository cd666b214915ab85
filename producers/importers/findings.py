"""What an import turned up besides events: what was refused and why, what was left out by rule, and whether to go
on."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

FIRST_KEPT: Final = 20
"""Refused lines kept with their sentence; the others are counted by reason."""
FOUND_CHARACTERS_MAX: Final = 60


class ImportStopped(ValueError):
    """The import ended without a result: says where, what was found, what was expected and what to do."""


class Where(NamedTuple):
    """A place in a source. line counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}: line {self.line}"


class Refused(NamedTuple):
    """A line that gave no event."""

    where: Where
    reason: str
    sentence: str


class BadLine(ValueError):
    """A line does not say what it must. reason: one word to count by; the message has found, expected, what to do."""

    def __init__(self, reason: str, found: object, expected: str, do: str = "correct the line or leave it out") -> None:
        super().__init__(f"found {_short(found)}; expected {expected}; {do}")
        self.reason = reason


@dataclass(slots=True)
class Findings:
    """Counts of one import. stop: the first refused line ends it (ImportStopped)."""

    stop: bool = False
    lines: int = 0
    """Lines, or FIX messages, read."""
    events: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first: list[Refused] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """What is no fault and gives no event, by rule (docs/import.md)."""
    notes: Counter[str] = field(default_factory=Counter)
    """What was made up or made to fit, by rule."""

    def refuse(self, where: Where, reason: str, sentence: str) -> None:
        """Count a refused line. ImportStopped when the first is to be the last."""
        if self.stop:
            raise ImportStopped(f"{where}: {reason}: {sentence} (without --stop-on-bad-line the import goes on)")
        self.refused[reason] += 1
        if len(self.first) < FIRST_KEPT:
            self.first.append(Refused(where, reason, sentence))

    def reset(self) -> None:
        """Begin to count anew."""
        self.lines = self.events = 0
        self.first.clear()
        for counter in (self.refused, self.left_out, self.notes):
            counter.clear()

    def document(self) -> dict[str, Any]:
        """The counts as plain JSON."""
        first = [
            {"file": r.where.file, "line": r.where.line, "reason": r.reason, "text": r.sentence} for r in self.first
        ]
        counts = {"refused": self.refused, "left_out": self.left_out, "notes": self.notes}
        tidy = {name: dict(sorted(counter.items())) for name, counter in counts.items()}
        return {"lines": self.lines, "events": self.events, **tidy, "refused_first": first}


def _short(found: object) -> str:
    text = ascii(found)
    return text if len(text) <= FOUND_CHARACTERS_MAX else text[: FOUND_CHARACTERS_MAX - 3] + "..."
