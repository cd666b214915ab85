"""Orders from their first event to their last: one router each, and a parent where the source knows none."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from producers.importers.findings import BadLine

Event = dict[str, Any]
"""An order event in JSON's words (design section 3), without ``seq``: the writer numbers what was accepted."""


@dataclass(frozen=True, slots=True)
class Routing:
    """How a source that names no router, parent, account or strategy becomes a firm's flow.

    servers: an order goes to router ``r1`` to ``rN`` by CRC-32 of the id under which it was first sent, so that its
    whole life
    stays on one. parents: make up a parent for each order (``P`` + that id), of its quantity, done when the order
    is; where an
    amend asks for more, the parent grows with it. account, strategy: put on what has none. server: all orders are this
    router's.
    """

    servers: int = 8
    parents: bool = True
    account: str = ""
    strategy: str = ""
    server: str = ""

    def server_of(self, root: str) -> str:
        """The router of the order first sent as ``root``."""
        return self.server or f"r{crc32(root.encode()) % self.servers + 1}"


@dataclass(slots=True)
class Life:
    """An order that is not over. qty: all of it, filled: so much of it; cl_ord_id: under which it works now."""

    server: str
    cl_ord_id: str
    symbol: str
    side: str
    qty: int
    px: float
    common: Event
    made_up: bool
    filled: int = 0
    amends: dict[str, tuple[int, float]] = field(default_factory=dict)
    """ClOrdID of a replace under way -> its quantity and price."""
    names: list[str] = field(default_factory=list)
    """Every ClOrdID that it and the requests about it had."""

    @property
    def leaves(self) -> int:
        return self.qty - self.filled


