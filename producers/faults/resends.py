"""Orders for parents that are done: a replay of what was filled, and a slow leak.

- resend-filled: Citadel on CME, 2013-06-03 (domain notes 2.6, row 2): for about a minute orders that had already been
  filled were sent again. Rate not stated; here about 150/s. A tenth go out under their old ids and are refused by the
  venue as duplicates.
- slow-leak: one child more than there should be every few seconds, from one server. No source: the smallest runaway
  that a conservation law has to see.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from producers.arrivals import Arrivals
from producers.faults.culprit import children, one_server, times, touch
from producers.tables import Style
from producers.world import World
from schemas.events import Side
from schemas.units import S_NS

RESEND_PER_S: Final = 150.0
RESEND_S: Final = 60.0
LEAK_PER_S: Final = 0.5


class Resend:
    """From ``onset_ns`` on, for ``seconds`` (0: to the end), children for parents of one server that are filled."""

    def __init__(self, rng: np.random.Generator, onset_ns: int, per_s: float, seconds: float) -> None:
        self._rng, self._onset = rng, onset_ns
        self._rate = per_s * rng.uniform(0.8, 1.2)
        self._end = onset_ns + int(seconds * S_NS) if seconds else np.iinfo(np.int64).max

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw the server."""
        self._world = world
        self._server = one_server(self._rng, world, self._onset, orders_per_s=round(self._rate, 2))

    def _full(self) -> NDArray[np.int64]:
        parents, n = self._world.parents, self._world.parents.n
        done = parents.done[:n] & (parents.filled[:n] >= parents.qty[:n]) & (parents.server[:n] == self._server)
        return np.flatnonzero(done)

    def block(self, start_ns: int, end_ns: int) -> None:
        """Send some of them again."""
        if end_ns <= self._onset or start_ns >= self._end:
            return
        ts = times(self._rng, max(start_ns, self._onset), min(end_ns, self._end), self._rate)
        full = self._full() if len(ts) else ts
        if not len(full):
            return
        world = self._world
        rows = self._rng.choice(full, len(ts))
        sym, buy = world.parents.sym[rows], world.parents.side[rows] == Side.B
        style = np.where(self._rng.random(len(ts)) < 0.1, Style.REJECT, Style.IOC)
        world.send(children(world, rows, ts, world.parents.clip[rows], touch(world, sym, buy), style=style))
