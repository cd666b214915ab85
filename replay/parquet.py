"""Parquet files of order events: reading them to columns, and the log that is one such file.

A file from ``knightwatch simulate --out FILE.parquet`` has the columns of ``schemas.arrow``, events of all servers in
the order in which they were made; partition and offset follow from the server as for a text log. A file out of a
recording has Kafka coordinates besides, and these count. Node and declared records of a simulated day stand beside it
in ``FILE.nodes.ndjson`` (FILE with or without its ending).
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from replay.log import BATCH_ROWS, EventSource, Findings, LogError, Message, NodeRecord
from replay.ndjson import NdjsonLog
from replay.partition import partition_of
from replay.spool import Budget, Spool
from schemas import arrow
from schemas.codec import encode_sbe
from schemas.events import Batch, take
from schemas.topics import ORDERFLOW, PARTITIONS_DEFAULT

PIECE_ROWS_MAX: Final = 131_072
"""Rows read at once before they are split by partition."""
COORDINATES: Final = ("partition", "offset", "item", "refused")


def log_stem(path: Path) -> Path:
    """``day.ndjson.gz``, ``day.ndjson`` and ``day.parquet`` -> ``day``: what stands beside a log has this name."""
    name = path.name
    for suffix in (".gz", ".ndjson", ".jsonl", ".parquet"):
        name = name.removesuffix(suffix)
    return path.with_name(name)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a bad file into a LogError that names it."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise LogError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError, arrow.ArrowSchemaError) as error:
        raise LogError(
            f"{path}: not a whole Parquet file of order events ({error}). A file that broke off (a killed writer, a "
            "full disk, a cut download) cannot be mended: take it again, or leave it out."
        ) from error


def open_parquet(path: Path) -> Any:
    """``pyarrow.parquet.ParquetFile`` with dictionary columns kept as such."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise LogError("reading Parquet needs pyarrow: pip install 'knightwatch[replay]'") from error
    metadata = pq.read_metadata(path)
    words = [name for name in metadata.schema.names if name in arrow.DICTIONARY_COLUMNS]
    return pq.ParquetFile(path, metadata=metadata, read_dictionary=words, page_checksum_verification=True)


