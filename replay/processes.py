"""Stage 1 of an offline replay in several processes, each with whole partitions.

One thread here reads the log, once, into a ring in shared memory (``replay.ring``). A process steps the engines of its
partitions on what it finds there, merges their verdicts by the rule of ``replay.merge`` and sends them on; merging sorted
parts of one total order gives that order, so the desk here takes in what it would in one process, byte for byte.

The desk asks for the verdicts in that order, and until one process has come so far, what the others send waits here, in
memory or a file (``replay.backlog``): a process that were not listened to would not give its slot of the ring back.

A process takes a second to begin, most of it imports: ``replay.forks`` takes it once for all, and beside other work.
"""

import fcntl
import heapq
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import msgspec

from detectors.config import Stage1Config
from replay import forks
from replay.backlog import Backlog
from replay.log import BATCH_ROWS, EventSource, LogError, Selection
from replay.merge import Stage1Like, Timed, stage1_stream
from replay.parquet import PIECE_ROWS, ParquetLog
from replay.ring import Feed, Outlet, Ring, fed
from replay.shared_pass import shared_sources
from schemas import collector
from schemas.topics import ORDERFLOW

ROWS_MIN: Final = 1_000_000
"""Events below which starting another process (a second or two: interpreter, imports, machine code) gains nothing."""
CHUNK: Final = 512
"""Verdicts sent at once."""
PIPE_BYTES: Final = 1 << 20
"""Of the pipe for a process's verdicts: a chunk is some 400 KB, and of the usual 64 KiB seven readings, for each of which
the inbox's thread has to wait for the others of its process."""
SWITCH_S: Final = 0.0005
"""Threads here wait for each other at most this long. The reader and the inboxes do little in Python, but often; while the
desk is at work, each time took them Python's 5 ms, and the processes waited with them."""
JOIN_S: Final = 5.0
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Timed]).decode
Streams = Callable[[Callable[[int], None]], Sequence[Iterator[Timed]]]
"""Given whom to tell how many events were stepped: verdicts, a stream a process, each in order."""


@dataclass(frozen=True)
class _Job:
    """What a process is told. rows: of each of its partitions."""

    rows: Mapping[int, int]
    config: Stage1Config
    selection: Selection
    batch_rows: int


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
    counts = log.counts()
    context = forks.begin()
    ring = Ring(context, min(PIECE_ROWS, rows))
    outlets: list[Outlet] = []
    inboxes: list[_Inbox] = []
    reader = _ReaderThread(log, ring, outlets)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        with forks.ctrl_c_later():
            for mine in shares(counts, processes):
                (verdicts, give), (slots, take) = context.Pipe(duplex=False), context.Pipe()
                with suppress(AttributeError, OSError):  # no Linux, or the user may not: slower, no more
                    fcntl.fcntl(give.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
                job = _Job({partition: counts[partition] for partition in mine}, config, selection, rows)
                process = context.Process(target=_work, args=(give, take, ring, job), daemon=True)
                process.start()
                give.close()
                take.close()
                outlets.append(Outlet(slots, mine))
                inboxes.append(_Inbox(process, verdicts))
            reader.start()
        yield lambda on_events: [inbox.stream(on_events) for inbox in inboxes]
    finally:
        for inbox in inboxes:
            inbox.close()
        reader.close()
        sys.setswitchinterval(interval)


class _ReaderThread(threading.Thread):
    """Reads the log into the ring, until its end or until nobody is left who takes it."""

    def __init__(self, log: ParquetLog, ring: Ring, outlets: list[Outlet]) -> None:
        super().__init__(name="replay-reader", daemon=True)
        self._log = log
        self._ring = ring
        self._feed = Feed(ring, outlets)
        self._error: BaseException | None = None

    def run(self) -> None:
        log = self._log
        try:
            self._feed.run(lambda room: log.pieces(self._ring.rows, log.findings, room))
        except BaseException as error:
            self._error = error

    def close(self) -> None:
        """Wait for the end, which comes when the processes have ended; raise what went wrong."""
        if self.ident is not None:
            self.join()
        if self._error is not None:
            raise self._error


class _Inbox:
    """The parent's end of one process: a thread takes whatever comes, at once."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self._process = process
        self._pipe = pipe
        self._backlog = Backlog()
        self._thread = threading.Thread(target=self._receive, name="replay-inbox", daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        chunk = b"V"
        while chunk:
            try:
                chunk = self._pipe.recv_bytes()
            except (EOFError, OSError):
                chunk = b""
            try:
                self._backlog.put(chunk)
            except OSError as error:
                self._backlog.put(f"Dverdicts that wait for their turn went to a temporary file, and {error}".encode())
                return

    def stream(self, on_events: Callable[[int], None]) -> Iterator[Timed]:
        """Verdicts as they come. Each chunk is preceded by how many events were stepped for it."""
        while chunk := self._backlog.get():
            if chunk[:1] == b"D":
                if len(chunk) > 1:
                    raise LogError(chunk[1:].decode())
                return
            on_events(int.from_bytes(chunk[1:9], "little"))
            yield from _decode(memoryview(chunk)[9:])
        self._process.join(JOIN_S)
        raise LogError(
            f"a process of the replay ended (exit code {self._process.exitcode}) before its part of the log was done; "
            "is the memory used up? --processes 1 needs least"
        )

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._process.terminate()
        self._process.join(JOIN_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._thread.join()
        self._pipe.close()
        self._backlog.close()


def _work(give: Connection, take: Connection, ring: Ring, job: _Job) -> None:
    """A process: its part of the log to its end; the last word is why it failed, if it did. A parent that is gone ends
    it."""
    from detectors.bank import Stage1  # the server has it; whoever only starts processes need not load it

    collector.calm()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            engines = {partition: Stage1(job.config, ORDERFLOW.name, partition) for partition in job.rows}
            _send_all(give, shared_sources(fed(ring, take), job.rows), engines, job)
            failed = ""
        except LogError as error:
            failed = str(error)
        give.send_bytes(b"D" + failed.encode())


def _send_all(give: Connection, sources: Sequence[EventSource], engines: Mapping[int, Stage1Like], job: _Job) -> None:
    """engines: by partition."""
    stepped = 0

    def count(events: int) -> None:
        nonlocal stepped
        stepped += events

    def stream(source: EventSource) -> Iterator[Timed]:
        return stage1_stream(source, engines[source.partition], job.selection, count, job.batch_rows)

    chunk: list[Timed] = []
    for timed in heapq.merge(*map(stream, sources)):
        chunk.append(timed)
        if len(chunk) == CHUNK:
            give.send_bytes(b"V" + stepped.to_bytes(8, "little") + _encode(chunk))
            chunk, stepped = [], 0
    give.send_bytes(b"V" + stepped.to_bytes(8, "little") + _encode(chunk))


__all__ = ["Streams", "shares", "stage1_elsewhere", "useful"]
