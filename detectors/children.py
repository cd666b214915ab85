"""Child orders and their parents: what has been committed to the market for each parent.

The commitment of a parent is what its children have filled plus what they still have working. It grows when a child
is sent, shrinks by the leaves of a child that is cancelled, rejected or expired, and does not change on a fill, which
only moves shares from working to filled. A healthy router keeps ``commitment <= parent quantity`` at all times.

Races are allowed for where they really occur: leaves are given back when a cancel is *sent*, and fills that cross with
that cancel are not counted against the parent, up to those leaves. A replace counts from when it is sent; when it is
rejected the order stands as before. A fill beyond a child's leaves, on a dead child or on an unknown one does count:
those shares were really traded.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from detectors.arrays import I64, U8, U64, Bools
from detectors.flow import Flow
from detectors.intern import DROPPED, IdTable, Slots, enter, lookup
from detectors.jit import compiled
from detectors.kinds import ASKS, BY_ORIG, CANCEL, FILL, GONE, ORDER, PARENT, PARENT_DONE, REJECTED, REPLACE
from schemas.events import word_of

_ORDER = {"parent": "i8", "root": "i8", "leaves": "i8", "total": "i8", "grown": "i8", "owed": "i8", "status": "u1"}
_PARENT = {"qty": "i8", "committed": "i8", "known": "u1", "done": "u1", "done_at": "i8"}
LIVE, PENDING, DEAD = 0, 1, 2
"""Status of a child: working; cancel sent; cancelled, rejected or expired."""
_CL: Final = word_of("cl_ord_id")
_ORIG: Final = word_of("orig_cl_ord_id")
_PARENT_ID: Final = word_of("parent_id")


class _Orders(NamedTuple):
    """Columns by order row. parent, root: numbers for good (-1: none); a replace's root is the order it stands for.
    By root: leaves (shares working), total (shares asked for), owed (leaves when the cancel was sent), status.
    grown: what a replace added to the total, until it is answered."""

    parent: I64
    root: I64
    leaves: I64
    total: I64
    grown: I64
    owed: I64
    status: U8


class _Parents(NamedTuple):
    """Columns by parent row: quantity, commitment, accepted, done, and since when (stream time, ns)."""

    qty: I64
    committed: I64
    known: U8
    done: U8
    done_at: I64


@dataclass(slots=True)
class ChildFlow:
    """(n,) arrays in log order; rows are -1 where not known."""

    order: I64
    parent: I64
    new: Bools
    """Orders and replaces that brought a new ClOrdID."""
    emission: Bools
    """New orders, and replaces that ask for more."""
    delta: I64
    """Change of the parent's commitment (shares)."""
    committed: I64
    """Commitment of the parent after the event."""
    parent_qty: I64
    known: Bools
    """The parent was accepted before this event."""
    done_for_ns: I64
    """Time since the parent was done, -1 where it is not done."""


class _Out(NamedTuple):
    """The arrays of a ``ChildFlow``, for the loop to write."""

    order: I64
    parent: I64
    new: Bools
    emission: Bools
    delta: I64
    committed: I64
    parent_qty: I64
    known: Bools
    done_for_ns: I64


class Children:
    """State: orders and parents of one server, each bounded, oldest forgotten first."""

    def __init__(self, orders_max: int, parents_max: int) -> None:
        self.orders = IdTable(orders_max, 3, _ORDER)
        self.parents = IdTable(parents_max, 3, _PARENT)

    def step(self, flow: Flow) -> ChildFlow:
        """Work off a flow."""
        n = len(flow)
        orders, parents = self.orders.reserve(n), self.parents.reserve(n)
        numbers = np.zeros((4, n), np.int64)
        rows = np.full((3, n), -1, np.int64)
        flags = np.zeros((3, n), np.bool_)
        out = _Out(rows[0], rows[1], flags[0], flags[1], numbers[0], numbers[1], numbers[2], flags[2], rows[2])
        _pass(
            flow.words, flow.kind, flow.qty, flow.t,
            orders, _Orders(**self.orders.cols), parents, _Parents(**self.parents.cols), out,
        )  # fmt: skip
        return ChildFlow(*out)


