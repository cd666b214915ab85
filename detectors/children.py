"""Child orders and their parents: what has been committed to the market for each parent.

The commitment of a parent is what its children have filled plus what they still have working. It grows when a child
is sent, shrinks by the leaves of a child that is cancelled, rejected or expired, and does not change on a fill, which
only moves shares from working to filled. A healthy router keeps ``commitment <= parent quantity`` at all times.

Races are allowed for where they really occur: leaves are given back when a cancel is *sent*, and a fill that crosses
with that cancel is not counted against the parent. A fill beyond a child's leaves, on a dead child or on an unknown
one does count: those shares were really traded.
"""

from dataclasses import dataclass

import numpy as np

from detectors.arrays import I64, U64, Bools, Segments, where
from detectors.flow import Flow
from detectors.intern import IdTable
from detectors.kinds import ASKS, BY_ORIG, CANCEL, FILL, GONE, ORDER, PARENT, PARENT_DONE, REPLACE

_ORDER = {"parent": "i8", "root": "i8", "leaves": "i8", "total": "i8", "status": "u1"}
_PARENT = {"qty": "i8", "committed": "i8", "known": "u1", "done": "u1", "done_at": "i8"}
LIVE, PENDING, DEAD = 0, 1, 2
"""Status of a child: working; cancel sent; cancelled, rejected or expired."""
_AFTER = np.where(GONE, DEAD, LIVE).astype(np.uint8)
_AFTER[CANCEL] = PENDING


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


