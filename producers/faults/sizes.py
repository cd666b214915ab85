"""Sizes out of all proportion.

- fat-finger-parent: Citi, 2022-05-02 (domain notes 2.6, row 8): USD 58 m meant, a basket of 444 bn entered, 349 stocks;
  USD 189 bn reached the algorithm, 1.4 bn was sold in about 10 min. Sliced, each child looks as always.
- qty-price-swap: Mizuho, J-Com, 2005-12-08 (row 10): 610,000 shares at JPY 1 instead of one at 610,000, 42 times the
  shares outstanding; three cancels were not answered.
"""

from typing import Final

import numpy as np

from producers.arrivals import Arrivals
from producers.faults.culprit import liquid_symbols, one_server, own_parents, want
from producers.tables import Flag, records
from producers.world import RETAIL, World
from schemas.events import Kind, Side
from schemas.units import MS_NS, PRICE9, S_NS

FAT_FACTOR: Final = 444_000 / 58
"""Entered over meant."""
FAT_PARENT: Final = 150
"""A usual parent, shares."""
SWAP_QTY: Final = 610_000
SWAP_FILL_QTY: Final = 500


class FatFingerParent:
    """A basket over all symbols, each parent 7,655 times the usual; sliced by the healthy router."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset, self._entered = rng, onset_ns, False

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw server and account."""
        self._world = world
        self._server, self._acct = int(self._rng.integers(world.n_servers)), int(self._rng.integers(RETAIL))
        want(world, self._onset, server=self._server, acct=self._acct)
        world.truth.params.update(server=world.servers[self._server], account=world.accounts[self._acct])

    def block(self, start_ns: int, end_ns: int) -> None:
        """Enter the basket, once."""
        if self._entered or end_ns <= self._onset:
            return
        self._entered = True
        world, rng, n = self._world, self._rng, self._world.n_symbols
        ts = max(start_ns, self._onset)
        qty = np.rint(FAT_PARENT * FAT_FACTOR * rng.lognormal(0.0, 0.5, n)).astype(np.int64)
        own_parents(
            world, ts, self._server, np.arange(n), Side.S, qty, strat=0, acct=self._acct, bad=True, managed=True,
            clip=np.maximum(1, np.rint(300 * world.universe.weight * n)), interval_ns=300 * MS_NS,
            next_ts=ts + rng.integers(MS_NS, S_NS, n), aggressive=0.6,
        )  # fmt: skip


class QtyPriceSwap:
    """One child of 610,000 at USD 1 for a parent of one share; three cancels that the venue does not answer."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset, self._sent = rng, onset_ns, False

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw server and symbol."""
        self._world = world
        self._server = one_server(self._rng, world, self._onset)

    def block(self, start_ns: int, end_ns: int) -> None:
        """The order and everything that comes of it, once: fills of 500 shares, 25 a second, as the bid comes back."""
        if self._sent or end_ns <= self._onset:
            return
        self._sent = True
        world, rng = self._world, self._rng
        ts, sym = max(start_ns, self._onset), liquid_symbols(rng, world, 1)
        row = own_parents(world, ts, self._server, sym, Side.S, 1, strat=0, acct=int(rng.integers(RETAIL)))[0]
        n = SWAP_QTY // SWAP_FILL_QTY
        out = records(n + 5)
        for name in ("sym", "server", "side", "strat", "acct"):
            out[name] = getattr(world.parents, name)[row]
        out["parent"], out["flags"], out["sent"] = row, Flag.BAD, ts + MS_NS
        out["order"] = out["cl"] = world.take_orders(1)[0]
        out["kind"] = [Kind.order, Kind.ack, *[Kind.cancel] * 3, *[Kind.fill] * n]
        fills = out[5:]
        out["ts"][:2] = ts + MS_NS, ts + 2 * MS_NS
        out["ts"][2:5] = ts + np.array([4, 7, 12]) * S_NS
        fills["ts"] = ts + 3 * MS_NS + np.arange(n) * (40 * MS_NS) + rng.integers(0, 20 * MS_NS, n)
        out["qty"][:2], fills["qty"] = SWAP_QTY, SWAP_FILL_QTY
        out["px"][:2] = PRICE9
        slide = np.maximum(0.3, 1.0 - np.arange(n) * 0.0005)
        fills["px"] = np.maximum(np.rint(world.bid9(sym)[0] * slide / 10_000_000), 1) * 10_000_000
        fills["leaves"] = SWAP_QTY - np.arange(n) * SWAP_FILL_QTY
        fills["exec"] = world.take_execs(n)
        out["orig"][2:5] = out["order"][0]
        out["cl"][2:5] = world.take_orders(3)
        world.calendar.add(out)
