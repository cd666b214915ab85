"""Which offsets may be committed: those whose effects are durable, and nothing else.

Faust commits what its streams have acknowledged, which says "handled", not "stored"; its bookkeeping moreover steps
over a message still in work (faust #606) and forgets a commit that failed (#316). For batched topics the agents say
themselves from where on reading must start again, after the snapshot that covers everything before it was stored.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Safe(NamedTuple):
    """``offset``: first one whose effects may not be durable. ``note``: kept beside it on the broker (4 KiB)."""

    offset: int
    note: str = ""


class SafeOffsets:
    """Per partition what may be committed and what the broker has confirmed. Pure; keys are (topic, partition)."""

    def __init__(self) -> None:
        self._safe: dict[tuple[str, int], Safe] = {}
        self._confirmed: dict[tuple[str, int], Safe] = {}

    def mark(self, tp: tuple[str, int], offset: int, note: str = "") -> None:
        """Everything before ``offset`` is durable. An older mark than the newest is ignored."""
        held = self._safe.get(tp)
        if held is None or offset >= held.offset:
            self._safe[tp] = Safe(offset, note)

    def due(self, topics: Iterable[object] | None = None) -> dict[tuple[str, int], Safe]:
        """What to commit now, for all partitions or those named (as topics or as partitions)."""
        wanted = None if topics is None else set(topics)
        return {
            tp: safe
            for tp, safe in self._safe.items()
            if safe != self._confirmed.get(tp) and (wanted is None or tp in wanted or tp[0] in wanted)
        }

    def confirm(self, committed: Mapping[tuple[str, int], Safe]) -> None:
        """The broker has taken these."""
        self._confirmed.update(committed)

    def forget(self, tps: Iterable[tuple[str, int]]) -> None:
        """These partitions are somebody else's now."""
        for tp in tps:
            self._safe.pop(tp, None)
            self._confirmed.pop(tp, None)

    def confirmed(self, tp: tuple[str, int]) -> int | None:
        """Offset that the broker has confirmed since the partition was assigned."""
        safe = self._confirmed.get(tp)
        return safe.offset if safe else None
