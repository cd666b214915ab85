"""The log that is a recording: a directory written by ``knightwatch record``, checked against its manifest."""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from replay.log import BATCH_ROWS, EventSource, Findings, LogError, Message, NodeRecord
from replay.ndjson import ArrivalClock
from replay.parquet import events_of, open_parquet, readable, rows_of
from schemas import arrow
from schemas.codec import encode_sbe
from schemas.events import Batch
from schemas.node_rules import problem
from schemas.recording import MANIFEST, TEMPORARY, FileEntry, Manifest, decode_manifest
from schemas.records import Declared, NodeState
from schemas.topics import DECLARED, NODES, ORDERFLOW

INPUTS = (ORDERFLOW.name, NODES.name, DECLARED.name)
"""Topics that other programs than ours write: what goes back into Kafka."""


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a recording; LogError if it is not one."""
    path = directory / MANIFEST
    try:
        return decode_manifest(path.read_bytes())
    except FileNotFoundError as error:
        raise LogError(f"{directory}: no {MANIFEST}; expected a directory written by `knightwatch record`") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise LogError(f"{path}: {error}. Record anew, or read it with the version that wrote it.") from error


@dataclass(frozen=True, slots=True)
class _Record:
    """One row of a topic that is not order flow."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class RecordedLog:
    """A recording. ``verify``: compare SHA-256 of every file with the manifest before anything is read."""

    def __init__(self, path: Path, verify: bool = True) -> None:
        self.path = path
        self.findings = Findings()
        self.manifest = read_manifest(path)
        self._check_files(verify)
        self._check_runs()

    def sources(self) -> list[EventSource]:
        """One source for each partition of ``orderflow`` that has files."""
        parts = sorted({entry.partition for entry in self._files(ORDERFLOW.name)})
        return [_RecordedSource(self, part) for part in parts]

    def nodes(self) -> list[NodeRecord]:
        """``nodes`` and ``declared`` records, placed by their own stamps within their partition."""
        found: list[NodeRecord] = []
        for topic, kind in ((NODES.name, NodeState), (DECLARED.name, Declared)):
            decoder: msgspec.json.Decoder[NodeState | Declared] = msgspec.json.Decoder(kind)
            for partition in self.partitions(topic):
                clock = ArrivalClock()
                for record in self.records(topic, partition):
                    try:
                        node = decoder.decode(record.value or b"")
                    except msgspec.DecodeError as error:
                        self.findings.bad_line(record.offset, f"{topic}-{partition}: {error}")
                        continue
                    if (wrong := problem(node)) is not None:
                        self.findings.refused[wrong[0].value] += 1
                        continue
                    found.append(NodeRecord(topic, partition, record.offset, clock.see(node.ts), node))
        return found

    def partitions(self, topic: str) -> list[int]:
        """Partitions of ``topic`` that have files."""
        return sorted({entry.partition for entry in self._files(topic)})

    def records(self, topic: str, partition: int = 0) -> Iterator[_Record]:
        """Records of a topic other than ``orderflow``, by offset."""
        for entry in self._files(topic, partition):
            path = self.path / entry.path
            with readable(path):
                file = open_parquet(path)
            for batch in rows_of(path, file, BATCH_ROWS, ["offset", "timestamp", "key", "value", "headers"]):
                columns = [batch.column(name) for name in ("offset", "timestamp", "key", "value", "headers")]
                stamps = columns[1].cast("int64").to_pylist()
                rows = zip(columns[0].to_pylist(), stamps, *(c.to_pylist() for c in columns[2:]), strict=True)
                for offset, stamp, key, value, headers in rows:
                    yield _Record(offset, stamp, key, value, _headers(headers))

    def messages(self) -> Iterator[Message]:
        """Records of the input topics by Kafka timestamp (never going back within a partition), topic, partition."""
        streams = [
            self._messages(rank, topic, partition)
            for rank, topic in enumerate(INPUTS)
            for partition in self.partitions(topic)
        ]
        for *_, message in heapq.merge(*streams):
            yield message

    def _messages(self, rank: int, topic: str, partition: int) -> Iterator[tuple[int, int, int, int, Message]]:
        records = self._order_records(partition) if topic == ORDERFLOW.name else self.records(topic, partition)
        latest = 0
        for place, r in enumerate(records):
            latest = max(latest, r.timestamp_ms)
            ts = latest * 1_000_000
            message = Message(topic, partition, r.offset, ts, r.timestamp_ms, r.key, r.value, r.headers)
            yield latest, rank, partition, place, message

    def _order_records(self, partition: int) -> Iterator[_Record]:
        """Records of ``orderflow`` put together again from the rows of their events."""
        columns = ["offset", "timestamp", "key", "value", "headers", "refused", *arrow.COLUMNS]
        head: _Record | None = None
        parts: list[bytes] = []
        for entry in self._files(ORDERFLOW.name, partition):
            path = self.path / entry.path
            with readable(path):
                file = open_parquet(path)
            for batch in rows_of(path, file, BATCH_ROWS, columns):
                for record, event in _event_rows(path, batch):
                    if head is not None and record.offset == head.offset:
                        parts.append(event)
                        continue
                    if head is not None:
                        yield _whole(head, parts)
                    head, parts = record, [event]
        if head is not None:
            yield _whole(head, parts)

    def _files(self, topic: str, partition: int | None = None) -> list[FileEntry]:
        """Entries of a topic (and partition), by partition and offset."""
        chosen = [f for f in self.manifest.files if f.topic == topic and partition in (None, f.partition)]
        return sorted(chosen, key=lambda entry: (entry.partition, entry.first_offset))

    def _check_files(self, verify: bool) -> None:
        for entry in self.manifest.files:
            path = self.path / entry.path
            if not path.is_file():
                raise LogError(
                    f"{path}: named in {MANIFEST} but missing. Restore it, or take its entry out to go without."
                )
            size = path.stat().st_size
            if size != entry.bytes:
                raise LogError(f"{path}: {size} bytes, {MANIFEST} says {entry.bytes}. The file was cut or changed.")
            if verify:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                if found != entry.sha256:
                    raise LogError(f"{path}: SHA-256 is {found}, {MANIFEST} says {entry.sha256}. The file was changed.")
        known = {entry.path for entry in self.manifest.files}
        for path in sorted(self.path.glob("*/*.parquet*")):
            name = path.relative_to(self.path).as_posix()
            if name not in known:
                state = "not finished" if name.endswith(TEMPORARY) else f"not in {MANIFEST}"
                self.findings.warnings.append(f"{name}: {state}, left out")

    def _check_runs(self) -> None:
        """Overlaps are an error; gaps that the recorder noted are told."""
        for topic in {entry.topic for entry in self.manifest.files}:
            for before, entry in pairwise(self._files(topic)):
                if entry.partition == before.partition and entry.first_offset <= before.last_offset:
                    raise LogError(
                        f"{self.path / entry.path}: begins at offset {entry.first_offset}, but {before.path} goes to "
                        f"{before.last_offset}. One of the two is not of this recording."
                    )
        for gap in self.manifest.gaps:
            self.findings.warnings.append(
                f"{gap.topic}-{gap.partition}: offsets {gap.first_offset} to {gap.last_offset} missing ({gap.reason})"
            )


