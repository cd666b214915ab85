"""The simulator's columns: parents as a growing table, children to be sent, and records waiting for their time."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers import codes
from producers.codes import I64
from schemas.events import join_rows
from schemas.jit import compiled

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
REC_WORDS: Final = REC.itemsize // 8

CHILD: Final = np.dtype(
    [
        ("ts", "i8"), ("qty", "i8"), ("px", "i8"), ("life_ns", "i8"), ("parent", "i4"), ("sym", "i2"), ("server", "u1"),
        ("side", "u1"), ("strat", "u1"), ("acct", "u1"), ("style", "u1"), ("flags", "u1"),
    ]
)  # fmt: skip
"""One child order to send. px: limit in 1e-9; life_ns: how long it rests (0: drawn)."""


class Flag:
    """Bits of ``flags`` in REC and CHILD (plain ints: numpy keeps the columns' type)."""

    BAD: Final = codes.BAD
    """Ground truth: part of the incident."""
    PASSIVE: Final = codes.PASSIVE
    """A fill of a resting order: happens only if the market is there at that time."""
    DUP: Final = codes.DUP
    """Carries poss_dup."""
    FREE: Final = codes.FREE
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
PARENT: Final = np.dtype(list(PARENT_COLUMNS.items()), align=True)


class Parents:
    """Parent orders, one row each; columns as attributes (``parents.qty[row]``), views of ``table`` (PARENT), which is
    what compiled loops take. Capacity doubles as needed: hold neither longer than a call."""

    table: NDArray[Any]

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
        self._show(np.zeros(capacity, PARENT))

    def _show(self, table: NDArray[Any]) -> None:
        self.table = table
        for name in PARENT_COLUMNS:
            setattr(self, name, table[name])

    def room(self, count: int) -> int:
        """Make room for ``count`` more rows, which are zero; returns the first. ``n`` is for the caller to count on."""
        end = self.n + count
        if end > len(self.table):
            grown = np.zeros(max(end, 2 * len(self.table)), PARENT)
            grown[: self.n] = self.table[: self.n]
            self._show(grown)
        return self.n

    def append(self, count: int, **columns: Any) -> NDArray[np.int64]:
        """Add ``count`` rows; columns not given are zero. Returns the row numbers, (count,)."""
        unknown = columns.keys() - PARENT_COLUMNS.keys()
        if unknown:
            raise ValueError(f"columns {sorted(unknown)} do not exist, expected some of {sorted(PARENT_COLUMNS)}")
        first = self.room(count)
        self.n += count
        for name, values in columns.items():
            self.table[name][first : self.n] = values
        return np.arange(first, self.n)


def records(n: int) -> NDArray[Any]:
    """(n,) REC rows that refer to nothing."""
    out = np.zeros(n, REC)
    for name in ("order", "cl", "orig", "exec", "parent"):
        out[name] = -1
    return out


def join(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The rows of structured arrays of one dtype; those of a single one are not copied."""
    return parts[0] if len(parts) == 1 else join_rows(parts, parts[0].dtype)


def as_words(rows: NDArray[Any]) -> I64:
    """(n, k) the rows of a structured array (REC: 11 words) as 64-bit words, for copying them; a view."""
    return rows.view("<i8").reshape(-1, rows.dtype.itemsize // 8)


@compiled
def copy_row(to: I64, k: int, of: I64, i: int) -> None:
    """Row ``i`` of one table of words (``as_words``) becomes row ``k`` of another."""
    for word in range(REC_WORDS):
        to[k, word] = of[i, word]


@compiled
def _sort_out(
    recs: I64, n: int, until_ns: int, near_end: int, due: I64, when: I64, near: I64, far: I64, counts: I64
) -> None:
    """What of ``n`` records is due before ``until_ns``, what falls before ``near_end``, and what comes later. counts:
    rows that due, near and far hold; counted on. when: (n,) times of what is due."""
    for i in range(n):
        ts = recs[i, 0]
        if ts < until_ns:
            when[counts[0]] = ts
            copy_row(due, counts[0], recs, i)
            counts[0] += 1
        elif ts < near_end:
            copy_row(near, counts[1], recs, i)
            counts[1] += 1
        else:
            copy_row(far, counts[2], recs, i)
            counts[2] += 1


class _Pile:
    """Records one after the other in memory that grows; ``recs`` and ``words`` are two views of it."""

    def __init__(self, capacity: int = 4_096) -> None:
        self.n = 0
        self.recs = np.zeros(capacity, REC)
        self.words = as_words(self.recs)

    def reserve(self, n: int) -> None:
        """Make room for ``n`` more."""
        if self.n + n > len(self.recs):
            grown = np.zeros(2 * (self.n + n), REC)
            as_words(grown)[: self.n] = self.words[: self.n]
            self.recs, self.words = grown, as_words(grown)

    def held(self) -> NDArray[Any]:
        """(n,) REC, a view."""
        return self.recs[: self.n]


class Calendar:
    """Records waiting for their time; those of the coming second stand apart, so that a block looks at few.

    Of equal times, what was put since the last taking goes before what was there, and each in the order in which it
    was put: the bytes of every scenario depend on it."""

    def __init__(self, start_ns: int, near_ns: int = 1_000_000_000) -> None:
        self._near_ns = near_ns
        self._near_end = start_ns
        self._fresh, self._near, self._far = _Pile(), _Pile(), _Pile()
        self._spare, self._due = _Pile(), _Pile()
        self._when = np.zeros(0, np.int64)

    def room(self, n: int) -> NDArray[Any]:
        """(n,) REC to be written into from the start; ``wrote`` says how many became records."""
        self._fresh.reserve(n)
        return self._fresh.recs[self._fresh.n : self._fresh.n + n]

    def wrote(self, n: int) -> None:
        """The first ``n`` rows of ``room`` wait for their time; they are not to be changed afterwards."""
        self._fresh.n += n

    def add(self, recs: NDArray[Any]) -> None:
        """Put records of any times; copied."""
        n, fresh = len(recs), self._fresh
        fresh.reserve(n)
        fresh.words[fresh.n : fresh.n + n] = as_words(np.ascontiguousarray(recs, REC))
        fresh.n += n

    def take(self, until_ns: int) -> NDArray[Any]:
        """Remove and return what falls before ``until_ns``, in order of time."""
        fresh, near, far, spare, due = self._fresh, self._near, self._far, self._spare, self._due
        if until_ns > self._near_end:
            self._near_end = until_ns + self._near_ns
            self.add(far.held())
            far.n = 0
        most = fresh.n + near.n
        spare.reserve(most)
        due.reserve(most)
        far.reserve(most)
        if len(self._when) < most:
            self._when = np.zeros(2 * most, np.int64)
        counts = np.array([0, 0, far.n])
        for part in (fresh, near):
            _sort_out(
                part.words, part.n, until_ns, self._near_end, due.words, self._when, spare.words, far.words, counts
            )
        fresh.n = near.n = 0
        done, spare.n, far.n = counts.tolist()
        self._near, self._spare = spare, near
        order = self._when[:done].argsort(kind="stable")
        taken: NDArray[Any] = due.words.take(order, axis=0).view(REC).reshape(done)
        return taken

    def pending(self) -> NDArray[Any]:
        """Everything that waits, in no order; a copy."""
        words = [pile.words[: pile.n] for pile in (self._fresh, self._near, self._far)]
        found: NDArray[Any] = np.concatenate(words).view(REC).reshape(-1)
        return found
