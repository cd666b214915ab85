"""What this worker reads, told to the desk: so that the gates of routers whom nobody watches close."""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

from schemas.records import Watch, encode
from schemas.topics import VERDICTS
from streams.outbox import Outbox

UNCONFIRMED_MAX: Final = 8
"""Watches on their way to a broker that does not answer; a further one would be old when it comes."""


def progress(positions: Mapping[int, int], before: Mapping[int, int], ends: Mapping[int, int]) -> tuple[int, ...]:
    """Partitions that are got on with: worked off to the end that is known, or further than ``before``.

    positions: first offset not processed; ends: end of the log, where it is known. A partition that lags and moves is
    watched (how far it lags is another rule's: ``silence_lag``); one that stands still before its end is not.

    >>> progress({0: 5, 1: 7, 2: 7}, {0: 5, 1: 6, 2: 7}, {0: 5, 1: 9, 2: 9})
    (0, 1)
    """
    return tuple(p for p, at in sorted(positions.items()) if at > before.get(p, -1) or at >= ends.get(p, at + 1))


class Watcher:
    """Says ``Watch`` when asked to. ``positions`` and ``ends`` by partition of the order flow; ``partitions``: how many
    it has, None while that is not known."""

    def __init__(
        self,
        outbox: Outbox,
        positions: Callable[[], Mapping[int, int]],
        ends: Callable[[], Mapping[int, int]],
        partitions: Callable[[], int | None],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._outbox = outbox
        self._positions, self._ends, self._partitions = positions, ends, partitions
        self._clock_ns = clock_ns
        self._name = socket.gethostname()
        self._before: dict[int, int] = {}

    async def tell(self) -> None:
        """Say what is read now. Says nothing where nothing is held, and while the broker does not answer."""
        positions, count = dict(self._positions()), self._partitions()
        before, self._before = self._before, positions
        if not positions or count is None or len(self._outbox.unconfirmed()) >= UNCONFIRMED_MAX:
            return
        held = progress(positions, before, self._ends())
        await self._outbox.send(VERDICTS, "", encode(Watch(self._name, self._clock_ns(), count, held)))
