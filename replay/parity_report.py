"""What a comparison of live and replay found."""

from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct


class Difference(Struct, frozen=True):
    """The first place at which live and replay part. ``live`` and ``replay``: the record on either side, None where
    there is none. ``event``: what caused it: the order event, or the desk's input."""

    topic: str
    partition: int
    offset: int
    """On ``topic``; -1 where nothing stands live."""
    live: Any
    replay: Any
    event: dict[str, Any] | None
    text: str


@dataclass
class Part:
    """The comparison of one partition of ``orderflow``, or of one topic of one desk generation."""

    name: str
    compared: int = 0
    repeats: int = 0
    """Records said again after a crash, the same bytes."""
    tail: int = 0
    """Records at the end that one side does not have yet (or whose order of inputs was not written down yet)."""
    missing: int = 0
    """Outputs of the last recorded inputs that the recording ends before: made by the replay alone."""
    difference: Difference | None = None


@dataclass
class Parity:
    """The whole comparison."""

    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Nothing differs, and something was compared."""
        return any(p.compared for p in self.parts) and not any(p.difference for p in self.parts)