def rows_of(path: Path, file: Any, rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """Record batches of at most ``rows`` rows; an error in the middle says how far it got."""
    done = 0
    with readable(path):
        for batch in file.iter_batches(batch_size=rows, columns=columns, use_threads=False):
            yield batch
            done += batch.num_rows


def events_of(path: Path, batch: Any, findings: Findings) -> tuple[Any, NDArray[Any]]:
    """(rows that are events, their (n,) EVENT) of a record batch; refused rows are counted in ``findings``."""
    names = batch.schema.names
    if "refused" in names and batch.column("refused").null_count < batch.num_rows:
        refused = batch.column("refused")
        findings.refused.update(reason for reason in refused.to_pylist() if reason is not None)
        batch = batch.filter(refused.is_null())
    with readable(path):
        return batch, arrow.from_arrow(batch)


class ParquetLog:
    """A log that is one Parquet file. Read front to back once; partitions wait in spools for their turn."""

    def __init__(self, path: Path, partitions: int = PARTITIONS_DEFAULT, stop_on_bad_line: bool = False) -> None:
        self.path = path
        self.findings = Findings()
        self._partitions = partitions
        self._stop = stop_on_bad_line
        self._only: NDArray[np.bool_] | None = None
        """(partitions,) which are read; None: all."""
        self._counts: dict[int, int] = {}
        with readable(path):
            self._file = open_parquet(path)
        names = self._file.schema_arrow.names
        missing = [name for name in arrow.COLUMNS if name not in names]
        if missing:
            raise LogError(
                f"{path}: no column {', '.join(missing)}; found {', '.join(names)}; expected the columns of order "
                f"events ({', '.join(arrow.COLUMNS)})"
            )
        self._columns = [*(name for name in COORDINATES if name in names), *arrow.COLUMNS]
        self._placed = "partition" in names and "offset" in names

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process it goes by name: it is opened anew there."""
        return ParquetLog, (self.path, self._partitions, self._stop)

    def counts(self) -> dict[int, int]:
        """Partition -> its rows."""
        if not self._counts:
            self._counts = self._counted()
        return self._counts

    def _counted(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        column = "partition" if self._placed else "server"
        for batch in rows_of(self.path, self._file, 1 << 20, [column]):
            with readable(self.path):
                where = self._where(batch)
            for partition, n in zip(*np.unique(where, return_counts=True), strict=True):
                counts[int(partition)] = counts.get(int(partition), 0) + int(n)
        return counts

    def sources(self, only: Collection[int] | None = None) -> list[EventSource]:
        """One source a partition (of those in ``only``); they share one pass over the file, so read each once."""
        counts = self.counts()
        if only is not None:
            counts = {partition: n for partition, n in counts.items() if partition in only}
            self._only = np.zeros(max(*self.counts(), 0) + 1, np.bool_)
            self._only[list(only)] = True
        shared = _SharedPass(self, counts)
        return [_SharedSource(shared, partition, n) for partition, n in sorted(counts.items())]

    def nodes(self) -> list[NodeRecord]:
        """Records of the sidecar file, if there is one."""
        stem = log_stem(self.path)
        places = [self.path.with_name(name + ".nodes.ndjson") for name in (self.path.name, stem.name)]
        beside = next((place for place in places if place.exists()), None)
        if beside is None:
            return []
        log = NdjsonLog(beside, self._partitions, self._stop)
        nodes = log.nodes()
        if log.sources():
            raise LogError(f"{beside}: holds order events; expected nodes and declared records only")
        self.findings.bad_lines += log.findings.bad_lines
        self.findings.bad_lines_first += log.findings.bad_lines_first
        return nodes

    def messages(self) -> Iterator[Message]:
        """Every event as an SBE message, in the order of the file."""
        for batch in self.placed_batches(BATCH_ROWS, Findings()):
            for i in range(len(batch)):
                event = batch.events[i : i + 1]
                ts = int(event["ts"][0])
                key = bytes(event["server"][0])
                offset = int(batch.offsets[i])
                yield Message(batch.topic, batch.partition, offset, ts, ts // 1_000_000, key, encode_sbe(event))

    def placed_batches(self, rows: int, findings: Findings) -> Iterator[Batch]:
        """Batches in the order of the file: runs of rows of one partition, cut so that no row overtakes another."""
        for where, batch in self._read(rows, findings):
            edges = np.flatnonzero(np.diff(where)) + 1
            for start, end in zip([0, *edges], [*edges, len(where)], strict=True):
                part = batch[int(start) : int(end)]
                yield Batch(ORDERFLOW.name, int(where[start]), part.events, part.offsets, part.items)

    def split_batches(self, rows: int, findings: Findings) -> Iterator[Batch]:
        """Batches by partition: the order holds within each partition only."""
        for where, batch in self._read(rows, findings):
            found = np.flatnonzero(np.bincount(where))
            if len(found) == 1:
                yield Batch(ORDERFLOW.name, int(found[0]), batch.events, batch.offsets, batch.items)
                continue
            for partition in found:
                mine = np.flatnonzero(where == partition)
                events = take(batch.events, mine)
                yield Batch(ORDERFLOW.name, int(partition), events, batch.offsets[mine], batch.items[mine])

    def _read(self, rows: int, findings: Findings) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """(partition of each row, rows) of consecutive pieces of the file."""
        next_offset: dict[int, int] = {}
        for raw in rows_of(self.path, self._file, rows, self._columns):
            if self._only is not None:
                with readable(self.path):
                    raw = self._of_ours(raw)
            kept, events = events_of(self.path, raw, findings)
            if not len(events):
                continue
            where = self._where(kept)
            if self._placed:
                offsets = np.asarray(kept.column("offset").to_numpy(zero_copy_only=False), np.int64)
            else:
                offsets = _count_up(where, next_offset)
            items = np.zeros(len(events), np.int32)
            if "item" in self._columns:
                items = np.asarray(kept.column("item").to_numpy(zero_copy_only=False), np.int32)
            yield where, Batch(ORDERFLOW.name, -1, events, offsets, items)

    def _of_ours(self, batch: Any) -> Any:
        """The rows of the partitions that are read."""
        import pyarrow as pa

        assert self._only is not None
        ours = self._only[self._where(batch)]
        return batch if ours.all() else batch.filter(pa.array(ours))

    def _where(self, batch: Any) -> NDArray[np.int64]:
        """Partition of each row."""
        if self._placed:
            return np.asarray(batch.column("partition").to_numpy(zero_copy_only=False), np.int64)
        servers = batch.column("server")
        if not hasattr(servers, "indices"):
            servers = servers.dictionary_encode()
        words = [str(word or "").encode() for word in servers.dictionary.to_pylist()]
        table = np.array([partition_of(word, self._partitions) for word in [*words, b""]], np.int64)
        picked: NDArray[np.int64] = table[servers.indices.fill_null(len(words)).to_numpy()]
        return picked


def _count_up(where: NDArray[np.int64], next_offset: dict[int, int]) -> NDArray[np.int64]:
    """Offsets that count up within each partition, going on from ``next_offset`` (which is moved on)."""
    offsets = np.empty(len(where), np.int64)
    for partition in np.flatnonzero(np.bincount(where)):
        mine = np.flatnonzero(where == partition)
        start = next_offset.get(int(partition), 0)
        offsets[mine] = np.arange(start, start + len(mine))
        next_offset[int(partition)] = start + len(mine)
    return offsets


class _SharedPass:
    """One pass over the file for all partitions: what is read before its turn waits in a spool."""

    def __init__(self, log: ParquetLog, counts: dict[int, int]) -> None:
        self._log = log
        budget = Budget()
        self._waiting = {partition: Spool(ORDERFLOW.name, partition, budget) for partition in counts}
        self._reader: Iterator[Batch] | None = None

    def next_of(self, partition: int, rows: int) -> Iterator[Batch]:
        """The next batches of one partition, at least one unless the file has ended."""
        if self._reader is None:
            piece = min(rows * len(self._waiting), PIECE_ROWS_MAX)
            self._reader = self._log.split_batches(piece, self._log.findings)
        found = False
        for batch in self._waiting[partition].take(rows):
            found = True
            yield batch
        while not found:
            read = next(self._reader, None)
            if read is None:
                return
            if read.partition == partition:
                found = True
                yield read
            else:
                self._waiting[read.partition].add(read)


class _SharedSource:
    """The ``EventSource`` of one partition in a shared pass."""

    def __init__(self, shared: _SharedPass, partition: int, rows: int) -> None:
        self.partition = partition
        self.rows = rows
        self._shared = shared

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """As ``EventSource``, once. Stops with the partition's last row, so that a quiet one does not read on."""
        left = self.rows
        while left > 0:
            before = left
            for batch in self._shared.next_of(self.partition, rows):
                left -= len(batch)
                yield batch
            if left == before:
                return
