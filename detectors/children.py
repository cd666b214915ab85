"""Child orders and their parents: what has been committed to the market for each parent.

The commitment of a parent is what its children have filled plus what they still have working. It grows when a child
is sent, shrinks by the leaves of a child that is cancelled, rejected or expired, and does not change on a fill, which
only moves shares from working to filled. A healthy router keeps ``commitment <= parent quantity`` at all times.

Races are allowed for where they really occur: leaves are given back when a cancel is *sent*, and fills that cross with
that cancel are not counted against the parent, up to those leaves. A replace counts from when it is sent; when it is
rejected the order stands as before. A fill beyond a child's leaves, on a dead child or on an unknown one does count:
those shares were really traded.
"""

from typing import Final, NamedTuple

import numpy as np

from detectors.arrays import I64, U64, Bools
from detectors.flow import Columns, Flow, Where, places, read
from detectors.intern import DROPPED, IdTable, Slots, ahead, enter, lookup, lookup_near
from detectors.kinds import ACK, ASKS, BY_ORIG, CANCEL, FILL, GONE, ORDER, PARENT, PARENT_DONE, REJECTED, REPLACE
from schemas.events import word_of
from schemas.jit import Int, compiled

_STATE = {"state": "8i8"}
LIVE, PENDING, DEAD = 0, 1, 2
"""Status of a child: working; cancel sent; cancelled, rejected or expired."""
_CL: Final = word_of("cl_ord_id")
_ORIG: Final = word_of("orig_cl_ord_id")
_PARENT_ID: Final = word_of("parent_id")


_OF, ROOT, _LEAVES, _TOTAL, _GROWN, _OWED, _STATUS = 0, 1, 2, 3, 4, 5, 6
"""Places in an order's state. Of, root: numbers for good of its parent (-1: none) and of the order it stands for, which
is itself unless it is a replace. By root: leaves (shares working), total (shares asked for), owed (leaves when the
cancel was sent), status. Grown: what a replace added to the total."""
_QTY, _COMMITTED, _KNOWN, _DONE, _DONE_AT = 0, 1, 2, 3, 4
"""Places in a parent's state: quantity, commitment, accepted (0, 1), done (0, 1) and since when (stream time, ns)."""


class ChildFlow(NamedTuple):
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


class Children:
    """State: orders and parents of one server, each bounded, oldest forgotten first."""

    def __init__(self, orders_max: int, parents_max: int) -> None:
        self.orders = IdTable(orders_max, 3, _STATE)
        self.parents = IdTable(parents_max, 3, _STATE)

    def step(self, flow: Flow) -> ChildFlow:
        """Work off a flow."""
        out = child_room(len(flow))
        walk(len(flow), places(flow), read(flow), self.tables(len(flow)), out)
        return out

    def room(self) -> int:
        """Events for which the tables are large enough."""
        return min(self.orders.room, self.parents.room)

    def tables(self, more: int) -> "ChildTables":
        """For the compiled loops, with room for ``more`` orders and parents."""
        orders, parents = self.orders.reserve(more), self.parents.reserve(more)
        return ChildTables(orders, self.orders.cols["state"], parents, self.parents.cols["state"])


class ChildTables(NamedTuple):
    """Orders and parents, each as ids and (rows, 8) states."""

    orders: Slots
    order: I64
    parents: Slots
    parent: I64


def child_room(n: int) -> ChildFlow:
    """Room for n events."""
    rows, flags = np.empty((6, n), np.int64), np.empty((3, n), np.bool_)
    return ChildFlow(rows[0], rows[1], flags[0], flags[1], rows[2], rows[3], rows[4], flags[2], rows[5])


