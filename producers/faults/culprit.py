"""What the faults have in common: parents of their own, children, times, and a strategy's number."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.router import parent_records
from producers.tables import CHILD, Flag, Style
from producers.world import World
from schemas.events import Kind, Side
from schemas.scopes import scope
from schemas.units import S_NS

FOREVER: int = np.iinfo(np.int64).max


def strategy(world: World, name: str) -> int:
    """Number of a strategy, which is made known if it is new."""
    if name not in world.strategies:
        world.strategies.append(name)
    return world.strategies.index(name)


def times(rng: np.random.Generator, start_ns: int, end_ns: int, rate_per_s: float) -> NDArray[np.int64]:
    """Poisson times in [start_ns, end_ns), ascending."""
    if end_ns <= start_ns or rate_per_s <= 0:
        return np.zeros(0, np.int64)
    n = int(rng.poisson(rate_per_s * (end_ns - start_ns) / S_NS))
    return np.sort(rng.integers(start_ns, end_ns, n))


def liquid_symbols(rng: np.random.Generator, world: World, n: int) -> NDArray[np.int64]:
    """``n`` different symbols of the busier half."""
    busy = np.argsort(-world.universe.weight)[: max(n, world.n_symbols // 2)]
    return rng.permutation(busy)[:n]


def one_server(rng: np.random.Generator, world: World, onset_ns: int, **params: Any) -> int:
    """Draws the server of a fault, notes that its scope ought to be halted from ``onset_ns`` on, and what was drawn."""
    server = int(rng.integers(world.n_servers))
    want(world, onset_ns, server=server)
    world.truth.params.update(server=world.servers[server], **params)
    return server


def own_parents(
    world: World, ts: int, server: int, sym: NDArray[Any], side: NDArray[Any] | int, qty: NDArray[Any] | int,
    *, strat: int, acct: int, bad: bool = False, **columns: Any,
) -> NDArray[np.int64]:  # fmt: skip
    """Parents of a fault, accepted at ``ts`` (ns); not sliced by the healthy router unless ``managed``. Rows."""
    given = {"clip": 1, "deadline": FOREVER, "managed": False, **columns}
    rows = world.parents.append(
        len(sym), ts=ts, sym=sym, server=server, side=side, qty=qty, strat=strat, acct=acct, bad=bad, **given
    )
    world.calendar.add(parent_records(world, rows, Kind.parent, ts))
    return rows


def children(
    world: World, rows: NDArray[np.int64], ts: NDArray[np.int64], qty: NDArray[np.int64] | int, px: Any, *,
    style: NDArray[Any] | int = Style.IOC, bad: bool = True, life_ns: NDArray[np.int64] | int = 0, free: bool = False,
) -> NDArray[Any]:  # fmt: skip
    """(n,) CHILD of parents ``rows``; what they commit is booked. free: not asked at the gate."""
    parents = world.parents
    out = np.zeros(len(rows), CHILD)
    out["ts"], out["qty"], out["px"], out["parent"] = ts, qty, px, rows
    out["style"], out["life_ns"] = style, life_ns
    out["flags"] = (Flag.BAD if bad else 0) | (Flag.FREE if free else 0)
    for name in ("sym", "server", "side", "strat", "acct"):
        out[name] = getattr(parents, name)[rows]
    np.add.at(parents.committed, rows, out["qty"])
    return out


def touch(world: World, sym: NDArray[Any], buy: NDArray[np.bool_], through: int = 2) -> NDArray[np.int64]:
    """(n,) marketable limit in 1e-9: ``through`` ticks beyond the other side of the quote."""
    market = world.market
    tick = world.ask9(sym) // market.ask[sym]
    limit: NDArray[np.int64] = np.where(buy, market.ask[sym] + through, np.maximum(market.bid[sym] - through, 1)) * tick
    return limit


def want(
    world: World, ts: int, *, server: int | None = None, strat: int | None = None, acct: int | None = None
) -> None:
    """These scopes are right to halt from ``ts`` on."""
    if server is not None:
        world.truth.want(scope("server", world.servers[server]), ts)
    if strat is not None:
        world.truth.want(scope("strategy", world.strategies[strat]), ts)
    if acct is not None:
        world.truth.want(scope("account", world.accounts[acct]), ts)


def sell_side(rng: np.random.Generator) -> int:
    """A sale, long or short."""
    return int(Side.SS if rng.random() < 0.3 else Side.S)
