"""The files of a recording: one Parquet writer a partition, and the manifest, which only ever names finished files.

Safe on kill: a file is written under a temporary name, brought to disk, renamed, and only then entered in the manifest,
which is replaced as a whole. What a kill leaves behind is taken away at the next start, and read again from Kafka.
"""

import fcntl
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas import arrow
from schemas.codec import decode, encode_sbe
from schemas.recording import (
    EVENT_SCHEMA,
    FORMAT,
    MANIFEST,
    TEMPORARY,
    FileEntry,
    Gap,
    Manifest,
    Session,
    decode_manifest,
    encode_manifest,
    parquet_options,
    record_schema,
)
from schemas.topics import ORDERFLOW

ROW_GROUP_ROWS: Final = 65_536
CONVERT_RECORDS: Final = 8_192
"""Records that wait as Python objects before they become columns."""


class RecorderError(Exception):
    """Recording cannot begin or go on: says what was found, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """One record as it was read."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: after a crash the old or the new file stands there, whole."""
    temporary = path.with_name(path.name + TEMPORARY)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Recording:
    """The directory: opened new or to go on, locked against a second recorder, its manifest kept."""

    def __init__(self, directory: Path, prefix: str, partitions: dict[str, int], session: Session) -> None:
        """RecorderError if the directory holds something else, or what was recorded from other topics."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(directory)
        try:
            self.manifest = self._begin(prefix, partitions, session)
        except BaseException:
            self._lock.close()
            raise

    def next_offset(self, topic: str, partition: int) -> int | None:
        """The offset after the last one recorded; None if there is none yet."""
        last = [f.last_offset for f in self.manifest.files if (f.topic, f.partition) == (topic, partition)]
        return max(last) + 1 if last else None

    def add_files(self, entries: Sequence[FileEntry]) -> None:
        """Enter finished files."""
        if entries:
            self._write(msgspec.structs.replace(self.manifest, files=(*self.manifest.files, *entries)))

    def add_gap(self, gap: Gap) -> None:
        """Note that offsets are missing."""
        self._write(msgspec.structs.replace(self.manifest, gaps=(*self.manifest.gaps, gap)))

    def close(self, ended_ns: int) -> None:
        """Note the end of the session, and let go of the directory."""
        ended = msgspec.structs.replace(self.manifest.sessions[-1], ended_ns=ended_ns)
        self._write(msgspec.structs.replace(self.manifest, sessions=(*self.manifest.sessions[:-1], ended)))
        self._lock.close()

    def _begin(self, prefix: str, partitions: dict[str, int], session: Session) -> Manifest:
        path = self.directory / MANIFEST
        fresh = Manifest(FORMAT, EVENT_SCHEMA, prefix, partitions, (session,))
        if not path.exists():
            others = [p.name for p in self.directory.iterdir() if not p.name.startswith(".")]
            if any(name != MANIFEST + TEMPORARY for name in others):
                raise RecorderError(
                    f"{self.directory}: holds {others[0]!r} but no {MANIFEST}; "
                    "expected an empty directory or a recording"
                )
            self._write(fresh)
            return fresh
        try:
            old = decode_manifest(path.read_bytes())
        except (msgspec.DecodeError, ValueError) as error:
            raise RecorderError(f"{path}: {error}. Record into another directory.") from error
        if (old.prefix, old.partitions) != (prefix, partitions):
            raise RecorderError(
                f"{path}: recorded from prefix {old.prefix!r} with partitions {old.partitions}; the broker now has "
                f"prefix {prefix!r} with {partitions}. Record into another directory."
            )
        self._clean(old)
        manifest = msgspec.structs.replace(old, sessions=(*old.sessions, session))
        self._write(manifest)
        return manifest

    def _clean(self, manifest: Manifest) -> None:
        """Take away what a killed recorder left: unfinished files, and finished ones that were not entered yet."""
        known = {self.directory / entry.path for entry in manifest.files}
        for topic in manifest.partitions:
            for path in (self.directory / topic).glob("*.parquet*"):
                if path not in known:
                    path.unlink()

    def _write(self, manifest: Manifest) -> None:
        write_atomically(self.directory / MANIFEST, encode_manifest(manifest))
        self.manifest = manifest


@dataclass
class PartitionFile:
    """The file of one partition that is being written. Records come in by offset; ``close`` finishes it."""

    directory: Path
    topic: str
    partition: int
    opened_ns: int
    rows: int = 0
    records: int = 0
    _pending: list[KafkaRecord] = field(default_factory=list)
    _batches: list[Any] = field(default_factory=list)
    _first: int = -1
    _last: int = -1
    _stamps: tuple[int, int] = (1 << 62, 0)
    _writer: Any = None

    def add(self, records: Sequence[KafkaRecord]) -> None:
        """Take the next records of the partition."""
        if not records:
            return
        if self._first < 0:
            self._first = records[0].offset
        self._last = records[-1].offset
        self.records += len(records)
        stamps = [record.timestamp_ms for record in records]
        self._stamps = (min(self._stamps[0], *stamps), max(self._stamps[1], *stamps))
        self._pending.extend(records)
        if len(self._pending) >= CONVERT_RECORDS:
            self._convert()

    @property
    def size(self) -> int:
        """Rows so far, counting a record that waits as one."""
        return self.rows + len(self._pending)

    def close(self) -> FileEntry:
        """Finish the file: to disk, renamed, hashed. The caller enters it in the manifest."""
        self._convert()
        self._write_group()
        self._writer.close()
        temporary = self._path(TEMPORARY)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = self._path("")
        temporary.replace(path)
        sync_directory(path.parent)
        name = path.relative_to(self.directory).as_posix()
        size = path.stat().st_size
        offsets = (self._first, self._last)
        counts = (self.records, self.rows)
        return FileEntry(name, self.topic, self.partition, *offsets, *counts, size, digest, *self._stamps)

    def _path(self, suffix: str) -> Path:
        return self.directory / self.topic / f"{self.partition}-{self._first:020d}.parquet{suffix}"

    def _convert(self) -> None:
        if not self._pending:
            return
        build = order_rows if self.topic == ORDERFLOW.name else plain_rows
        batch = build(self.topic, self.partition, self._pending)
        self._pending = []
        self.rows += batch.num_rows
        self._batches.append(batch)
        if sum(b.num_rows for b in self._batches) >= ROW_GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        events = self.topic == ORDERFLOW.name
        if self._writer is None:
            self._path("").parent.mkdir(exist_ok=True)
            self._writer = pq.ParquetWriter(self._path(TEMPORARY), record_schema(events), **parquet_options(events))
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches).unify_dictionaries())
            self._batches = []


def plain_rows(topic: str, partition: int, records: Sequence[KafkaRecord]) -> Any:
    """``pyarrow.RecordBatch`` of ``record_schema(False)``, a row a record."""
    import pyarrow as pa

    everything = np.arange(len(records))
    columns = _coordinates(topic, partition, records, everything)
    columns.append(pa.array([record.value for record in records], pa.binary()))
    return pa.RecordBatch.from_arrays(columns, schema=record_schema(False))


def order_rows(topic: str, partition: int, records: Sequence[KafkaRecord]) -> Any:
    """``pyarrow.RecordBatch`` of ``record_schema(True)``, a row an event and one for each refusal."""
    import pyarrow as pa

    values = [record.value for record in records]
    offsets = np.array([record.offset for record in records], np.int64)
    decoded = decode(topic, partition, values, [int(offset) for offset in offsets])
    good = decoded.batch
    where = np.concatenate([good.offsets, np.array([letter.offset for letter in decoded.refused], np.int64)])
    items = np.concatenate([good.items, np.array([letter.item for letter in decoded.refused], np.int32)])
    order = np.lexsort((items, where))
    of_record = np.searchsorted(offsets, where[order])
    first = np.ones(len(order), np.bool_)
    first[1:] = of_record[1:] != of_record[:-1]
    kept = [None if exact else value for exact, value in zip(_exact(good, values, offsets), values, strict=True)]
    columns = _coordinates(topic, partition, records, of_record)
    columns.append(pa.array(kept, pa.binary()).take(pa.array(np.where(first, of_record, 0), mask=~first)))
    columns.append(pa.array(items[order], pa.int32()))
    reasons = pa.array([letter.reason for letter in decoded.refused], pa.string())
    refused = order - len(good)
    columns.append(reasons.take(pa.array(np.maximum(refused, 0), mask=refused < 0)))
    events = arrow.to_arrow(good.events).columns
    if decoded.refused:
        events = [column.take(pa.array(order, mask=refused >= 0)) for column in events]
    columns += events
    return pa.RecordBatch.from_arrays(columns, schema=record_schema(True))


def _exact(good: Any, values: Sequence[bytes | None], offsets: NDArray[np.int64]) -> list[bool]:
    """For each record, whether its value is the SBE messages of its events and nothing else."""
    starts = np.searchsorted(good.offsets, offsets, "left")
    ends = np.searchsorted(good.offsets, offsets, "right")
    size = good.events.dtype.itemsize
    data = memoryview(encode_sbe(good.events))
    return [
        value is not None and value == data[start * size : end * size]
        for value, start, end in zip(values, starts.tolist(), ends.tolist(), strict=True)
    ]


def _coordinates(topic: str, partition: int, records: Sequence[KafkaRecord], of_record: NDArray[Any]) -> list[Any]:
    """Columns topic, partition, offset, timestamp, key and headers, a row for each index in ``of_record``."""
    import pyarrow as pa

    n = len(of_record)
    picked = pa.array(of_record)
    headers_type = record_schema(False).field("headers").type
    headers: Any = pa.nulls(n, headers_type)
    if any(record.headers for record in records):
        pairs = [[{"key": key, "value": value} for key, value in record.headers] for record in records]
        headers = pa.array(pairs, headers_type).take(picked)
    stamps = np.array([record.timestamp_ms for record in records], np.int64)
    return [
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([topic])),
        pa.array(np.full(n, partition, np.int32)),
        pa.array(np.array([record.offset for record in records], np.int64)[of_record]),
        pa.array(stamps[of_record]).cast(pa.timestamp("ms", tz="UTC")),
        pa.array([record.key for record in records], pa.binary()).take(picked),
        headers,
    ]


def _lock(directory: Path) -> IO[bytes]:
    """Hold ``.lock`` until closed (or killed); RecorderError if another recorder holds it."""
    file = (directory / ".lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise RecorderError(
            f"{directory}: another recorder writes here. End it, or choose another directory."
        ) from error
    return file
