"""When an engine's state is stored, and what may be committed once it is."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from streams.outbox import confirmed
from streams.snapshot_form import Snapshot
from streams.snapshots import SnapshotWriter, Stored

SHARE_MAX: Final = 0.004
"""Share of the event loop that taking snapshots of one engine may cost; dear ones are taken less often. A worker may
hold eight engines and the desk, and at 1 % each they took 8 % of a worker that had 10 thousand events a second."""
BYTES_PER_S_MAX: Final = 2_000_000
"""The same for what they put on the broker."""


class Keeper:
    """Stores the snapshots of one engine in the background and says which inputs they make safe.

    Order of things: the state is taken between two steps; what was sent before is confirmed; the state is confirmed;
    then the inputs before its positions are safe to commit. A crash in between reads inputs again, never skips any.
    ``on_safe(positions, note)`` gets the positions and the note for the commit. ``kept``: positions of the snapshot
    that the engine was restored from. ``first_s``: when the first one is due, that of ``interval_s`` if None: engines
    that begin together should not stop the loop together ever after.
    """

    def __init__(
        self,
        writer: SnapshotWriter,
        on_safe: Callable[[Mapping[tuple[str, int], int], str], None],
        on_stored: Callable[[Stored], None] = lambda _: None,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        kept: Mapping[tuple[str, int], int] | None = None,
        first_s: float | None = None,
    ) -> None:
        self._writer = writer
        self._on_safe = on_safe
        self._on_stored = on_stored
        self._interval_s = interval_s
        self._clock = clock
        self._next_at = clock() + (interval_s if first_s is None else first_s)
        self._task: asyncio.Task[None] | None = None
        self._kept: dict[tuple[str, int], int] = dict(kept or {})

    def due(self, positions: Mapping[tuple[str, int], int]) -> bool:
        """Whether to take a snapshot now. Raises what the one before failed with."""
        if self._task is not None and self._task.done():
            self._task.result()
            self._task = None
        return self._task is None and self._clock() >= self._next_at and dict(positions) != self._kept

    def begin(self, take: Callable[[], Snapshot], sent: Sequence[asyncio.Future[Any]]) -> None:
        """Take the state now, store it in the background. ``sent``: what was sent because of the inputs before it."""
        began = self._clock()
        snapshot = take()
        cost = self._clock() - began
        self._task = asyncio.create_task(self._store(snapshot, sent, began, cost))

    async def finish(self, take: Callable[[], Snapshot], sent: Sequence[asyncio.Future[Any]]) -> None:
        """The last snapshot before the engine is given away: returns when it is stored."""
        if self._task is not None:
            await self._task
        snapshot = take()
        if snapshot.positions != self._kept:
            await self._store(snapshot, sent, self._clock(), 0.0)

    async def _store(self, snapshot: Snapshot, sent: Sequence[asyncio.Future[Any]], began: float, cost: float) -> None:
        await confirmed(sent)
        stored = await self._writer.store(snapshot)
        self._next_at = began + max(self._interval_s, cost / SHARE_MAX, stored.bytes / BYTES_PER_S_MAX)
        self._kept = dict(snapshot.positions)
        self._on_safe(snapshot.positions, str(stored.hint))
        self._on_stored(stored)
