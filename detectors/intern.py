"""Interning of fixed-width ids (ClOrdID, ExecID, symbol) into small integers, a whole batch at a time.

An open-addressing hash table (linear probing) worked by numpy: probes run over all pending ids at once, and ids new in
the batch are told apart by scattering their positions into the table and reading back who won. About 50-100 ns an id.

Bounded and independent of batch cuts: an id is known from the event that inserted it until ``capacity`` later ids
have been inserted (first in, first out), whatever the table still holds physically.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, U64, Bools, where

_K0 = np.uint64(0x9E3779B97F4A7C15)
_K1 = np.uint64(0xC2B2AE3D27D4EB4F)
_K2 = np.uint64(0x165667B19E3779F9)
_S = np.uint64(29)
_ROWS_MIN = 1024
# a cell of the table: 31 bits of the hash beside row + 1; zero is empty; negative is a claim by an event
_ROW = np.uint64(0xFFFFFFFF)
_TAG = np.uint64(0x7FFFFFFF00000000)
_POSITIVE = np.uint64(0x7FFFFFFFFFFFFFFF)
_CLAIM = np.int64(-(1 << 63))


def words(column: NDArray[Any]) -> U64:
    """(n, 3) uint64 view of an S24 column, (n, 2) of an S16 or S12 one (the latter padded by zeros)."""
    n, width = len(column), column.dtype.itemsize
    if width % 8:
        column = column.astype(f"S{width + 8 - width % 8}")
    flat = np.ascontiguousarray(column)
    return flat.view(np.uint64).reshape(n, flat.dtype.itemsize // 8)


def _hash(keys: U64) -> U64:
    h: U64 = keys[:, 0] * _K0
    for i in range(1, keys.shape[1]):
        h ^= h >> _S
        h += keys[:, i]
        h *= _K1
    h ^= h >> _S
    h *= _K2
    h ^= h >> np.uint64(32)
    h &= _POSITIVE
    return h


class IdTable:
    """Ids -> row numbers, with one array per column kept row by row beside the ids.

    capacity: ids remembered. width: 64-bit words of an id. columns: name -> dtype of the row's state (zero at first).
    Row numbers are valid until the next ``resolve``; ``row + dropped`` is an id's number for good. ``forgotten`` counts
    ids dropped for want of room.
    """

    def __init__(self, capacity: int, width: int, columns: dict[str, str] | None = None) -> None:
        self.capacity = capacity
        self.width = width
        self._rows_max = 2 * capacity
        self.used = 0
        self.dropped = 0
        rows = min(_ROWS_MIN, self._rows_max)
        self._keys: U64 = np.zeros((rows, width), np.uint64)
        self.cols: dict[str, NDArray[Any]] = {k: np.zeros(rows, t) for k, t in (columns or {}).items()}
        self._rehash()

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
        rows = np.full(n, -1, np.int64)
        new = np.zeros(n, np.bool_)
        if n == 0:
            return rows, new
        asks, looks = where(insert), where(~insert)
        used = self.used
        if len(asks):
            self._reserve(len(asks))
            used = self.used
            ids = keys[asks]
            tags = _hash(ids)
            found, cell = self._find(ids, tags)
            floor = used + n - self.capacity
            if floor > 0 and bool(((found >= 0) & (found < floor)).any()):
                return self._resolve_reused(keys, insert)
            want = where(found < 0)
            if len(want):
                new[asks[self._insert(ids, tags, cell, want, found)]] = True
            rows[asks] = found
        if len(looks):
            ids = keys[looks]
            rows[looks] = self._find(ids, _hash(ids))[0]
            count = used + np.cumsum(new)[looks]
            seen = rows[looks]
            rows[looks[(seen >= count) | (seen < count - self.capacity)]] = -1
        return rows, new

    def _resolve_reused(self, keys: U64, insert: Bools) -> tuple[I64, Bools]:
        """The rare case that an id comes back about when it is forgotten: halve, down to single events."""
        n = len(keys)
        if n > 1:
            half = n // 2
            a_rows, a_new = self.resolve(keys[:half], insert[:half])
            dropped = self.dropped
            b_rows, b_new = self.resolve(keys[half:], insert[half:])
            a_rows[a_rows >= 0] -= self.dropped - dropped
            return np.concatenate([a_rows, b_rows]), np.concatenate([a_new, b_new])
        tags = _hash(keys)
        rows, cell = self._find(keys, tags)
        if rows[0] >= self.used - self.capacity:
            return rows, np.zeros(1, np.bool_)
        row = self.used
        self._keys[row] = keys[0]
        self._table[cell[0]] = (tags[0] & _TAG) | np.uint64(row + 1)
        self.used += 1
        return np.array([row]), np.ones(1, np.bool_)

    def _find(self, keys: U64, tags: U64) -> tuple[I64, I64]:
        """Rows (-1: absent) and the cell where each probe ended."""
        table, mask = self._table, self._mask
        cell = (tags & mask).view(np.int64)
        entry = table[cell]
        pending = where((entry != 0) & ((entry ^ tags) > _ROW))
        while len(pending):
            probe = (cell[pending] + 1) & self._imask
            cell[pending] = probe
            now = table[probe]
            entry[pending] = now
            pending = pending[(now != 0) & ((now ^ tags[pending]) > _ROW)]
        rows = (entry & _ROW).view(np.int64) - 1
        stored = self._keys[rows]
        same = stored[:, 0] == keys[:, 0]
        for w in range(1, self.width):
            same &= stored[:, w] == keys[:, w]
        if not same.all():
            for i in where(~same & (rows >= 0)):  # equal 32-bit tags of different ids: one in 2**32
                rows[i], cell[i] = self._find_exact(keys[i], int(cell[i]))
        return rows, cell

    def _find_exact(self, key: U64, cell: int) -> tuple[int, int]:
        mask = int(self._imask)
        while True:
            entry = int(self._table[cell])
            row = (entry & 0xFFFFFFFF) - 1
            if row < 0 or bool((self._keys[row] == key).all()):
                return row, cell
            cell = (cell + 1) & mask

    def _insert(self, keys: U64, tags: U64, cell: I64, want: I64, rows: I64) -> I64:
        """Give rows, in order of first appearance, to the absent ids at ``want`` (ascending); returns the firsts."""
        table = self._table
        owner = np.full(len(keys), -1, np.int64)
        home = np.empty(len(keys), np.int64)
        pending, spot = want, cell[want]
        while len(pending):
            free = table[spot] == 0
            claim, place = pending[free][::-1], spot[free][::-1]
            table[place] = (claim + _CLAIM).view(np.uint64)  # reversed: of several claims the first event's stays
            code = table[spot].view(np.int64)
            claimed = code < 0
            winner = np.where(claimed, code - _CLAIM, 0)
            same = claimed & (tags[winner] == tags[pending])
            for w in range(self.width):
                same &= keys[winner, w] == keys[pending, w]
            done = pending[same]
            owner[done] = winner[same]
            home[done] = spot[same]
            pending, spot = pending[~same], (spot[~same] + 1) & self._imask
        firsts: I64 = want[owner[want] == want]
        fresh = np.arange(self.used, self.used + len(firsts))
        rows[firsts] = fresh
        rows[want] = rows[owner[want]]
        self._keys[fresh] = keys[firsts]
        table[home[firsts]] = (tags[firsts] & _TAG) | (fresh + 1).view(np.uint64)
        self.used += len(firsts)
        return firsts

    def _place(self, fresh: I64) -> None:
        """Enter rows whose ids are distinct and not in the table."""
        table = self._table
        tags = _hash(self._keys[fresh])
        entry = (tags & _TAG) | (fresh + 1).view(np.uint64)
        spot = (tags & self._mask).view(np.int64)
        while len(entry):
            free = table[spot] == 0
            table[spot[free]] = entry[free]
            lost = table[spot] != entry
            entry, spot = entry[lost], (spot[lost] + 1) & self._imask

    def _reserve(self, more: int) -> None:
        rows = len(self._keys)
        if self.used + more <= rows:
            return
        if rows < self._rows_max:
            while rows < min(self.used + more, self._rows_max):
                rows = min(2 * rows, self._rows_max)
            self._resize(rows)
        if self.used + more > rows:
            self._compact()

    def _resize(self, rows: int) -> None:
        keys = np.zeros((rows, self.width), np.uint64)
        keys[: self.used] = self._keys[: self.used]
        self._keys = keys
        for name, old in self.cols.items():
            column = np.zeros(rows, old.dtype)
            column[: self.used] = old[: self.used]
            self.cols[name] = column
        self._rehash()

    def _compact(self) -> None:
        gone = self.used - self.capacity
        for array in (self._keys, *self.cols.values()):
            array[: self.capacity] = array[gone : self.used].copy()
            array[self.capacity :] = 0
        self.used = self.capacity
        self.dropped += gone
        self._rehash()

    def _rehash(self) -> None:
        size = 1 << (2 * len(self._keys) - 1).bit_length()
        self._mask, self._imask = np.uint64(size - 1), np.int64(size - 1)
        self._table: U64 = np.zeros(size, np.uint64)
        if self.used:
            self._place(np.arange(self.used))

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
        self.used, self.dropped = state["used"], state["dropped"]
        rows = len(self._keys)
        while rows < self.used:
            rows = min(2 * rows, self._rows_max)
        self._keys = np.zeros((rows, self.width), np.uint64)
        self._keys[: self.used] = state["keys"]
        for name, saved in state["cols"].items():
            column = np.zeros(rows, saved.dtype)
            column[: self.used] = saved
            self.cols[name] = column
        self._rehash()
