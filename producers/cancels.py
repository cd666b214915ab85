"""Cancel-all: which orders are working, their cancels, and orders of which nothing more may happen."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers.ids import IdFormat
from producers.tables import Flag, join
from producers.world import World
from schemas.events import Kind
from schemas.scopes import FIRM, parse
from schemas.units import US_NS

_TAKES_OUT: Final = np.isin(np.arange(256), [Kind.fill, Kind.canceled, Kind.rejected, Kind.expired])
REQUESTS_MAX: Final = 10_000
IN_FLIGHT_NS: Final = 1_000 * US_NS
"""An order that ends within this time is left to end by itself."""


def _out(pending: NDArray[Any], now_ns: int) -> NDArray[Any]:
    """What will take shares out of orders that are out at ``now_ns``."""
    out: NDArray[Any] = pending[_TAKES_OUT[pending["kind"]] & (pending["sent"] < now_ns) & (pending["order"] >= 0)]
    return out


def _known_as(orders: NDArray[np.int64], ends: NDArray[Any], pending: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) number of the cl_ord_id under which the venue knows each of ``orders`` now: that which its next replace will
    amend, or else that of its ending (``ends``, one REC an order)."""
    name = np.where((ends["kind"] == Kind.canceled) & (ends["orig"] >= 0), ends["orig"], ends["cl"])
    amends = pending[(pending["kind"] == Kind.replace) & np.isin(pending["order"], orders)]
    if len(amends):
        amends = amends[np.argsort(amends["ts"], kind="stable")]
        amended, first = np.unique(amends["order"], return_index=True)
        name[np.searchsorted(orders, amended)] = amends["orig"][first]
    return name.astype(np.int64)


