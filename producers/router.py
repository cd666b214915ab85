"""The healthy router: takes parents, slices them into children within what is left of each, and closes them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.market import TICK9
from producers.tables import CHILD, Flag, Style, records
from producers.world import World
from schemas.events import Kind, Side
from schemas.units import MS_NS, US_NS


class Slicer:
    """Slices managed parents, at most one child a block: ten a second. Invariant: filled + working <= quantity of the
    parent, at any time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng_slicer
        self._live = np.zeros(0, np.int64)
        self._seen = 0

    def step(self, start_ns: int, end_ns: int) -> None:
        """Close what is finished and send what is due before ``end_ns``."""
        parents = self._world.parents
        if parents.n > self._seen:
            fresh = np.arange(self._seen, parents.n)
            self._live = np.concatenate([self._live, fresh[parents.managed[self._seen : parents.n]]])
            self._seen = parents.n
        live = self._live
        if not len(live):
            return
        filled, committed, qty = parents.filled[live], parents.committed[live], parents.qty[live]
        finished = (filled >= qty) | ((parents.deadline[live] < start_ns) & (committed == filled))
        if finished.any():
            self._close(live[finished], start_ns)
            keep = ~finished
            live, committed, qty = live[keep], committed[keep], qty[keep]
            self._live = live
        due = (parents.next_ts[live] < end_ns) & (committed < qty) & (parents.deadline[live] >= start_ns)
        due &= ~self._world.paused[parents.server[live]] & ~self._world.halted[parents.sym[live]]
        rows = live[due]
        if len(rows):
            self._send(rows, qty[due] - committed[due], start_ns, end_ns)

    def _send(self, rows: NDArray[np.int64], left: NDArray[np.int64], start_ns: int, end_ns: int) -> None:
        parents, rng, n = self._world.parents, self._rng, len(rows)
        out = np.zeros(n, CHILD)
        ts = np.maximum(parents.next_ts[rows], start_ns) + rng.integers(50 * US_NS, MS_NS, n)
        out["ts"] = np.minimum(ts, end_ns - 1)
        out["qty"] = np.minimum(np.maximum(1, np.rint(parents.clip[rows] * rng.uniform(0.6, 1.4, n))), left)
        out["parent"] = rows
        for name in ("sym", "server", "side", "strat", "acct"):
            out[name] = getattr(parents, name)[rows]
        rests = rng.random(n) >= parents.aggressive[rows]
        out["style"] = np.where(rests, Style.REST, Style.IOC)
        inside = rests & (rng.random(n) < 0.3)
        out["px"] = limit_price(self._world, out["sym"], out["side"] == Side.B, rests, inside)
        out["flags"] = np.where(parents.bad[rows], Flag.BAD, 0)
        parents.committed[rows] += out["qty"]
        wait = rng.standard_exponential(n) * parents.interval_ns[rows]
        parents.next_ts[rows] = out["ts"] + wait.astype(np.int64)
        self._world.send(out)

    def _close(self, rows: NDArray[np.int64], ts: int) -> None:
        self._world.parents.done[rows] = True
        self._world.calendar.add(parent_records(self._world, rows, Kind.parent_done, ts))


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