class Children:
    """State: orders and parents of one server, each bounded, oldest forgotten first."""

    def __init__(self, orders_max: int, parents_max: int) -> None:
        self.orders = IdTable(orders_max, 3, _ORDER)
        self.parents = IdTable(parents_max, 3, _PARENT)

    def step(self, flow: Flow) -> ChildFlow:
        """Work off a flow (order pass, then parent pass)."""
        order, new, orig = self._orders(flow)
        parent = self._parents(flow, order, new, orig)
        n = len(flow)
        zero, no = np.zeros(n, np.int64), np.zeros(n, np.bool_)
        out = ChildFlow(order, parent, new, no, zero, zero.copy(), zero.copy(), no.copy(), zero - 1)
        self._order_pass(flow, out)
        self._parent_pass(flow, out)
        return out

    def _orders(self, flow: Flow) -> tuple[I64, Bools, U64 | None]:
        """The order each event is about: OrigClOrdID for cancels, ClOrdID for the rest."""
        cl = flow.ids("cl_ord_id")
        kind = flow.kind
        by_orig = BY_ORIG[kind]
        replaces = kind == REPLACE
        orig = None
        if by_orig.any() or replaces.any():
            orig = flow.ids("orig_cl_ord_id")
            by_orig &= orig[:, 0] != 0
            cl = cl.copy()
            cl[by_orig] = orig[by_orig]
        insert = ASKS[kind] & (cl[:, 0] != 0)
        order, new = self.orders.resolve(cl, insert)
        order[cl[:, 0] == 0] = -1
        return order, new, orig

    def _parents(self, flow: Flow, order: I64, new: Bools, orig: U64 | None) -> I64:
        """The parent each event belongs to: its own parent_id, else that of its order."""
        kind, cols = flow.kind, self.orders.cols
        own = (kind <= ORDER) | (order < 0) | new
        parent = np.full(len(flow), -1, np.int64)
        at = where(own)
        if len(at):
            ids = np.ascontiguousarray(flow.events["parent_id"][at])
            keys = ids.view(np.uint64).reshape(len(at), 3)
            named = keys[:, 0] != 0
            rows, _ = self.parents.resolve(keys, named & (kind[at] <= REPLACE))
            rows[~named] = -1
            parent[at] = rows
        fresh = where(new)
        if len(fresh):
            rows = order[fresh]
            cols["parent"][rows] = np.where(parent[fresh] >= 0, parent[fresh] + self.parents.dropped, -1)
            cols["root"][rows] = rows + self.orders.dropped
            cols["status"][rows], cols["leaves"][rows], cols["total"][rows] = LIVE, 0, 0
            if orig is not None:
                self._chain(flow, order, new, orig)
        known = (order >= 0) & (parent < 0)
        got = cols["parent"][order[known]] - self.parents.dropped
        parent[known] = np.where(got >= 0, got, -1)
        return parent

    def _chain(self, flow: Flow, order: I64, new: Bools, orig: U64) -> None:
        """Replaces: the new ClOrdID stands for the order that the old one stood for."""
        at = where(new & (flow.kind == REPLACE))
        if not len(at):
            return
        old, _ = self.orders.resolve(orig[at], np.zeros(len(at), np.bool_))
        mine = order[at]
        old[old >= mine] = -1
        cols = self.orders.cols
        at, old, mine = at[old >= 0], old[old >= 0], mine[old >= 0]
        for _ in range(len(at)):
            root = cols["root"][old]
            changed = cols["root"][mine] != root
            if not changed.any():
                break
            cols["root"][mine], cols["parent"][mine] = root, cols["parent"][old]

    def _order_pass(self, flow: Flow, out: ChildFlow) -> None:
        """Leaves and status of each child, and what each event changes in its parent's commitment."""
        cols, dropped = self.orders.cols, self.orders.dropped
        fills = flow.kind == FILL
        lost = fills & (out.order < 0)
        out.delta[lost] = flow.qty[lost]
        root = np.where(out.order >= 0, cols["root"][out.order] - dropped, -1)
        chosen = where(root >= 0)
        if not len(chosen):
            return
        seg = Segments(root[chosen])
        at = chosen[seg.order]
        rows = seg.heads
        kind, qty = flow.kind[at], flow.qty[at]
        is_fill, sized = kind == FILL, out.new[at]
        gone = GONE[kind]
        total = seg.ffill(qty, sized, cols["total"][rows])
        grow = np.where(sized, qty - seg.before(total, cols["total"][rows]), 0)
        step = grow - np.where(is_fill, qty, 0)
        open_, leaves = self._leaves(seg, step, gone, cols["leaves"][rows])
        code = _AFTER[kind]
        status = seg.ffill(code, gone | sized, cols["status"][rows])
        before = seg.before(status, cols["status"][rows])
        over = np.where(before == PENDING, 0, np.where(before == DEAD, qty, np.maximum(qty - open_, 0)))
        delta = grow + np.where(is_fill, over, 0) - np.where(gone, open_, 0)
        out.delta[at] = delta
        out.emission[at] = sized & (grow > 0)
        last = seg.last
        cols["leaves"][rows], cols["total"][rows] = leaves[last], total[last]
        cols["status"][rows] = status[last]

    @staticmethod
    def _leaves(seg: Segments, step: I64, gone: Bools, carry: I64) -> tuple[I64, I64]:
        """Leaves before each event (never negative) and after it; zero from a cancel on."""
        walk = seg.cumsum(np.where(gone, 0, step), carry)
        at = seg.last_index(gone)
        after = walk - np.where(at >= 0, walk[at], 0)
        return np.maximum(seg.before(after, carry), 0), after

    def _parent_pass(self, flow: Flow, out: ChildFlow) -> None:
        cols = self.parents.cols
        chosen = where((out.parent >= 0) & ((out.delta != 0) | out.emission | (flow.kind <= PARENT_DONE)))
        if not len(chosen):
            return
        seg = Segments(out.parent[chosen])
        at = chosen[seg.order]
        rows = seg.heads
        kind = flow.kind[at]
        is_parent, is_done = kind == PARENT, kind == PARENT_DONE
        committed = seg.cumsum(out.delta[at], cols["committed"][rows])
        qty = seg.ffill(flow.qty[at], is_parent, cols["qty"][rows])
        known = seg.ffill(is_parent.astype(np.uint8), is_parent, cols["known"][rows])
        state = seg.ffill(is_done.astype(np.uint8), is_done | is_parent, cols["done"][rows])
        done_at = seg.ffill(flow.t[at], is_done, cols["done_at"][rows])
        out.committed[at], out.parent_qty[at], out.known[at] = committed, qty, known == 1
        out.done_for_ns[at] = np.where(state == 1, flow.t[at] - done_at, -1)
        last = seg.last
        cols["committed"][rows], cols["qty"][rows] = committed[last], qty[last]
        cols["known"][rows], cols["done"][rows], cols["done_at"][rows] = known[last], state[last], done_at[last]
