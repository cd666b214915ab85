"""Stage 1 of an offline replay in several processes, each with whole partitions.

A process reads the log itself, steps the engines of its partitions, merges their verdicts by the rule of
``replay.merge`` and sends them on; merging sorted parts of one total order gives that order, so the desk here takes in
what it would in one process, byte for byte. Nothing but verdicts goes between processes.
"""

import heapq
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import msgspec

from detectors.bank import Stage1
from detectors.config import Stage1Config
from replay.log import BATCH_ROWS, Findings, LogError, Selection
from replay.merge import Timed, stage1_stream
from replay.parquet import ParquetLog
from schemas.topics import ORDERFLOW

ROWS_MIN: Final = 1_000_000
"""Events below which starting another process (a second or two: interpreter, imports, machine code) gains nothing."""
CHUNK: Final = 512
"""Verdicts sent at once."""
AHEAD_CHUNKS_MAX: Final = 64
"""How far a process may be ahead of the desk: 32 thousand verdicts, some 30 MB."""
JOIN_S: Final = 5.0
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Timed]).decode


class _Done(msgspec.Struct):
    """The last word of a process: what reading turned up, or why it failed."""

    refused: dict[str, int] = {}
    bad_lines: int = 0
    first: list[tuple[int, str]] = []
    warnings: list[str] = []
    failed: str = ""


@dataclass(frozen=True)
class _Job:
    """What one process is told."""

    log: ParquetLog
    mine: frozenset[int]
    config: Stage1Config
    selection: Selection
    rows: int


def useful(log: object, wanted: int | None = None) -> int:
    """How many processes to use for a log: those ``wanted``, or as many as there are cores for a large one. Only Parquet
    files are read so (text takes longer to read than to score; a recording has its own order of things)."""
    if not isinstance(log, ParquetLog):
        return 1
    counts = log.counts()
    if wanted is None:
        wanted = len(os.sched_getaffinity(0)) if sum(counts.values()) >= ROWS_MIN else 1
    return max(1, min(wanted, len(counts)))


def shares(counts: Mapping[int, int], processes: int) -> list[frozenset[int]]:
    """Partitions of each process, the largest first to whoever has least.

    >>> shares({0: 5, 1: 9, 2: 3, 3: 2}, 2)
    [frozenset({1}), frozenset({0, 2, 3})]
    """
    found: list[tuple[int, list[int]]] = [(0, []) for _ in range(processes)]
    for partition, rows in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        k = min(range(processes), key=lambda i: found[i][0])
        found[k] = (found[k][0] + rows, [*found[k][1], partition])
    return [frozenset(mine) for _, mine in found if mine]


@contextmanager
def stage1_elsewhere(
    log: ParquetLog,
    config: Stage1Config,
    selection: Selection,
    processes: int,
    on_events: Callable[[int], None],
    rows: int = BATCH_ROWS,
) -> Iterator[Sequence[Iterator[Timed]]]:
    """Streams of verdicts, one a process, each in order. ``log.findings`` has everything when all are used up.

    LogError where a process fails or dies. No process outlives the context.
    """
    context = get_context("spawn")
    readers: list[_Reader] = []
    try:
        for mine in shares(log.counts(), processes):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(theirs, _Job(log, mine, config, selection, rows)))
            process.daemon = True
            process.start()
            theirs.close()
            readers.append(_Reader(process, ours, on_events, log.findings))
        yield [reader.stream() for reader in readers]
    finally:
        for reader in readers:
            reader.close()


class _Reader:
    """The parent's end: a thread takes what comes, so that a process works on while the desk is busy with others."""

    def __init__(
        self, process: BaseProcess, pipe: Connection, on_events: Callable[[int], None], findings: Findings
    ) -> None:
        self._process = process
        self._pipe = pipe
        self._on_events = on_events
        self._findings = findings
        self._chunks: queue.Queue[bytes] = queue.Queue(AHEAD_CHUNKS_MAX)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="replay-reader", daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while not self._closed.is_set():
            try:
                chunk = self._pipe.recv_bytes()
            except (EOFError, OSError):
                chunk = b""
            while not self._closed.is_set():
                with suppress(queue.Full):
                    self._chunks.put(chunk, timeout=0.2)
                    break
            if not chunk:
                return

    def stream(self) -> Iterator[Timed]:
        """Verdicts as they come. Each chunk is preceded by how many events were stepped for it."""
        while chunk := self._chunks.get():
            if chunk[:1] == b"D":
                self._finish(msgspec.msgpack.decode(chunk[1:], type=_Done))
                return
            self._on_events(int.from_bytes(chunk[1:9], "little"))
            yield from _decode(memoryview(chunk)[9:])
        self._process.join(JOIN_S)
        raise LogError(
            f"a process of the replay ended (exit code {self._process.exitcode}) before its part of the log was done; "
            "is the memory used up? --processes 1 needs least"
        )

    def _finish(self, done: _Done) -> None:
        if done.failed:
            raise LogError(done.failed)
        self._findings.refused.update(done.refused)
        for number, reason in done.first:
            self._findings.bad_line(number, reason)
        self._findings.bad_lines += done.bad_lines - len(done.first)
        self._findings.warnings += done.warnings

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._closed.set()
        if self._process.is_alive():
            self._process.terminate()
        self._process.join(JOIN_S)
        self._pipe.close()
        self._thread.join(JOIN_S)


def _work(pipe: Connection, job: _Job) -> None:
    """A process: its part of the log to its end, then what was found in it. Ctrl-C is the parent's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        findings = _send_all(pipe, job)
        first = [(line.number, line.reason) for line in findings.bad_lines_first]
        done = _Done(dict(findings.refused), findings.bad_lines, first, findings.warnings)
    except LogError as error:
        done = _Done(failed=str(error))
    with suppress(BrokenPipeError):  # nobody listens any more
        pipe.send_bytes(b"D" + _encode(done))
    pipe.close()


def _send_all(pipe: Connection, job: _Job) -> Findings:
    stepped = 0

    def count(events: int) -> None:
        nonlocal stepped
        stepped += events

    def stream(source: object) -> Iterator[Timed]:
        engine = Stage1(job.config, ORDERFLOW.name, source.partition)  # type: ignore[attr-defined]
        return stage1_stream(source, engine, job.selection, count, job.rows)  # type: ignore[arg-type]

    log = job.log
    sources = log.sources(job.mine)
    chunk: list[Timed] = []
    for timed in heapq.merge(*map(stream, sources)):
        chunk.append(timed)
        if len(chunk) == CHUNK:
            pipe.send_bytes(b"V" + stepped.to_bytes(8, "little") + _encode(chunk))
            chunk, stepped = [], 0
    pipe.send_bytes(b"V" + stepped.to_bytes(8, "little") + _encode(chunk))
    return log.findings


__all__ = ["shares", "stage1_elsewhere", "useful"]
