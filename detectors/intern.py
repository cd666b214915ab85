"""Interning of fixed-width ids (ClOrdID, ExecID, symbol) into small integers.

An open-addressing hash table (linear probing, at most half full) worked by compiled loops, so that a pass over orders
can look ids up as it goes. About 15-25 ns an id.

Bounded and independent of batch cuts: an id is known from the event that inserted it until ``capacity`` later ids
have been inserted (first in, first out), whatever the table still holds physically.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, U64, Bools
from schemas.jit import Int, compiled, prefetch

_K0 = np.uint64(0x9E3779B97F4A7C15)
_K1 = np.uint64(0xC2B2AE3D27D4EB4F)
_K2 = np.uint64(0x165667B19E3779F9)
_S = np.uint64(29)
_HALF = np.uint64(32)
_ROWS_MIN = 1024
_AHEAD = 24
"""Ids for which memory is asked before they are entered anew."""
# a cell of the table: the upper half of the hash beside row + 1; zero is empty
_ROW = np.uint64(0xFFFFFFFF)
_TAG = np.uint64(0xFFFFFFFF00000000)
_EMPTY = np.uint64(0)
USED, DROPPED, CAPACITY = 0, 1, 2
"""Places in ``Slots.meta``: rows in use, ids dropped for good from the front, ids remembered."""


class Slots(NamedTuple):
    """An id table as the compiled loops see it."""

    table: U64
    """(2**k,) cells."""
    keys: U64
    """(rows, width) the ids, in order of insertion."""
    meta: I64


def words(column: NDArray[Any]) -> U64:
    """(n, 3) uint64 view of an S24 column, (n, 2) of an S16 or S12 one (the latter padded by zeros)."""
    n, width = len(column), column.dtype.itemsize
    if width % 8:
        column = column.astype(f"S{width + 8 - width % 8}")
    flat = np.ascontiguousarray(column)
    return flat.view(np.uint64).reshape(n, flat.dtype.itemsize // 8)


@compiled
def _hash(source: U64, i: int, at: int, width: int) -> Int:
    h = source[i, at] * _K0
    for w in range(1, width):
        h ^= h >> _S
        h += source[i, at + w]
        h *= _K1
    h ^= h >> _S
    h *= _K2
    h ^= h >> _HALF
    return h


@compiled
def _is(keys: U64, row: Int, source: U64, i: int, at: int) -> bool:
    """Whether a row holds the id in words ``at`` onwards of ``source[i]``."""
    w, width = 0, keys.shape[1]
    while w < width and keys[row, w] == source[i, at + w]:
        w += 1
    return bool(w == width)


@compiled
def _seek(slots: Slots, source: U64, i: int, at: int, h: Int) -> tuple[Int, Int]:
    """Physical row of an id (-1: absent) and the cell where the probe ended."""
    table, keys = slots.table, slots.keys
    mask = np.int64(len(table) - 1)
    cell = np.int64(h & np.uint64(mask))
    while True:
        entry = table[cell]
        if entry == _EMPTY:
            return -1, cell
        if ((entry ^ h) & _TAG) == _EMPTY:
            row = np.int64(entry & _ROW) - 1
            if _is(keys, row, source, i, at):
                return row, cell
        cell = (cell + 1) & mask


@compiled
def ahead(slots: Slots, source: U64, i: int, at: int) -> None:
    """Ask memory for the cell of an id that is looked up soon. In a table of a million ids each first look is a miss of
    the caches, and one after the other they take a fifth of the pass; asked for in a loop of their own they overlap."""
    h = _hash(source, i, at, slots.keys.shape[1])
    prefetch(slots.table, np.int64(h & np.uint64(len(slots.table) - 1)))


@compiled
def lookup(slots: Slots, source: U64, i: int, at: int) -> Int:
    """Row of the id in words ``at`` onwards of ``source[i]``, -1 where it is not known (any more)."""
    row, _ = _seek(slots, source, i, at, _hash(source, i, at, slots.keys.shape[1]))
    return row if row >= slots.meta[USED] - slots.meta[CAPACITY] else -1


@compiled
def lookup_near(slots: Slots, source: U64, i: int, at: int, row: Int) -> Int:
    """As ``lookup``, with two rows tried first, ``row`` and the next: what is answered in the order in which it was sent
    is found without a hash."""
    keys, used = slots.keys, slots.meta[USED]
    for near in range(max(row, used - slots.meta[CAPACITY], 0), min(row + 2, used)):
        if _is(keys, near, source, i, at):
            return near
    return lookup(slots, source, i, at)


@compiled
def enter(slots: Slots, source: U64, i: int, at: int) -> tuple[Int, bool]:
    """Row of the id, and True where it is new: then it gets the next row. The caller has reserved the room."""
    keys, meta = slots.keys, slots.meta
    width = keys.shape[1]
    h = _hash(source, i, at, width)
    row, cell = _seek(slots, source, i, at, h)
    used = meta[USED]
    if row >= 0 and row >= used - meta[CAPACITY]:
        return row, False
    for w in range(width):
        keys[used, w] = source[i, at + w]
    slots.table[cell] = (h & _TAG) | np.uint64(used + 1)
    meta[USED] = used + 1
    return used, True


@compiled
def _resolve(slots: Slots, ids: U64, insert: Bools, rows: I64, new: Bools) -> None:
    for i in range(len(ids)):
        if insert[i]:
            rows[i], new[i] = enter(slots, ids, i, 0)
        else:
            rows[i] = lookup(slots, ids, i, 0)


@compiled
def _fill(slots: Slots) -> None:
    """Enter all rows in use into an empty table; of an id that came back the later row counts."""
    table, keys, used = slots.table, slots.keys, slots.meta[USED]
    for row in range(used):
        if row + _AHEAD < used:
            ahead(slots, keys, row + _AHEAD, 0)
        h = _hash(keys, row, 0, keys.shape[1])
        _, cell = _seek(slots, keys, row, 0, h)
        table[cell] = (h & _TAG) | np.uint64(row + 1)


class IdTable:
    """Ids -> row numbers, with one array per column kept row by row beside the ids.

    capacity: ids remembered. width: 64-bit words of an id. columns: name -> dtype of the row's state (zero at first);
    "8i8" gives a row of eight numbers, which a loop that needs them all reads in one go.
    Row numbers are valid until the next ``reserve`` (``resolve`` makes one); ``row + dropped`` is an id's number for
    good. ``forgotten`` counts ids dropped for want of room.
    """

    def __init__(self, capacity: int, width: int, columns: dict[str, str] | None = None) -> None:
        self.capacity = capacity
        self._rows_max = 2 * capacity
        self._meta: I64 = np.array([0, 0, capacity], np.int64)
        rows = min(_ROWS_MIN, self._rows_max)
        self._keys: U64 = np.zeros((rows, width), np.uint64)
        self.cols: dict[str, NDArray[Any]] = {k: np.zeros(rows, t) for k, t in (columns or {}).items()}
        self.slots = Slots(np.zeros(0, np.uint64), self._keys, self._meta)
        self._rehash()

    @property
    def used(self) -> int:
        """Rows in use."""
        return int(self._meta[USED])

    @property
    def room(self) -> int:
        """Ids that can be entered before the table must be made larger, or its oldest ids dropped."""
        return len(self._keys) - self.used

    @property
    def dropped(self) -> int:
        """Ids that stood before row 0 and are gone."""
        return int(self._meta[DROPPED])

    @property
    def forgotten(self) -> int:
        """Ids no longer known, because ``capacity`` newer ones came after them."""
        return max(0, self.dropped + self.used - self.capacity)

    def name(self, row: int) -> str:
        """The id in a row, as text."""
        return bytes(self._keys[row].tobytes()).rstrip(b"\0").decode("ascii", "replace")

    def resolve(self, keys: U64, insert: Bools) -> tuple[I64, Bools]:
        """Rows of ids.

        keys: (n, width). insert: (n,) which events may introduce their id. Returns rows (n,), -1 where an id is not
        known *at that event*, and new (n,), True where the event introduced it. n <= capacity.
        """
        n = len(keys)
        rows, new = np.empty(n, np.int64), np.zeros(n, np.bool_)
        _resolve(self.reserve(n), keys, insert, rows, new)
        return rows, new

    def reserve(self, more: int) -> Slots:
        """The table with room for ``more`` ids; <= capacity."""
        if self.used + more > len(self._keys):
            self._make_room(more)
        return self.slots

    def _make_room(self, more: int) -> None:
        rows = len(self._keys)
        if rows < self._rows_max:
            while rows < min(self.used + more, self._rows_max):
                rows = min(2 * rows, self._rows_max)
            self._resize(rows)
        if self.used + more > rows:
            self._compact()

    def _resize(self, rows: int) -> None:
        used = self.used
        keys = np.zeros((rows, self._keys.shape[1]), np.uint64)
        keys[:used] = self._keys[:used]
        self._keys = keys
        for name, old in self.cols.items():
            column = np.zeros((rows, *old.shape[1:]), old.dtype)
            column[:used] = old[:used]
            self.cols[name] = column
        self._rehash()

    def _compact(self) -> None:
        used, kept = self.used, self.capacity
        gone = used - kept
        for array in (self._keys, *self.cols.values()):
            if 2 * gone < kept:
                array[:kept] = array[gone:used].copy()
            else:  # in two pieces, neither of which overlaps its place: nothing is copied on the way
                array[:gone] = array[gone : 2 * gone]
                array[gone:kept] = array[2 * gone : used]
        for column in self.cols.values():
            column[kept:used] = 0
        self._meta[USED] = kept
        self._meta[DROPPED] += gone
        self._rehash()

    def _rehash(self) -> None:
        size = 1 << (2 * len(self._keys) - 1).bit_length()
        table = self.slots.table
        if len(table) == size:
            table.fill(_EMPTY)
        else:
            table = np.zeros(size, np.uint64)
        self.slots = Slots(table, self._keys, self._meta)
        _fill(self.slots)

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot: the rows in use."""
        used = self.used
        return {
            "used": used,
            "dropped": self.dropped,
            "keys": self._keys[:used],
            "cols": {name: column[:used] for name, column in self.cols.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        used = state["used"]
        rows, width = len(self._keys), self._keys.shape[1]
        while rows < used:
            rows = min(2 * rows, self._rows_max)
        self._meta[USED], self._meta[DROPPED] = used, state["dropped"]
        self._keys = np.zeros((rows, width), np.uint64)
        self._keys[:used] = state["keys"]
        for name, saved in state["cols"].items():
            column = np.zeros((rows, *saved.shape[1:]), saved.dtype)
            column[:used] = saved
            self.cols[name] = column
        self._rehash()
