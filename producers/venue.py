"""What the venues answer: acks, fills, partial fills, cancels, rejects and expiries of the children sent in a block.

Marketable children are matched against the ladder (``market.sweep``). Resting ones draw an outcome and a life time; a
fill of theirs still needs the market to be there when its time comes (``simulation``), else the order expires. What is
drawn is drawn here; the records are written by the loops of ``answers``.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers import answers
from producers.market import SWEEP_LEVELS
from producers.tables import as_words
from producers.world import VENUES, World
from schemas.units import US_NS

OUTCOMES: Final = (("fill", 0.50), ("part", 0.12), ("cancel", 0.20), ("replace", 0.12), ("expire", 0.06))
"""What becomes of a resting child, with its share."""
_EDGES: Final = np.cumsum([share for _, share in OUTCOMES])
LIFE_MEDIAN_S: Final = 0.8
LIFE_SIGMA: Final = 1.1
_LOG_LIFE: Final = float(np.log(LIFE_MEDIAN_S))


class Venues:
    """Answers children; draws from ``world.rng_venue``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng_venue

    def respond(self, children: NDArray[Any]) -> None:
        """Put everything that will happen to ``children`` (CHILD, in any order; served by ts) on the calendar."""
        n = len(children)
        if not n:
            return
        world, rng = self._world, self._rng
        self._children, self._by_ts = children, children["ts"].argsort(kind="stable")
        self._recs = world.calendar.room(answers.ROWS_MAX * n)
        self._words = as_words(self._recs)
        self._there = np.empty(n, np.int64)
        groups, sizes = np.empty((3, n), np.int64), np.zeros(3, np.int64)
        venue, way, refuse = rng.integers(0, len(VENUES), n), rng.standard_exponential(n), rng.random(n)
        self._at = answers.send(
            children, self._by_ts, self._recs, self._words, world.count_orders(n), venue, way, refuse,
            world.reject_share, world.reject_bad, self._there, groups, sizes,
        )  # fmt: skip
        for group, size, serve in zip(groups, sizes.tolist(), (self._match, self._rest, self._park), strict=True):
            if size:
                serve(group[:size])
        world.calendar.wrote(self._at)

    def _match(self, rows: NDArray[np.int64]) -> None:
        """Marketable children: executions against the ladder, the rest cancelled at once."""
        market, n = self._world.market, len(rows)
        room, pieces = np.empty((4, n), np.int64), np.empty((3, SWEEP_LEVELS * n), np.int64)
        answers.books(self._recs, rows, market.universe.depth, room)
        start = self._at
        end, self._at = answers.match(
            self._recs, self._words, start, rows, self._there, room, room[0].argsort(kind="stable"), pieces,
            market.bid, market.ask,
        )  # fmt: skip
        done = end - start
        answers.number(self._recs, start, self._rng.integers(0, 10 * US_NS, done), self._world.count_execs(done))

    def _rest(self, rows: NDArray[np.int64]) -> None:
        """Resting children: each draws its outcome and its life."""
        world, rng, n = self._world, self._rng, len(rows)
        fate, counts = np.empty((3, n), np.int64), np.zeros(6, np.int64)
        answers.outcomes(
            self._recs, _EDGES, rows, self._children, self._by_ts, rng.random(n), rng.lognormal(_LOG_LIFE, LIFE_SIGMA, n),
            rng.random(n), rng.random(n), fate, counts,
        )  # fmt: skip
        filled, halves, pulled, amended, _, some = counts.tolist()
        orders = world.count_orders(halves + pulled + amended)
        execs = world.count_execs(some + filled + amended)
        self._at = answers.rest(
            self._recs, self._words, self._at, rows, self._there, fate, counts,
            rng.standard_exponential(halves + pulled + amended), orders, execs, world.market.bid, world.market.ask,
        )  # fmt: skip

    def _park(self, rows: NDArray[np.int64]) -> None:
        """Parked children: cancelled at the end of their lives."""
        way = self._rng.standard_exponential(len(rows))
        self._at = answers.park(
            self._recs, self._words, self._at, rows, self._there, self._children, self._by_ts, way,
            self._world.count_orders(len(rows)),
        )  # fmt: skip
