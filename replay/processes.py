"""Stage 1 of an offline replay in several processes, each with whole partitions.

One thread here reads the log, once, into a ring in shared memory (``replay.ring``). A process steps the engines of its
partitions on what it finds there, server by server, and sends their verdicts on (``replay.chunks``). Here they are put in
the order of their events, and those of all partitions by the rule of ``replay.merge``: that is one total order, so the
desk takes in what it would in one process, byte for byte.

The desk asks for the verdicts in that order, and until one partition has come so far, what the others have said waits
here, in memory or a file (``replay.backlog``): a process that were not listened to would not give its slot of the ring
back.

A process takes a second to begin, most of it imports: ``replay.forks`` takes it once for all, and beside other work.
"""

import fcntl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import numpy as np

from detectors.config import Stage1Config
from detectors.rows import Said
from replay import forks
from replay.backlog import Backlog
from replay.chunks import DONE, partition_of, read, written
from replay.log import BATCH_ROWS, LogError, Selection
from replay.merge import Place, Stream
from replay.parquet import PIECE_ROWS, ParquetLog
from replay.piece import Lane, Piece, Room, by_partition, by_server, lanes
from replay.ring import Feed, Outlet, Ring, fed
from schemas import collector
from schemas.topics import ORDERFLOW

ROWS_MIN: Final = 1_000_000
"""Events below which starting another process (a second or two: interpreter, imports, machine code) gains nothing."""
TOGETHER: Final = 4
"""Pieces of which a process says what it has found in one go: whoever is told so often is kept from his work."""
PIPE_BYTES: Final = 1 << 20
"""Of the pipe for a process's verdicts: of the usual 64 KiB a chunk may be several readings, for each of which the inbox's
thread has to wait for the others of its process."""
SWITCH_S: Final = 0.0005
"""Threads here wait for each other at most this long. The reader and the inboxes do little in Python, but often; while the
desk is at work, each time took them Python's 5 ms, and the processes waited with them."""
JOIN_S: Final = 5.0
Streams = Callable[[Callable[[int], None]], Sequence[Stream]]
"""Given whom to tell how many events were stepped: verdicts, a stream a partition, each in order."""


@dataclass(frozen=True)
class _Job:
    """What a process is told. rows: of each of its partitions."""

    rows: Mapping[int, int]
    config: Stage1Config
    selection: Selection


def useful(log: object, wanted: int | None = None) -> int:
    """How many processes to use for a log: those ``wanted``, or as many as there are cores for a large one. Only Parquet
    files are read so (text takes longer to read than to score; a recording has its own order of things)."""
    if not isinstance(log, ParquetLog):
        return 1
    return min(forks.processes_for(log.rows >= ROWS_MIN, wanted), log.partitions)


def shares(counts: Mapping[int, int], processes: int) -> list[frozenset[int]]:
    """Partitions of each process, the largest first to whoever has least; none, if there are not so many.

    >>> shares({0: 5, 1: 9, 2: 3, 3: 2}, 2)
    [frozenset({1}), frozenset({0, 2, 3})]
    >>> shares({4: 5}, 2)
    [frozenset({4}), frozenset()]
    """
    found: list[tuple[int, list[int]]] = [(0, []) for _ in range(processes)]
    for partition, rows in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        k = min(range(processes), key=lambda i: found[i][0])
        found[k] = (found[k][0] + rows, [*found[k][1], partition])
    return [frozenset(mine) for _, mine in found]