class Lives:
    """Makes the events of orders and remembers those that are open. BadLine when an event is about none of them.

    names_max: of so many ClOrdIDs at most; those longest known are forgotten first (0: no bound, for a file has an end).
    """

    def __init__(self, routing: Routing, names_max: int = 0) -> None:
        self.routing = routing
        self._names_max = names_max
        self._open: dict[str, Life] = {}

    def __contains__(self, cl_ord_id: str) -> bool:
        return cl_ord_id in self._open

    def __len__(self) -> int:
        return len({id(life) for life in self._open.values()})

    def open(self) -> list[Life]:
        """Every open order once, those longest known first."""
        return list({id(life): life for life in self._open.values()}.values())

    def restore(self, lives: Iterable[Life]) -> None:
        """Know ``lives``, as ``open`` gave them, beside what is known."""
        for life in lives:
            self._open.update(dict.fromkeys(life.names, life))

    def find(self, cl_ord_id: str, what: str) -> Life:
        """The open order known under ``cl_ord_id``."""
        life = self._open.get(cl_ord_id)
        if life is None:
            raise BadLine(
                "unknown_order",
                cl_ord_id,
                f"{what} of an order that was sent before and is not over",
                "give the files from the start of the session, or read it as flow that began earlier",
            )
        return life

    def sent(
        self, ts: int, cl_ord_id: str, symbol: str, side: str, qty: int, px: float, **more: Any
    ) -> Iterator[Event]:
        """A new order; more: further fields, as server, parent_id, venue, bid, ask."""
        if cl_ord_id in self._open:
            raise BadLine("repeated_order", cl_ord_id, "an order id that is not at work already")
        server = more.pop("server", "") or self.routing.server_of(cl_ord_id)
        quote = {name: more.pop(name) for name in ("bid", "ask", "phase") if name in more}
        made_up = self.routing.parents and not more.get("parent_id")
        common = {"account": self.routing.account, "strategy": self.routing.strategy}
        common |= {name: value for name, value in more.items() if value}
        if made_up:
            common["parent_id"] = _parent_of(cl_ord_id)
        life = Life(server, cl_ord_id, symbol, side, qty, px, common, made_up)
        self._know(life, cl_ord_id)
        if made_up:
            yield self._event(life, "parent", ts, qty=qty, px=px, **quote)
        yield self._event(life, "order", ts, cl_ord_id=cl_ord_id, qty=qty, px=px, **quote)

    def acked(self, life: Life, ts: int, **more: Any) -> Iterator[Event]:
        """The venue has it."""
        yield self._event(life, "ack", ts, cl_ord_id=life.cl_ord_id, qty=life.qty, px=life.px, **more)

    def traded(self, life: Life, ts: int, qty: int, px: float, exec_id: str, **more: Any) -> Iterator[Event]:
        """An execution; the last one ends the order."""
        life.filled += qty
        yield self._event(life, "fill", ts, cl_ord_id=life.cl_ord_id, qty=qty, px=px, exec_id=exec_id, **more)
        if life.leaves <= 0:
            yield from self._over(life, ts)

    def replace_sent(self, life: Life, ts: int, cl_ord_id: str, qty: int, px: float, **more: Any) -> Iterator[Event]:
        """A request to change to ``qty`` (FIX 38: all of the order, filled or not) at ``px``."""
        if life.made_up and qty > life.qty:
            yield self._event(life, "parent", ts, qty=qty, px=px, **more)
        life.amends[cl_ord_id] = (qty, px)
        self._know(life, cl_ord_id)
        names = {"cl_ord_id": cl_ord_id, "orig_cl_ord_id": life.cl_ord_id}
        yield self._event(life, "replace", ts, qty=qty, px=px, **names, **more)

    def replaced(self, life: Life, ts: int, cl_ord_id: str, **more: Any) -> Iterator[Event]:
        """The venue took the change that was sent as ``cl_ord_id``."""
        if cl_ord_id not in life.amends:
            raise BadLine("unknown_order", cl_ord_id, "the ClOrdID of a replace that was sent")
        old, life.cl_ord_id = life.cl_ord_id, cl_ord_id
        life.qty, life.px = life.amends.pop(cl_ord_id)
        names = {"cl_ord_id": cl_ord_id, "orig_cl_ord_id": old}
        yield self._event(life, "replaced", ts, qty=life.qty, px=life.px, **names, **more)
        if life.leaves <= 0:
            yield from self._over(life, ts)

    def cancel_sent(self, life: Life, ts: int, cl_ord_id: str, **more: Any) -> Iterator[Event]:
        """A request to cancel."""
        if cl_ord_id:
            self._know(life, cl_ord_id)
        yield self._event(life, "cancel", ts, cl_ord_id=cl_ord_id, orig_cl_ord_id=life.cl_ord_id, **more)

    def canceled(self, life: Life, ts: int, cl_ord_id: str, **more: Any) -> Iterator[Event]:
        """What was left is taken out."""
        names = {"cl_ord_id": cl_ord_id, "orig_cl_ord_id": life.cl_ord_id}
        yield self._event(life, "canceled", ts, qty=max(life.leaves, 0), **names, **more)
        yield from self._over(life, ts)

    def refused(self, life: Life, ts: int, cl_ord_id: str, **more: Any) -> Iterator[Event]:
        """The venue refused the order, or the request about it that was sent as ``cl_ord_id``."""
        if cl_ord_id != life.cl_ord_id:
            life.amends.pop(cl_ord_id, None)
            names = {"cl_ord_id": cl_ord_id, "orig_cl_ord_id": life.cl_ord_id}
            yield self._event(life, "rejected", ts, **names, **more)
            return
        yield self._event(life, "rejected", ts, cl_ord_id=cl_ord_id, qty=max(life.leaves, 0), **more)
        yield from self._over(life, ts)

    def expired(self, life: Life, ts: int, **more: Any) -> Iterator[Event]:
        """The venue ended it."""
        yield self._event(life, "expired", ts, cl_ord_id=life.cl_ord_id, qty=max(life.leaves, 0), **more)
        yield from self._over(life, ts)

    def _know(self, life: Life, cl_ord_id: str) -> None:
        self._open[cl_ord_id] = life
        life.names.append(cl_ord_id)
        if self._names_max and len(self._open) > self._names_max:
            del self._open[next(iter(self._open))]

    def _over(self, life: Life, ts: int) -> Iterator[Event]:
        for name in life.names:
            if self._open.get(name) is life:
                del self._open[name]
        if life.made_up:
            yield self._event(life, "parent_done", ts)

    def _event(self, life: Life, kind: str, ts: int, **fields: Any) -> Event:
        head = {"v": 1, "kind": kind, "server": life.server, "seq": 0, "ts": ts}
        return {**head, **life.common, "symbol": life.symbol, "side": life.side, **fields}


def _parent_of(cl_ord_id: str) -> str:
    """``P`` + the id, or a digest of it where that would be too long (24 characters)."""
    return f"P{cl_ord_id}" if len(cl_ord_id) <= 23 else f"P{crc32(cl_ord_id.encode()):08x}{cl_ord_id[-15:]}"