class CancelDesk:
    """Serves cancel-all requests from what waits on the calendar: an order that is out and whose end is to come works.

    dead: numbers of orders that were blocked or ended early; nothing of theirs is emitted.
    """

    def __init__(self, world: World, ids: IdFormat) -> None:
        self._world = world
        self._ids = ids
        self._dead = np.zeros(1 << 16, np.bool_)
        self.any_dead = False
        self.requests: list[tuple[str, str]] = []
        """Cancel-alls of which something may still be working."""

    def bury(self, orders: NDArray[np.int64]) -> None:
        """Nothing more of these orders (numbers) is emitted."""
        if not len(orders):
            return
        self.dead()[orders] = True
        self.any_dead = True

    def dead(self) -> NDArray[np.bool_]:
        """By number of order, of all that have been sent: is it buried? To be written into."""
        if self._world.orders > len(self._dead):
            grown = np.zeros(2 * self._world.orders, np.bool_)
            grown[: len(self._dead)] = self._dead
            self._dead = grown
        return self._dead

    def dead_mask(self, recs: NDArray[Any]) -> NDArray[np.bool_]:
        """(n,) records of dead orders."""
        order = recs["order"]
        known = (order >= 0) & (order < len(self._dead))
        mask: NDArray[np.bool_] = self._dead[np.where(known, order, 0)] & known
        return mask

    def _pending(self, *parts: NDArray[Any]) -> NDArray[Any]:
        """What is still to come of living orders: ``parts`` and the calendar."""
        pending = join([*parts, self._world.calendar.pending()])
        return pending[~self.dead_mask(pending)] if self.any_dead else pending

    def _covered(self, recs: NDArray[Any], server: str, scope: str) -> NDArray[np.bool_]:
        world = self._world
        kind, name = parse(scope)
        mask = np.ones(len(recs), np.bool_)
        if server:
            mask &= recs["server"] == world.servers.index(server)
        if kind == FIRM:
            return mask
        if kind == "symbol":
            found = np.flatnonzero(world.universe.symbols == name.encode())
            return mask & np.isin(recs["sym"], found)
        column, names = {
            "server": ("server", list(world.servers)),
            "strategy": ("strat", world.strategies),
            "account": ("acct", world.accounts),
        }[kind]
        mask &= recs[column] == (names.index(name) if name in names else 255)
        return mask

    def request(self, server: str, scope: str, rest: NDArray[Any], now_ns: int, block_end_ns: int) -> NDArray[Any]:
        """Cancel the working orders of ``scope`` (of ``server``; empty: all). Returns ``rest``, which is what waits up
        to the end of the block, without their old future and with their cancels."""
        if (server, scope) not in self.requests and len(self.requests) < REQUESTS_MAX:
            self.requests.append((server, scope))
        pending = self._pending(rest)
        out = _out(pending, now_ns)
        out = out[self._covered(out, server, scope)]
        asked = pending["order"][(pending["kind"] == Kind.cancel) & (pending["order"] >= 0)]
        under_way = (out["kind"] == Kind.canceled) & ~np.isin(out["order"], asked)
        under_way |= out["ts"] < now_ns + IN_FLIGHT_NS
        out = out[~np.isin(out["order"], out["order"][under_way])]
        return self._cancel(out, pending, rest, now_ns, block_end_ns)

    def pull(self, held: NDArray[Any], rest: NDArray[Any], now_ns: int, block_end_ns: int) -> NDArray[Any]:
        """Cancel the orders of ``held``: records from a blocked replace on, which are not to happen."""
        pending = self._pending(held, rest)
        out = _out(pending, now_ns)
        return self._cancel(out[np.isin(out["order"], held["order"])], pending, rest, now_ns, block_end_ns)

    def _cancel(
        self, out: NDArray[Any], pending: NDArray[Any], rest: NDArray[Any], now_ns: int, block_end_ns: int
    ) -> NDArray[Any]:
        """Cancel the orders of which ``out`` is the future, instead of that future."""
        if not len(out):
            return rest
        orders, first, inverse = np.unique(out["order"], return_index=True, return_inverse=True)
        asks = out[first].copy()
        asks["orig"] = _known_as(orders, asks, pending)
        asks["kind"], asks["exec"], asks["px"], asks["qty"] = Kind.cancel, -1, 0, 0
        asks["cl"] = self._world.take_orders(len(asks))
        asks["order"] = -1
        asks["flags"] &= ~np.uint8(Flag.PASSIVE)
        asks["ts"] = now_ns + np.arange(len(asks)) * US_NS % (500 * US_NS)
        gone = asks.copy()
        gone["kind"], gone["order"] = Kind.canceled, -2 - orders
        gone["qty"] = gone["leaves"] = np.bincount(inverse, out["qty"]).astype(np.int64)
        gone["ts"] += 300 * US_NS + (orders % 97) * US_NS
        self.bury(orders)
        self._world.calendar.add(join([asks, gone]))
        merged = join([rest[~self.dead_mask(rest)], self._world.calendar.take(block_end_ns)])
        return merged[np.argsort(merged["ts"], kind="stable")]

    def count_by_server(self, rest: NDArray[Any], now_ns: int) -> NDArray[np.int64]:
        """(servers,) orders working at ``now_ns``, those included whose cancel is on its way."""
        pending = self._pending(rest)
        out = _out(pending, now_ns)
        waiting = pending[(pending["kind"] == Kind.canceled) & (pending["order"] < -1)]
        _, at = np.unique(np.concatenate([out["order"], -2 - waiting["order"]]), return_index=True)
        servers = np.concatenate([out["server"], waiting["server"]]).astype(np.int64)[at]
        return np.bincount(servers, minlength=self._world.n_servers)

    def working(self, rest: NDArray[Any], now_ns: int) -> dict[tuple[str, str], list[str]]:
        """cl_ord_ids still working at ``now_ns``, for every request that is not done; one that has none left is told
        once and forgotten."""
        pending = self._pending(rest)
        out = _out(pending, now_ns)
        waiting = pending[(pending["kind"] == Kind.canceled) & (pending["order"] < -1)]
        answer: dict[tuple[str, str], list[str]] = {}
        for server, scope in self.requests:
            mine = out[self._covered(out, server, scope)]
            asked = waiting[self._covered(waiting, server, scope)]
            both = np.concatenate([mine["order"], -2 - asked["order"]])
            servers = np.concatenate([mine["server"], asked["server"]]).astype(np.int64)
            numbers, at = np.unique(both, return_index=True)
            answer[(server, scope)] = [i.decode() for i in self._ids(b"O", servers[at], numbers)]
        self.requests = [key for key in self.requests if answer[key]]
        return answer
