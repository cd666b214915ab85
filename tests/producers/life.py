"""Follows every order of a run in plain Python dicts: the slow, obvious reading of the simulator's rules."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from producers.scenarios import Chunk
from schemas.events import Kind

ENDS = (Kind.canceled, Kind.rejected, Kind.expired)


@dataclass
class Parent:
    qty: int
    filled: int = 0
    working: int = 0
    done: bool = False


@dataclass
class Lives:
    """parents, open orders as [leaves, parent_id]; ``over``: orders that took a parent beyond its quantity."""

    parents: dict[bytes, Parent] = field(default_factory=dict)
    orders: dict[bytes, list] = field(default_factory=dict)  # type: ignore[type-arg]
    ids: set[bytes] = field(default_factory=set)
    execs: set[bytes] = field(default_factory=set)
    seq: dict[bytes, int] = field(default_factory=dict)
    over: set[tuple[bytes, int]] = field(default_factory=set)
    bad: set[tuple[bytes, int]] = field(default_factory=set)
    sent_after_done: int = 0
    counts: dict[Kind, int] = field(default_factory=dict)

    def follow(self, chunks: Iterable[Chunk]) -> "Lives":
        for chunk in chunks:
            names = chunk.events.dtype.names
            for row, bad in zip(chunk.events.tolist(), chunk.bad.tolist(), strict=True):
                self.take(dict(zip(names, row, strict=True)), bad)
        return self

    def take(self, e: dict, bad: bool) -> None:  # type: ignore[type-arg]
        kind, server = Kind(e["kind"]), e["server"]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        assert e["seq"] == self.seq.get(server, e["seq"] - 1) + 1, "a gap or a repeat"
        self.seq[server] = e["seq"]
        if bad:
            self.bad.add((server, e["seq"]))
        if kind == Kind.parent:
            assert e["parent_id"] not in self.parents
            self.parents[e["parent_id"]] = Parent(e["qty"])
        elif kind == Kind.parent_done:
            self.parents[e["parent_id"]].done = True
        elif kind == Kind.order:
            self._new(e)
        elif kind == Kind.replace:
            assert e["orig_cl_ord_id"] in self.orders
            self._unique(e["cl_ord_id"])
        elif kind == Kind.replaced:
            self.orders[e["cl_ord_id"]] = self.orders.pop(e["orig_cl_ord_id"])
        elif kind == Kind.cancel:
            assert e["orig_cl_ord_id"] in self.orders, "a cancel of something unknown"
            self._unique(e["cl_ord_id"])
        elif kind == Kind.ack:
            assert e["cl_ord_id"] in self.orders
        elif kind == Kind.fill:
            self._fill(e)
        elif kind in ENDS:
            order = self.orders.pop(e["orig_cl_ord_id"] or e["cl_ord_id"])
            assert order[0] == e["qty"], "what is taken out is what was left"
            self.parents[order[1]].working -= e["qty"]

    def _unique(self, order: bytes) -> None:
        assert 0 < len(order) <= 24
        assert order not in self.ids
        self.ids.add(order)

    def _new(self, e: dict) -> None:  # type: ignore[type-arg]
        self._unique(e["cl_ord_id"])
        parent = self.parents[e["parent_id"]]
        self.orders[e["cl_ord_id"]] = [e["qty"], e["parent_id"]]
        parent.working += e["qty"]
        self.sent_after_done += parent.done
        if parent.filled + parent.working > parent.qty:
            self.over.add((e["server"], e["seq"]))

    def _fill(self, e: dict) -> None:  # type: ignore[type-arg]
        assert e["exec_id"] not in self.execs
        self.execs.add(e["exec_id"])
        order = self.orders[e["cl_ord_id"]]
        order[0] -= e["qty"]
        assert order[0] >= 0, "filled beyond the order"
        parent = self.parents[order[1]]
        parent.filled += e["qty"]
        parent.working -= e["qty"]
        if order[0] == 0:
            del self.orders[e["cl_ord_id"]]
