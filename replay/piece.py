"""A piece of a log: rows in some memory, and which of them belong to which partition."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.arrow_rows import arrange
from schemas.events import EVENT, Batch
from schemas.topics import ORDERFLOW

Cut = tuple[int, int, int]
"""(partition, first row, row after the last)."""


class Room(NamedTuple):
    """Memory for n rows: (n,) EVENT, their offsets (int64) and items (int32)."""

    events: NDArray[Any]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]


class Piece(NamedTuple):
    """Rows, and the cuts that cover them."""

    room: Room
    cuts: list[Cut]


def room_of(rows: int) -> Room:
    """New memory."""
    return Room(np.empty(rows, EVENT), np.empty(rows, np.int64), np.empty(rows, np.int32))


def batches(piece: Piece) -> Iterator[Batch]:
    """A batch a cut, as views."""
    for partition, start, end in piece.cuts:
        part = slice(start, end)
        yield Batch(
            ORDERFLOW.name, partition, piece.room.events[part], piece.room.offsets[part], piece.room.items[part]
        )


def by_partition(where: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[Cut]]:
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


def by_run(where: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[Cut]]:
    """The same with the events left where they are: a cut for each run of one partition.

    >>> by_run(np.array([3, 0, 3, 3]))
    (array([0, 1, 2, 3]), [(3, 0, 1), (0, 1, 2), (3, 2, 4)])
    """
    edges = [0, *(np.flatnonzero(np.diff(where)) + 1).tolist(), len(where)]
    cuts = [(int(where[start]), start, end) for start, end in pairwise(edges)]
    return np.arange(len(where)), cuts


__all__ = ["Cut", "Piece", "Room", "batches", "by_partition", "by_run", "room_of"]
