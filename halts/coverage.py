"""Which partitions of the order flow nobody reads: a desk that lives is no proof that somebody looks at every router.

A worker says several times a second which partitions it holds and gets on with (``Watch`` on ``verdicts``). Where
nobody has said so for ``unwatched_after_ms``, the desk's heartbeat names the partition, and the gates of the routers in
it close until somebody reads it again: a runaway that begins while a worker is dead must not run until the next one
takes over.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

from schemas.records import Watch

PARTITIONS_MAX: Final = 10_000
"""More than any topic of order flow has; a watch that says so is not believed."""


class Coverage(Struct, frozen=True):
    """``seen``: partition -> stamp (ns UTC) of the last watch that named it. ``since``: stamp of the first watch of all;
    before it nothing is known, and nothing is held against anybody."""

    partitions: int = 0
    since: int = 0
    seen: dict[int, int] = field(default_factory=dict)

    def taken(self, watch: Watch, ts: int) -> "Coverage":
        """After a worker's word, read at ``ts`` by the desk's clock (0: not known yet). Stamps of several workers may come
        in any order: the newest counts, and none beyond the desk's own time."""
        if not 0 < watch.partitions <= PARTITIONS_MAX:
            return self
        at = min(watch.ts, ts or watch.ts)
        held = {p: max(at, self.seen.get(p, 0)) for p in watch.held if 0 <= p < watch.partitions}
        return Coverage(watch.partitions, self.since or at, {**self.seen, **held})

    def unwatched(self, ts: int, after_ns: int) -> tuple[int, ...]:
        """Partitions of which nobody has spoken for ``after_ns`` at ``ts`` (ns UTC), in order. after_ns 0: never."""
        if not after_ns:
            return ()
        return tuple(p for p in range(self.partitions) if ts - self.seen.get(p, self.since) > after_ns)


def unwatched_text(partitions: Sequence[int]) -> str:
    """The same as a sentence; empty if all are watched."""
    if not partitions:
        return ""
    said = f"partition{'s' if len(partitions) > 1 else ''} {', '.join(map(str, partitions))} of orderflow"
    return f"no worker reads {said}: the gates of the routers there are closed until one does"
