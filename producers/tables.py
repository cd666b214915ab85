"""The simulator's columns: parents as a growing table, children to be sent, and records waiting for their time."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

REC: Final = np.dtype(
    [
        ("ts", "i8"), ("order", "i8"), ("cl", "i8"), ("orig", "i8"), ("exec", "i8"), ("qty", "i8"), ("px", "i8"),
        ("leaves", "i8"), ("sent", "i8"), ("parent", "i4"), ("sym", "i2"), ("kind", "u1"), ("side", "u1"),
        ("server", "u1"), ("strat", "u1"), ("acct", "u1"), ("venue", "u1"), ("flags", "u1"), ("pad", "u1", 3),
    ]
)  # fmt: skip
"""One event to come. order: number of the order at its birth (-1: none); cl, orig: numbers of cl_ord_id and
orig_cl_ord_id; exec: number of exec_id, -1 none; px: 1e-9; leaves: shares open before the event; sent: ns, when the
order goes out; parent: row in Parents (-1: none)."""

CHILD: Final = np.dtype(
    [
        ("ts", "i8"), ("qty", "i8"), ("px", "i8"), ("life_ns", "i8"), ("parent", "i4"), ("sym", "i2"), ("server", "u1"),
        ("side", "u1"), ("strat", "u1"), ("acct", "u1"), ("style", "u1"), ("flags", "u1"),
    ]
)  # fmt: skip
"""One child order to send. px: limit in 1e-9; life_ns: how long it rests (0: drawn)."""


class Flag:
    """Bits of ``flags`` in REC and CHILD (plain ints: numpy keeps the columns' type)."""

    BAD: Final = 1
    """Ground truth: part of the incident."""
    PASSIVE: Final = 2
    """A fill of a resting order: happens only if the market is there at that time."""
    DUP: Final = 4
    """Carries poss_dup."""
    FREE: Final = 8
    """Not asked at the gate (a resend from outside the router's own gate)."""


class Style(IntEnum):
    """What a child asks of the venue."""

    IOC = 0
    """Marketable, immediate or cancel."""
    REST = 1
    """Rests; filled, partly filled, cancelled, replaced or expired."""
    REJECT = 2
    """The venue refuses it."""
    PARK = 3
    """Rests and is never filled; cancelled at the end of its life."""


PARENT_COLUMNS: Final = {
    "ts": "i8", "qty": "i8", "filled": "i8", "committed": "i8", "clip": "i8", "next_ts": "i8", "interval_ns": "i8",
    "deadline": "i8", "sym": "i2", "server": "u1", "side": "u1", "strat": "u1", "acct": "u1", "done": "?",
    "managed": "?", "bad": "?", "aggressive": "f4",
}  # fmt: skip
"""committed: shares filled or working; managed: served by the healthy slicer (False: by a fault)."""


class Parents:
    """Parent orders, one row each; columns as attributes (``parents.qty[row]``), capacity doubles as needed."""

    qty: NDArray[np.int64]
    filled: NDArray[np.int64]
    committed: NDArray[np.int64]
    clip: NDArray[np.int64]
    ts: NDArray[np.int64]
    next_ts: NDArray[np.int64]
    interval_ns: NDArray[np.int64]
    deadline: NDArray[np.int64]
    sym: NDArray[np.int16]
    server: NDArray[np.uint8]
    side: NDArray[np.uint8]
    strat: NDArray[np.uint8]
    acct: NDArray[np.uint8]
    done: NDArray[np.bool_]
    managed: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    aggressive: NDArray[np.float32]

    def __init__(self, capacity: int = 4_096) -> None:
        self.n = 0
        self._capacity = capacity
        for name, code in PARENT_COLUMNS.items():
            setattr(self, name, np.zeros(capacity, code))

    def append(self, count: int, **columns: Any) -> NDArray[np.int64]:
        """Add ``count`` rows; columns not given are zero. Returns the row numbers, (count,)."""
        unknown = columns.keys() - PARENT_COLUMNS.keys()
        if unknown:
            raise ValueError(f"columns {sorted(unknown)} do not exist, expected some of {sorted(PARENT_COLUMNS)}")
        end = self.n + count
        if end > self._capacity:
            self._capacity = max(end, 2 * self._capacity)
            for name in PARENT_COLUMNS:
                old = getattr(self, name)
                grown = np.zeros(self._capacity, old.dtype)
                grown[: self.n] = old[: self.n]
                setattr(self, name, grown)
        for name, values in columns.items():
            getattr(self, name)[self.n : end] = values
        rows = np.arange(self.n, end)
        self.n = end
        return rows


def records(n: int) -> NDArray[Any]:
    """(n,) REC rows that refer to nothing."""
    out = np.zeros(n, REC)
    for name in ("order", "cl", "orig", "exec", "parent"):
        out[name] = -1
    return out


def join(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate structured arrays of one dtype, as raw bytes: numpy would compare all their fields each time."""
    if len(parts) == 1:
        return parts[0]
    dtype = parts[0].dtype
    raw = np.dtype((np.void, dtype.itemsize))
    return np.concatenate([np.ascontiguousarray(p).view(raw) for p in parts]).view(dtype)


class Calendar:
    """Records waiting for their time; those of the coming second stand apart, so that a block looks at few."""

    def __init__(self, start_ns: int, near_ns: int = 1_000_000_000) -> None:
        self._near_ns = near_ns
        self._near_end = start_ns
        self._fresh: list[NDArray[Any]] = []
        self._near = np.zeros(0, REC)
        self._far: list[NDArray[Any]] = []

    def add(self, recs: NDArray[Any]) -> None:
        """Put records of any times; not to be changed afterwards."""
        if len(recs):
            self._fresh.append(recs)

    def take(self, until_ns: int) -> NDArray[Any]:
        """Remove and return what falls before ``until_ns``, in order of time."""
        if until_ns > self._near_end:
            self._near_end = until_ns + self._near_ns
            self._fresh += self._far
            self._far = []
        recs = join([*self._fresh, self._near])
        self._fresh = []
        ts = recs["ts"]
        due = ts < until_ns
        later = np.flatnonzero(~due)
        soon = ts[later] < self._near_end
        self._near = recs[later[soon]]
        if not soon.all():
            self._far.append(recs[later[~soon]])
        at = np.flatnonzero(due)
        return recs[at[np.argsort(ts[at], kind="stable")]]

    def pending(self) -> NDArray[Any]:
        """Everything that waits, in no order."""
        return join([*self._fresh, self._near, *self._far])
