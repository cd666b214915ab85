"""A piece of a log: rows in some memory, and which of them belong to which partition."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.arrow_rows import arrange
from schemas.events import EVENT, Batch
from schemas.topics import ORDERFLOW

LANES_MAX: Final = 4_096
"""Servers x partitions up to which the rows of a piece are put together by both."""
Cut = tuple[int, int, int]
"""(partition, first row, row after the last)."""
Who = tuple[NDArray[np.int32], int]
"""(n,) which server's each event is, and how many servers there are."""
Lane = tuple[Batch, NDArray[np.int64]]
"""Events of one server, and their places."""


class Room(NamedTuple):
    """Memory for n rows: (n,) EVENT, their offsets (int64), items (int32) and places in the log, counted from the first
    row of the piece on (int64)."""

    events: NDArray[Any]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    places: NDArray[np.int64]


KINDS: Final[tuple[np.dtype[Any], ...]] = (EVENT, np.dtype("<i8"), np.dtype("<i4"), np.dtype("<i8"))
"""Of a room's columns."""


class Piece(NamedTuple):
    """Rows, and the cuts that cover them."""

    room: Room
    cuts: list[Cut]


def room_of(rows: int) -> Room:
    """New memory."""
    return Room(*(np.empty(rows, kind) for kind in KINDS))


def batches(piece: Piece) -> Iterator[Batch]:
    """A batch a cut, as views."""
    for partition, start, end in piece.cuts:
        part = slice(start, end)
        yield Batch(
            ORDERFLOW.name, partition, piece.room.events[part], piece.room.offsets[part], piece.room.items[part]
        )


def lanes(piece: Piece) -> dict[int, list[Lane]]:
    """By partition, a batch a cut with the places of its events, as views."""
    found: dict[int, list[Lane]] = {}
    for batch, (partition, start, end) in zip(batches(piece), piece.cuts, strict=True):
        found.setdefault(partition, []).append((batch, piece.room.places[start:end]))
    return found


def by_partition(where: NDArray[np.int64], _: Who | None = None) -> tuple[NDArray[np.int64], list[Cut]]:
    """(row to which each event goes, cuts), one cut a partition; within a partition the order stays. where: (n,)
    partition of each event.

    >>> by_partition(np.array([3, 0, 3]))
    (array([1, 0, 2]), [(0, 0, 1), (3, 1, 3)])
    """
    counts = np.bincount(where)
    found = np.flatnonzero(counts)
    ends = np.cumsum(counts[found])
    cuts = [(int(p), int(end - counts[p]), int(end)) for p, end in zip(found, ends, strict=True)]
    return arrange(where, counts) if len(found) > 1 else np.arange(len(where)), cuts


def by_server(where: NDArray[np.int64], who: Who) -> tuple[NDArray[np.int64], list[Cut]]:
    """The same with a cut for each server of each partition; where they are too many, one a partition.

    >>> by_server(np.array([3, 0, 3, 3]), (np.array([1, 0, 0, 1], np.int32), 2))
    (array([2, 0, 1, 3]), [(0, 0, 1), (3, 1, 2), (3, 2, 4)])
    """
    which, servers = who
    if servers * (int(where.max()) + 1) > LANES_MAX:
        return by_partition(where)
    at, cuts = by_partition(where * servers + which)
    return at, [(lane // servers, start, end) for lane, start, end in cuts]


def by_run(where: NDArray[np.int64], _: Who | None = None) -> tuple[NDArray[np.int64], list[Cut]]:
    """The same with the events left where they are: a cut for each run of one partition.

    >>> by_run(np.array([3, 0, 3, 3]))
    (array([0, 1, 2, 3]), [(3, 0, 1), (0, 1, 2), (3, 2, 4)])
    """
    edges = [0, *(np.flatnonzero(np.diff(where)) + 1).tolist(), len(where)]
    cuts = [(int(where[start]), start, end) for start, end in pairwise(edges)]
    return np.arange(len(where)), cuts


__all__ = [
    "KINDS",
    "Cut",
    "Lane",
    "Piece",
    "Room",
    "Who",
    "batches",
    "by_partition",
    "by_run",
    "by_server",
    "lanes",
    "room_of",
]
