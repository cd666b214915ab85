"""Logs in text: ``.ndjson`` or ``.ndjson.gz``, one Kafka value a line.

A line is an order event (or an array of them), a ``nodes`` record or a ``declared`` record. Order events have a
``kind``; of the others, ``declared`` has a ``release``. Key is the server, partition what Kafka's default partitioner
gives that key, offset the line's place among the lines of its topic and partition: the coordinates that a plain
producer would have got by sending the lines to empty topics. Lines that are no such record at all (not JSON, not an
object, no server) are bad lines: they take no offset. Events that the codec refuses are counted by reason and keep
their offset, as on a topic.
"""

import gzip
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from replay.log import EventSource, Findings, LogError, Message, NodeRecord
from replay.partition import partition_of
from replay.spool import Budget, Spool
from schemas.codec import decode
from schemas.node_rules import problem
from schemas.records import Declared, NodeState
from schemas.topics import DECLARED, NODES, ORDERFLOW, PARTITIONS_DEFAULT
from schemas.units import S_NS

LINES_A_CHUNK: Final = 16_384
JUMP_NS_MAX: Final = 60 * S_NS
"""A stamp that is ahead of its neighbours by more does not move the arrival clock until the next one confirms it."""


class _Peek(msgspec.Struct):
    """The few fields that tell what a line is and where it goes."""

    server: str
    kind: Any = None
    release: Any = None
    build: Any = None
    gate: Any = None
    ts: Any = None


_peek = msgspec.json.Decoder(_Peek)
_peek_many = msgspec.json.Decoder(list[_Peek])
_node = msgspec.json.Decoder(NodeState)
_declared = msgspec.json.Decoder(Declared)


class ArrivalClock:
    """Where a record stands in time when its own stamp may be wrong: not before, and not long after, the record that
    arrived before it in its partition."""

    def __init__(self) -> None:
        self.now = 0
        self._doubtful = 0

    def see(self, ts: object) -> int:
        """Take the stamp of the next record in order of arrival; its arrival in ns, never going back."""
        if not isinstance(ts, int) or isinstance(ts, bool) or ts <= 0:
            return self.now
        if self.now and ts > self.now + JUMP_NS_MAX:
            confirmed = self._doubtful and abs(ts - self._doubtful) <= JUMP_NS_MAX
            self._doubtful = ts
            if not confirmed:
                return self.now
        self.now = max(self.now, ts)
        return self.now


class NdjsonLog:
    """A text log, read into one spool a partition.

    stop_on_bad_line: raise LogError at the first bad line instead of counting it.
    """

    def __init__(self, path: Path, partitions: int = PARTITIONS_DEFAULT, stop_on_bad_line: bool = False) -> None:
        self.path = path
        self.findings = Findings()
        self._partitions = partitions
        self._stop = stop_on_bad_line
        self._spools: dict[int, Spool] | None = None
        self._nodes: list[NodeRecord] = []

    def sources(self) -> list[EventSource]:
        """Read the file, once."""
        spools = self._read()
        return [spools[p] for p in sorted(spools)]

    def nodes(self) -> list[NodeRecord]:
        self._read()
        return self._nodes

    def messages(self) -> Iterator[Message]:
        """The lines as they would be sent: in the order of the file."""
        clock = ArrivalClock()
        for _, line, topic, partition, offset, peek in self._lines(Findings()):
            ts = clock.see(peek.ts)
            yield Message(topic, partition, offset, ts, ts // 1_000_000, peek.server.encode(), line)

    def _read(self) -> dict[int, Spool]:
        if self._spools is not None:
            return self._spools
        spools: dict[int, Spool] = {}
        self._spools = spools
        budget = Budget()
        clocks: defaultdict[int, ArrivalClock] = defaultdict(ArrivalClock)
        pending: dict[int, tuple[list[bytes], list[int]]] = {}
        waiting = 0
        for number, line, topic, partition, offset, peek in self._lines(self.findings):
            arrival = clocks[partition].see(peek.ts)
            if topic != ORDERFLOW.name:
                self._add_node(number, line, topic, partition, offset, arrival)
                continue
            values, offsets = pending.setdefault(partition, ([], []))
            values.append(line)
            offsets.append(offset)
            waiting += 1
            if waiting >= LINES_A_CHUNK:
                self._decode(pending, spools, budget)
                pending, waiting = {}, 0
        self._decode(pending, spools, budget)
        return spools

    def _decode(
        self, pending: dict[int, tuple[list[bytes], list[int]]], spools: dict[int, Spool], budget: Budget
    ) -> None:
        for partition, (values, offsets) in sorted(pending.items()):
            decoded = decode(ORDERFLOW.name, partition, values, offsets)
            self.findings.refused.update(letter.reason for letter in decoded.refused)
            if len(decoded.batch):
                if partition not in spools:
                    spools[partition] = Spool(ORDERFLOW.name, partition, budget)
                spools[partition].add(decoded.batch)

    def _add_node(self, number: int, line: bytes, topic: str, partition: int, offset: int, arrival: int) -> None:
        decoder = _declared if topic == DECLARED.name else _node
        try:
            record: NodeState | Declared = decoder.decode(line)
        except msgspec.ValidationError as error:
            self._bad(self.findings, number, f"not a {topic} record: {error}")
            return
        if (found := problem(record)) is not None:
            self.findings.refused[found[0].value] += 1
            return
        self._nodes.append(NodeRecord(topic, partition, offset, arrival, record))

    def _bad(self, findings: Findings, number: int, reason: str) -> None:
        if self._stop:
            raise LogError(
                f"{self.path}: line {number}: {reason}. Mend the line, or leave out --stop-on-bad-line to go on."
            )
        findings.bad_line(number, reason)

    def _lines(self, findings: Findings) -> Iterator[tuple[int, bytes, str, int, int, _Peek]]:
        """(line number, value, topic, partition, offset, peek) of every line that is a record."""
        offsets: Counter[tuple[str, int]] = Counter()
        for number, line in self._raw_lines(findings):
            if not line or line.isspace():
                continue
            try:
                peek = _peek_line(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._bad(findings, number, _explain(line, error))
                continue
            topic = ORDERFLOW.name
            if peek.kind is None and peek.release is not None:
                topic = DECLARED.name
            elif peek.kind is None and (peek.build is not None or peek.gate is not None):
                topic = NODES.name
            partition = partition_of(peek.server.encode(), self._partitions)
            yield number, line, topic, partition, offsets[topic, partition], peek
            offsets[topic, partition] += 1

    def _raw_lines(self, findings: Findings) -> Iterator[tuple[int, bytes]]:
        """Numbered lines without their ends; a compressed file that breaks off is a bad line of its own."""
        number = 0
        try:
            with _open(self.path) as file:
                for number, line in enumerate(file, 1):
                    yield number, line.rstrip(b"\r\n")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            reason = f"the gzip data is truncated or corrupt after line {number} ({error})"
            findings.warnings.append(f"{self.path}: {reason}")
            self._bad(findings, number + 1, reason)
        except OSError as error:
            raise LogError(f"{self.path}: cannot be read: {error.strerror or error}") from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def _peek_line(line: bytes) -> _Peek:
    """Fields of the record, or of the first one of an array."""
    if line.lstrip()[:1] == b"[":
        many = _peek_many.decode(line)
        if not many:
            raise msgspec.ValidationError("an empty array")
        return many[0]
    return _peek.decode(line)


def _explain(line: bytes, error: Exception) -> str:
    start = line[:60].decode("utf-8", "backslashreplace")
    return f"found {start!r}, expected an order event, nodes or declared record with a server ({error})"
