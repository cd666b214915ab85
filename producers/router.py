"""The healthy router: takes parents, slices them into children within what is left of each, and closes them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers import slicing
from producers.market import TICK9
from producers.tables import CHILD, Flag, records
from producers.world import World
from schemas.events import Kind
from schemas.units import MS_NS, US_NS


class Slicer:
    """Slices managed parents, at most one child a block: ten a second. Invariant: filled + working <= quantity of the
    parent, at any time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng_slicer
        self._live = np.zeros(1_024, np.int64)
        self._n = 0
        self._seen = 0

    def step(self, start_ns: int, end_ns: int) -> None:
        """Close what is finished and send what is due before ``end_ns``."""
        world = self._world
        parents, calendar = world.parents, world.calendar
        most = self._n + parents.n - self._seen
        if not most:
            return
        if most > len(self._live):
            self._live = np.concatenate([self._live, np.zeros(most, np.int64)])
        due = np.empty((2, most), np.int64)
        self._n, closed, sending = slicing.look(
            parents.table, self._seen, parents.n, self._live, self._n, start_ns, end_ns, world.paused, world.halted,
            calendar.room(most), due,
        )  # fmt: skip
        self._seen = parents.n
        calendar.wrote(closed)
        if sending:
            self._send(due[:, :sending], start_ns, end_ns)

    def _send(self, due: NDArray[np.int64], start_ns: int, end_ns: int) -> None:
        """due: (2, n) rows of parents, and what is left of each."""
        world, rng, n = self._world, self._rng, len(due[0])
        out = np.empty(n, CHILD)
        slicing.send(
            world.parents.table, due, start_ns, end_ns, world.market.bid, world.market.ask,
            rng.integers(50 * US_NS, MS_NS, n), rng.uniform(0.6, 1.4, n), rng.random(n), rng.random(n),
            rng.standard_exponential(n), out,
        )  # fmt: skip
        world.send(out)


def parent_records(world: World, rows: NDArray[np.int64], kind: Kind, ts: NDArray[np.int64] | int) -> NDArray[Any]:
    """``parent`` or ``parent_done`` records for rows of ``world.parents``."""
    parents = world.parents
    out = records(len(rows))
    out["ts"] = ts
    out["kind"] = kind
    out["parent"] = rows
    out["flags"] = np.where(parents.bad[rows], Flag.BAD, 0)
    out["qty"] = parents.qty[rows] if kind == Kind.parent else parents.filled[rows]
    for name in ("sym", "server", "side", "strat", "acct"):
        out[name] = getattr(parents, name)[rows]
    return out


def limit_price(
    world: World, sym: NDArray[Any], buy: NDArray[np.bool_], rests: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Limit in 1e-9: resting at the own side of the quote (or a tick inside it), else two ticks through the other."""
    bid, ask = world.market.bid[sym], world.market.ask[sym]
    improve = inside & (ask - bid > 1)
    passive = np.where(buy, bid + improve, ask - improve)
    active = np.where(buy, ask + 2, bid - 2)
    ticks: NDArray[np.int64] = np.maximum(np.where(rests, passive, active), 1) * TICK9
    return ticks
