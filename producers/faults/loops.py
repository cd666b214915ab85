"""Loops: flow that answers to itself.

- self-feeding: flash crash, 2010-05-06 (domain notes 2.6, row 9): 75,000 contracts sold at 9 % of the volume, without
  a bound on price or time, while others' and its own prints raised that volume; 27,000 changed hands in 14 s for a net
  of 200. Here the rate doubles every 8 s up to 300 orders/s.
- two-strategy-loop: TradeForecaster, 2015-01-20 (row 16): two systems that were not meant to run together feed each
  other. Rates not stated; from 5/s each, a fifth more every second, up to 200/s.
- reentry-after-cancel: Marquette, 2019-10-22 (row 17): ten-lots at limit-up before the open; what was cancelled by hand
  the live system entered again. Here 40 of them, each cancelled about every half second.
"""

from typing import Final

import numpy as np

from producers.arrivals import Arrivals
from producers.faults.culprit import children, liquid_symbols, own_parents, strategy, times, touch, want
from producers.tables import Style
from producers.world import RETAIL, World
from schemas.events import Side
from schemas.units import MS_NS, S_NS

SELF_START_PER_S: Final = 3.0
SELF_DOUBLES_S: Final = 8.0
SELF_MAX_PER_S: Final = 300.0
SELF_PARENT: Final = 75_000
LOOP_START_PER_S: Final = 5.0
LOOP_GROWTH: Final = 1.2
LOOP_MAX_PER_S: Final = 200.0
LOOP_PARENT: Final = 5_000
REENTRY_SLOTS: Final = 40
REENTRY_LIFE_MS: Final = (300, 700)
LIMIT_UP: Final = 1.095


class SelfFeeding:
    """One parent of 75,000, sold faster the more is sold."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset = rng, onset_ns

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw server and symbol."""
        self._world, rng = world, self._rng
        self._server, self._sym = int(rng.integers(world.n_servers)), liquid_symbols(rng, world, 1)
        self._strat, self._acct = strategy(world, "SELLALGO"), int(rng.integers(RETAIL))
        self._doubles = SELF_DOUBLES_S * rng.uniform(0.8, 1.2)
        self._row = np.zeros(0, np.int64)
        want(world, self._onset, server=self._server, strat=self._strat)
        world.truth.params.update(server=world.servers[self._server], strategy="SELLALGO")

    def block(self, start_ns: int, end_ns: int) -> None:
        """Sales of one block, within the parent."""
        world = self._world
        if end_ns <= self._onset:
            return
        if not len(self._row):
            self._row = own_parents(
                world, max(start_ns, self._onset), self._server, self._sym, Side.S, SELF_PARENT,
                strat=self._strat, acct=self._acct,
            )  # fmt: skip
        since_s = max(0, start_ns - self._onset) / S_NS
        rate = min(SELF_START_PER_S * 2.0 ** min(since_s / self._doubles, 60.0), SELF_MAX_PER_S)
        ts = times(self._rng, max(start_ns, self._onset) + MS_NS, end_ns, rate)
        left = int(SELF_PARENT - world.parents.committed[self._row[0]])
        qty = 10 * self._rng.integers(1, 6, len(ts))
        fits = np.cumsum(qty) <= left
        ts, qty = ts[fits], qty[fits]
        if len(ts):
            rows = np.repeat(self._row, len(ts))
            px = touch(world, world.parents.sym[rows], np.zeros(len(ts), np.bool_))
            world.send(children(world, rows, ts, qty, px))


class TwoStrategyLoop:
    """One strategy buys at the offer, the other sells at the bid, each because the other did."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset = rng, onset_ns

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw two servers (one, if there is no other) and a symbol."""
        self._world, rng = world, self._rng
        self._servers = [int(s) for s in rng.permutation(world.n_servers)[:2]]
        if len(self._servers) == 1:
            self._servers *= 2
        self._sym = liquid_symbols(rng, world, 1)
        self._strats = [strategy(world, name) for name in ("ATS-A", "ATS-B")]
        self._rows: list[int] = []
        for server, strat in zip(self._servers, self._strats, strict=True):
            want(world, self._onset, server=server, strat=strat)
        world.truth.params.update(servers=[world.servers[s] for s in self._servers])

    def block(self, start_ns: int, end_ns: int) -> None:
        """Both sides of one block."""
        world = self._world
        if end_ns <= self._onset:
            return
        since_s = max(0, start_ns - self._onset) / S_NS
        rate = min(LOOP_START_PER_S * LOOP_GROWTH ** min(since_s, 60.0), LOOP_MAX_PER_S)
        ts = times(self._rng, max(start_ns, self._onset) + MS_NS, end_ns, rate)
        if not self._rows or world.parents.committed[self._rows].max() + 10 * len(ts) > LOOP_PARENT:
            self._rows = self._parents(max(start_ns, self._onset))
        for row, delay in zip(self._rows, (0, 3 * MS_NS), strict=True):
            at = np.minimum(ts + delay, end_ns - 1)
            rows = np.full(len(ts), row)
            buy = world.parents.side[rows] == Side.B
            world.send(children(world, rows, at, 10, touch(world, world.parents.sym[rows], buy)))

    def _parents(self, ts: int) -> list[int]:
        """One for each side: a strategy asks for a few thousand shares at a time."""
        found: list[int] = []
        for server, strat, side in zip(self._servers, self._strats, (Side.B, Side.S), strict=True):
            acct = server % RETAIL
            rows = own_parents(self._world, ts, server, self._sym, side, LOOP_PARENT, strat=strat, acct=acct)
            found.append(int(rows[0]))
        return found


class ReentryAfterCancel:
    """Forty ten-lots at limit-up; whenever one is cancelled the same goes out again 5 ms later."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset = rng, onset_ns

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw server and symbol."""
        self._world, rng = world, self._rng
        self._server, self._sym = int(rng.integers(world.n_servers)), liquid_symbols(rng, world, 1)
        self._strat, self._acct = strategy(world, "SPREADER"), int(rng.integers(RETAIL))
        self._next = np.sort(self._onset + MS_NS + rng.integers(0, S_NS, REENTRY_SLOTS))
        self._rows = np.zeros(0, np.int64)
        want(world, self._onset, server=self._server, strat=self._strat)
        world.truth.params.update(server=world.servers[self._server], strategy="SPREADER")

    def block(self, start_ns: int, end_ns: int) -> None:
        """The entries that fall into the block."""
        world = self._world
        if end_ns <= self._onset:
            return
        if not len(self._rows):
            self._rows = own_parents(
                world, max(start_ns, self._onset), self._server, np.repeat(self._sym, REENTRY_SLOTS), Side.B, 10,
                strat=self._strat, acct=self._acct,
            )  # fmt: skip
            self._px = np.rint(world.ask9(self._sym)[0] * LIMIT_UP / 10_000_000).astype(np.int64) * 10_000_000
        due = np.flatnonzero(self._next < end_ns)
        if not len(due):
            return
        life = self._rng.integers(*REENTRY_LIFE_MS, len(due)) * MS_NS
        ts = np.maximum(self._next[due], start_ns)
        world.send(children(world, self._rows[due], ts, 10, self._px, style=Style.PARK, life_ns=life))
        self._next[due] = ts + life + 5 * MS_NS