@compiled
def walk(n: int, at: Where, flow: Columns, tables: ChildTables, out: ChildFlow) -> None:
    """Take in n events; every place of ``out`` is written."""
    words = at.words
    orders, order_states, parents, parent_states = tables.orders, tables.order, tables.parents, tables.parent
    for i in range(n):
        if ASKS[flow.kind[i]]:  # others name an order that was sent not long ago: its cell is at hand
            ahead(orders, words, i, _names_order(words, i, flow.kind[i]))
    acked, filled = np.int64(-2), np.int64(-2)
    for i in range(n):
        kind, qty = flow.kind[i], flow.qty[i]
        order, new = _order(words, i, kind, orders, (acked if kind == ACK else filled) + 1)
        if order >= 0 and kind == ACK:
            acked = order
        elif order >= 0 and kind == FILL:
            filled = order
        parent = _parent(words, i, kind, order, new, orders, order_states, parents)
        out.order[i], out.new[i], out.parent[i] = order, new, parent
        out.committed[i], out.parent_qty[i], out.known[i], out.done_for_ns[i] = 0, 0, False, -1
        delta, emission = 0, False
        if order < 0:
            if kind == FILL:
                delta = qty
        else:
            root = _row(order_states[order, ROOT], orders)
            if root >= 0:
                delta, emission = _commit(kind, qty, order, root, new, order_states)
        out.delta[i], out.emission[i] = delta, emission
        if parent >= 0 and (delta != 0 or emission or kind <= PARENT_DONE):
            state = parent_states[parent]
            state[_COMMITTED] += delta
            if kind == PARENT:
                state[_QTY], state[_KNOWN], state[_DONE] = qty, 1, 0
            elif kind == PARENT_DONE:
                state[_DONE], state[_DONE_AT] = 1, at.t[i]
            out.committed[i], out.parent_qty[i], out.known[i] = state[_COMMITTED], state[_QTY], state[_KNOWN] == 1
            if state[_DONE] == 1:
                out.done_for_ns[i] = at.t[i] - state[_DONE_AT]


@compiled
def _row(number: Int, slots: Slots) -> Int:
    """Row of a number for good, -1 when it is none or its id is no longer held."""
    row = number - slots.meta[DROPPED]
    return row if number >= 0 and row >= 0 else -1


@compiled
def _names_order(words: U64, i: int, kind: Int) -> int:
    """Where an event names its order."""
    return _ORIG if BY_ORIG[kind] and words[i, _ORIG] != 0 else _CL


@compiled
def _order(words: U64, i: int, kind: Int, orders: Slots, near: Int) -> tuple[Int, bool]:
    """The order an event is about: OrigClOrdID for cancels, ClOrdID for the rest. near: the row where it may be."""
    at = _names_order(words, i, kind)
    if words[i, at] == 0:
        return -1, False
    if ASKS[kind]:
        return enter(orders, words, i, at)
    return lookup_near(orders, words, i, at, near), False


@compiled
def _parent(words: U64, i: int, kind: Int, order: Int, new: bool, orders: Slots, states: I64, parents: Slots) -> Int:
    """The parent an event belongs to: its own parent_id, else that of its order. A new order is linked to it."""
    parent = -1
    if (kind <= ORDER or order < 0 or new) and words[i, _PARENT_ID] != 0:
        if kind <= REPLACE:
            parent, _ = enter(parents, words, i, _PARENT_ID)
        else:
            parent = lookup(parents, words, i, _PARENT_ID)
    if new:
        state = states[order]
        state[:] = 0
        state[_OF] = parent + parents.meta[DROPPED] if parent >= 0 else -1
        state[ROOT] = order + orders.meta[DROPPED]
        if kind == REPLACE and words[i, _ORIG] != 0:
            old = lookup(orders, words, i, _ORIG)
            if 0 <= old < order:
                state[ROOT], state[_OF] = states[old, ROOT], states[old, _OF]
    if order >= 0 and parent < 0:
        parent = _row(states[order, _OF], parents)
    return parent


@compiled
def _commit(kind: Int, qty: Int, order: Int, root: Int, new: bool, states: I64) -> tuple[Int, bool]:
    """What an event changes in the commitment for its order, and whether it asks the market for more."""
    state = states[root]
    leaves = state[_LEAVES]
    working = max(leaves, 0)
    if new:
        grow = qty - state[_TOTAL]
        state[_TOTAL], state[_LEAVES], state[_STATUS] = qty, leaves + grow, LIVE
        if root != order:
            states[order, _GROWN] = grow
        return grow, grow > 0
    if kind == FILL:
        over = qty
        if state[_STATUS] == LIVE:
            over = max(qty - working, 0)
        elif state[_STATUS] == PENDING:
            over = max(qty - state[_OWED], 0)
            state[_OWED] -= qty - over
        state[_LEAVES] = leaves - qty
        return over, False
    if kind == REJECTED and root != order:
        grown = states[order, _GROWN]
        states[order, _GROWN] = 0
        if state[_STATUS] != LIVE:
            return 0, False
        state[_TOTAL] -= grown
        state[_LEAVES] = leaves - grown
        return -grown, False
    if GONE[kind]:
        if kind == CANCEL:
            state[_OWED] += working
        state[_STATUS] = PENDING if kind == CANCEL else DEAD
        state[_LEAVES] = 0
        return -working, False
    return 0, False