@contextmanager
def stage1_elsewhere(
    log: ParquetLog,
    config: Stage1Config,
    selection: Selection,
    processes: int,
    rows: int = BATCH_ROWS,
) -> Iterator[Streams]:
    """Streams of verdicts. ``log.findings`` has everything when all are used up.

    LogError where the log cannot be read or a process dies. No process outlives the context.
    """
    context = forks.begin()
    ring = Ring(context, min(PIECE_ROWS, rows))
    outlets: list[Outlet] = []
    inboxes: list[_Inbox] = []
    reader = _ReaderThread(log, ring, outlets)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        with forks.ctrl_c_later():
            reader.start()
        counts = log.counts()
        reader.go.set()
        with forks.ctrl_c_later():
            for mine in shares(counts, processes):
                (verdicts, give), (slots, take) = context.Pipe(duplex=False), context.Pipe()
                with suppress(AttributeError, OSError):  # no Linux, or the user may not: slower, no more
                    fcntl.fcntl(give.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
                job = _Job({partition: counts[partition] for partition in mine}, config, selection)
                process = context.Process(target=_work, args=(give, take, ring, job), daemon=True)
                process.start()
                give.close()
                take.close()
                outlets.append(Outlet(slots, mine))
                inboxes.append(_Inbox(process, verdicts, mine))
            reader.there.set()
        yield lambda on_events: [stream for inbox in inboxes for stream in inbox.streams(on_events)]
    finally:
        for inbox in inboxes:
            inbox.close()
        reader.close()
        sys.setswitchinterval(interval)


class _ReaderThread(threading.Thread):
    """Makes itself ready at once; reads from ``go`` on, and from ``there`` on into the ring, until the end of the log or
    until nobody is left who takes it."""

    def __init__(self, log: ParquetLog, ring: Ring, outlets: list[Outlet]) -> None:
        super().__init__(name="replay-reader", daemon=True)
        self._log = log
        self._ring = ring
        self._feed = Feed(ring, outlets)
        self._error: BaseException | None = None
        self.go = threading.Event()
        """Nobody else reads the log any more."""
        self.there = threading.Event()
        """All outlets are there."""

    def run(self) -> None:
        try:
            self._feed.run(self._pieces)
        except BaseException as error:
            self._error = error

    def _pieces(self, room: Callable[[int], Room]) -> Iterator[Piece]:
        def when_there(rows: int) -> Room:
            self.there.wait()
            return room(rows)

        try:
            by_partition(np.arange(2))  # what is compiled is loaded at its first call, which takes a fifth of a second
            self.go.wait()
            yield from self._log.pieces(self._ring.rows, self._log.findings, when_there, by_server)
        finally:
            self.there.wait()  # what has gone wrong is told to the outlets, so to all of them

    def close(self) -> None:
        """Wait for the end, which comes when the processes have ended; raise what went wrong."""
        self.there.set()
        self.go.set()
        if self.ident is not None:
            self.join()
        if self._error is not None:
            raise self._error


class _Inbox:
    """The parent's end of one process: a thread takes whatever comes, at once, and puts it by partition."""

    def __init__(self, process: BaseProcess, pipe: Connection, mine: frozenset[int]) -> None:
        self._process = process
        self._pipe = pipe
        self._backlogs = {partition: Backlog() for partition in sorted(mine)}
        self._thread = threading.Thread(target=self._receive, name="replay-inbox", daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while (chunk := self._next())[:1] not in (DONE, b""):
            try:
                self._backlogs[partition_of(chunk)].put(chunk)
            except OSError as error:
                chunk = DONE + f"verdicts that wait for their turn went to a temporary file, and {error}".encode()
                break
        for backlog in self._backlogs.values():
            backlog.put_last(chunk)

    def _next(self) -> bytes:
        """A chunk; nothing where the process is gone, in the middle of one or not."""
        try:
            return self._pipe.recv_bytes()
        except (EOFError, OSError):
            return b""

    def streams(self, on_events: Callable[[int], None]) -> list[Stream]:
        """Verdicts as they come, by partition."""
        return [self._stream(Place(partition), backlog, on_events) for partition, backlog in self._backlogs.items()]

    def _stream(self, place: Place, backlog: Backlog, on_events: Callable[[int], None]) -> Stream:
        while (chunk := backlog.get())[:1] not in (DONE, b""):
            last, events, pieces = read(chunk)
            on_events(events)
            yield from map(place.of, pieces)
            if last:
                return
        if not chunk:
            self._process.join(JOIN_S)
            raise LogError(
                f"a process of the replay ended (exit code {self._process.exitcode}) before its part of the log was done; "
                "is the memory used up? --processes 1 needs least"
            )
        if len(chunk) > 1:
            raise LogError(chunk[1:].decode())

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._process.terminate()
        self._process.join(JOIN_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._thread.join()
        self._pipe.close()
        for backlog in self._backlogs.values():
            backlog.close()


def _work(give: Connection, take: Connection, ring: Ring, job: _Job) -> None:
    """A process: its part of the log to its end; the last word is why it failed, if it did. A parent that is gone ends
    it."""
    collector.calm()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            _send_all(give, fed(ring, take), job)
            failed = ""
        except LogError as error:
            failed = str(error)
        give.send_bytes(DONE + failed.encode())


def _send_all(give: Connection, pieces: Iterator[Piece], job: _Job) -> None:
    """Piece by piece, what each partition has in it; the last word of a partition that has no more events says so."""
    from detectors.bank import Stage1  # the server has it; whoever only starts processes need not load it

    engines = {partition: Stage1(job.config, ORDERFLOW.name, partition) for partition in job.rows}
    left = dict(job.rows)
    heard: dict[int, tuple[int, list[Said]]] = {}
    for k, piece in enumerate(pieces, 1):
        for partition, mine in lanes(piece).items():
            left[partition] -= sum(len(batch) for batch, _ in mine)
            said = Said()
            events, before = heard.pop(partition, (0, []))
            for batch, places in _chosen(mine, job.selection):
                engines[partition].take(batch, places, said)
                events += len(batch)
            heard[partition] = events, [*before, said]
        for partition in list(heard) if k % TOGETHER == 0 else [p for p in heard if not left[p]]:
            give.send_bytes(written(partition, left[partition] == 0, *heard.pop(partition)))
    for partition, rest in heard.items():
        give.send_bytes(written(partition, True, *rest))


def _chosen(mine: Sequence[Lane], selection: Selection) -> list[Lane]:
    """The events that are wanted, of servers in the order in which they begin."""
    if selection:
        picked = [(batch, places, selection.of(batch)) for batch, places in mine]
        mine = [(batch.pick(at), places[at]) for batch, places, at in picked if at is not None and len(at)]
    return sorted(mine, key=lambda lane: int(lane[1][0]))


__all__ = ["Streams", "shares", "stage1_elsewhere", "useful"]