@compiled
def _pass(
    words: U64, kinds: U8, qtys: I64, t: I64, orders: Slots, ocols: _Orders, parents: Slots, pcols: _Parents, out: _Out
) -> None:
    for i in range(len(kinds)):
        kind, qty = kinds[i], qtys[i]
        order, new = _order(words, i, kind, orders)
        parent = _parent(words, i, kind, order, new, orders, ocols, parents)
        out.order[i], out.new[i], out.parent[i] = order, new, parent
        delta, emission = 0, False
        if order < 0:
            if kind == FILL:
                delta = qty
        else:
            root = _row(ocols.root[order], orders)
            if root >= 0:
                delta, emission = _commit(kind, qty, order, root, new, ocols)
        out.delta[i], out.emission[i] = delta, emission
        if parent >= 0 and (delta != 0 or emission or kind <= PARENT_DONE):
            pcols.committed[parent] += delta
            if kind == PARENT:
                pcols.qty[parent], pcols.known[parent], pcols.done[parent] = qty, 1, 0
            elif kind == PARENT_DONE:
                pcols.done[parent], pcols.done_at[parent] = 1, t[i]
            out.committed[i], out.parent_qty[i] = pcols.committed[parent], pcols.qty[parent]
            out.known[i] = pcols.known[parent] == 1
            if pcols.done[parent] == 1:
                out.done_for_ns[i] = t[i] - pcols.done_at[parent]


@compiled
def _row(number: int, slots: Slots) -> int:
    """Row of a number for good, -1 when it is none or its id is no longer held."""
    row = number - slots.meta[DROPPED]
    return row if number >= 0 and row >= 0 else -1


@compiled
def _order(words: U64, i: int, kind: int, orders: Slots) -> tuple[int, bool]:
    """The order an event is about: OrigClOrdID for cancels, ClOrdID for the rest."""
    at = _ORIG if BY_ORIG[kind] and words[i, _ORIG] != 0 else _CL
    if words[i, at] == 0:
        return -1, False
    if ASKS[kind]:
        return enter(orders, words, i, at)
    return lookup(orders, words, i, at), False


@compiled
def _parent(words: U64, i: int, kind: int, order: int, new: bool, orders: Slots, cols: _Orders, parents: Slots) -> int:
    """The parent an event belongs to: its own parent_id, else that of its order. A new order is linked to it."""
    parent = -1
    if (kind <= ORDER or order < 0 or new) and words[i, _PARENT_ID] != 0:
        if kind <= REPLACE:
            parent, _ = enter(parents, words, i, _PARENT_ID)
        else:
            parent = lookup(parents, words, i, _PARENT_ID)
    if new:
        cols.parent[order] = parent + parents.meta[DROPPED] if parent >= 0 else -1
        cols.root[order] = order + orders.meta[DROPPED]
        cols.leaves[order] = cols.total[order] = cols.grown[order] = cols.owed[order] = 0
        cols.status[order] = LIVE
        if kind == REPLACE and words[i, _ORIG] != 0:
            old = lookup(orders, words, i, _ORIG)
            if 0 <= old < order:
                cols.root[order], cols.parent[order] = cols.root[old], cols.parent[old]
    if order >= 0 and parent < 0:
        parent = _row(cols.parent[order], parents)
    return parent


@compiled
def _commit(kind: int, qty: int, order: int, root: int, new: bool, cols: _Orders) -> tuple[int, bool]:
    """What an event changes in the commitment for its order, and whether it asks the market for more."""
    status = cols.status[root]
    leaves = cols.leaves[root]
    working = max(leaves, 0)
    if new:
        grow = qty - cols.total[root]
        cols.total[root], cols.leaves[root], cols.status[root] = qty, leaves + grow, LIVE
        cols.grown[order] = grow if root != order else 0
        return grow, grow > 0
    if kind == FILL:
        over = 0
        if status == LIVE:
            over = max(qty - working, 0)
        elif status == PENDING:
            over = max(qty - cols.owed[root], 0)
            cols.owed[root] -= qty - over
        else:
            over = qty
        cols.leaves[root] = leaves - qty
        return over, False
    if kind == REJECTED and root != order:
        grown = cols.grown[order]
        cols.grown[order] = 0
        if status != LIVE:
            return 0, False
        cols.total[root] -= grown
        cols.leaves[root] = leaves - grown
        return -grown, False
    if GONE[kind]:
        if kind == CANCEL:
            cols.owed[root] += working
            cols.status[root] = PENDING
        else:
            cols.status[root] = DEAD
        cols.leaves[root] = 0
        return -working, False
    return 0, False
