"""Events from one reader to several processes, through a ring of slots in shared memory.

A slot holds a piece of the log: its rows, put together by partition and server. The reader fills a slot, tells each
process that has partitions in it which rows they are, and fills it again when each of these has said that it is done with
it. A process looks at its rows where they are; nothing is copied on the way.

**Nothing waits in a circle.** The reader waits for the processes only: for the slowest to give a slot back. So a process
may wait for nothing but the reader: it gives its slot back before it asks for the next, and whoever takes its results must
take them at once, whatever others are at (``replay.backlog``). The slots bound how far one process is ahead of another in
*reading*; a log that is not in order of time, all of one partition before all of another, fills the backlog, and ends.

**Nothing is left behind.** The memory has no name (``RawArray``: an unlinked file, mapped), there are no semaphores: slots
go to and fro by pipes, which end when either side does, killed or not. A dead process is no longer waited for.
"""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any, Final

import msgspec
import numpy as np

from replay.log import LogError
from replay.piece import KINDS, Cut, Piece, Room

SLOTS: Final = 12
"""100 MB. With four, the process with the loudest server had one core and nobody the other for a twentieth of the time."""
ROW_BYTES: Final = sum(kind.itemsize for kind in KINDS)


class Told(msgspec.Struct, array_like=True):
    """To a process: which rows of a slot are its own; slot -1 is the end of the log, or why it could not be read on."""

    slot: int
    cuts: list[Cut] = []
    failed: str = ""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Told).decode


class Ring:
    """``slots`` slots of ``rows`` events each. To a process it is given when that is started."""

    def __init__(self, context: BaseContext, rows: int, slots: int = SLOTS) -> None:
        self.rows = rows
        self.slots = slots
        self._memory: Any = context.RawArray(ctypes.c_byte, slots * rows * ROW_BYTES)

    def room(self, slot: int, rows: int) -> Room:
        """Where the first ``rows`` rows of a slot are."""
        assert 0 <= slot < self.slots, f"slot {slot} of {self.slots}"
        assert rows <= self.rows, f"{rows} rows for a slot of {self.rows}"
        at = slot * self.rows * ROW_BYTES
        columns = []
        for kind in KINDS:
            columns.append(np.frombuffer(self._memory, kind, rows, at))
            at += self.rows * kind.itemsize
        return Room(*columns)


@dataclass
class Outlet:
    """The reader's end towards one process: the pipe, its partitions, and the slots it has not given back."""

    pipe: Connection
    mine: frozenset[int]
    holds: set[int] = field(default_factory=set)


class Nobody(Exception):
    """All processes are gone or done: no need to read on."""


class Feed:
    """The reader's side. Not more than one thread may use it."""

    def __init__(self, ring: Ring, outlets: list[Outlet]) -> None:
        self._ring = ring
        self._outlets = outlets
        self._slot = -1

    def run(self, pieces: Callable[[Callable[[int], Room]], Iterator[Piece]]) -> None:
        """Hand out all of ``pieces(room)``, where ``room(n)`` is the next slot, when it is free; return when every process
        has closed its end. A LogError that stops it is told to the processes; any other error is raised."""
        try:
            self._hand_out(pieces(self._free))
            for outlet in list(self._outlets):
                while outlet in self._outlets:  # closing on slots that come back now would take the last word with it
                    self._take_back(outlet)
        finally:
            for outlet in list(self._outlets):
                self._drop(outlet)

    def _hand_out(self, pieces: Iterator[Piece]) -> None:
        end = Told(-1)
        try:
            for piece in pieces:
                for outlet in list(self._outlets):
                    if cuts := [cut for cut in piece.cuts if cut[0] in outlet.mine]:
                        self._tell(outlet, Told(self._slot, cuts))
        except Nobody:
            return
        except LogError as error:
            end = Told(-1, failed=str(error))
        for outlet in list(self._outlets):
            self._tell(outlet, end)

    def _free(self, rows: int) -> Room:
        self._slot = (self._slot + 1) % self._ring.slots
        for outlet in list(self._outlets):
            while self._slot in outlet.holds:
                self._take_back(outlet)
        if not self._outlets:
            raise Nobody
        return self._ring.room(self._slot, rows)

    def _take_back(self, outlet: Outlet) -> None:
        try:
            outlet.holds.discard(outlet.pipe.recv_bytes()[0])
        except (EOFError, OSError):
            self._drop(outlet)

    def _tell(self, outlet: Outlet, told: Told) -> None:
        try:
            outlet.pipe.send_bytes(_encode(told))
        except OSError:
            self._drop(outlet)
        else:
            outlet.holds.add(told.slot)

    def _drop(self, outlet: Outlet) -> None:
        outlet.pipe.close()
        outlet.holds.clear()
        self._outlets.remove(outlet)


def fed(ring: Ring, pipe: Connection) -> Iterator[Piece]:
    """A process's side: its part of each piece, good until the next is asked for. LogError where reading failed, EOFError
    where the reader is gone."""
    while (told := _decode(pipe.recv_bytes())).slot >= 0:
        end = max(end for _, _, end in told.cuts)
        yield Piece(ring.room(told.slot, end), told.cuts)
        pipe.send_bytes(bytes([told.slot]))
    if told.failed:
        raise LogError(told.failed)


__all__ = ["Feed", "Outlet", "Ring", "fed"]