class _RecordedSource:
    """The events of one partition of a recording; may be read again."""

    def __init__(self, log: RecordedLog, partition: int) -> None:
        self.partition = partition
        self._log = log
        self._entries = log._files(ORDERFLOW.name, partition)
        self.rows = sum(entry.rows for entry in self._entries)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """As ``EventSource``."""
        columns = ["offset", "item", "refused", *arrow.COLUMNS]
        for entry in self._entries:
            path = self._log.path / entry.path
            with readable(path):
                file = open_parquet(path)
            for raw in rows_of(path, file, rows, columns):
                kept, events = events_of(path, raw, self._log.findings)
                if len(events):
                    offsets = arrow.flat(kept.column("offset"), np.int64)
                    items = arrow.flat(kept.column("item"), np.int32)
                    yield Batch(ORDERFLOW.name, self.partition, events, offsets, items)


def _headers(headers: list[dict[str, Any]] | None) -> tuple[tuple[str, bytes], ...]:
    return tuple((header["key"], header["value"]) for header in headers or ())


def _event_rows(path: Path, batch: Any) -> Iterator[tuple[_Record, bytes]]:
    """(record as far as this row tells, SBE bytes of its event) of each row; no bytes for a refused one."""
    names = ("offset", "timestamp", "key", "value", "headers", "refused")
    offsets, stamps, keys, values, headers, refused = (batch.column(name) for name in names)
    is_event = refused.is_null().to_numpy(zero_copy_only=False)
    with readable(path):
        encoded = iter(arrow.from_arrow(batch.filter(refused.is_null())))
    places = zip(offsets.to_pylist(), stamps.cast("int64").to_pylist(), keys.to_pylist(), strict=True)
    bodies = zip(values.to_pylist(), headers.to_pylist(), is_event, strict=True)
    for (offset, stamp, key), (value, header, good) in zip(places, bodies, strict=True):
        event = encode_sbe(np.atleast_1d(next(encoded))) if good else b""
        yield _Record(offset, stamp, key, value, _headers(header)), event


def _whole(head: _Record, parts: list[bytes]) -> _Record:
    """The record with its value: as kept, or the SBE messages of its events."""
    if head.value is not None or not any(parts):
        return head
    return _Record(head.offset, head.timestamp_ms, head.key, b"".join(parts), head.headers)
