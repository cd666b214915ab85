"""Parquet files of order events: reading them to columns, and the log that is one such file.

A file from ``knightwatch simulate --out FILE.parquet`` has the columns of ``schemas.arrow``, events of all servers in
the order in which they were made; partition and offset follow from the server as for a text log. A file out of a
recording has Kafka coordinates besides, and these count. Node and declared records of a simulated day stand beside it
in ``FILE.nodes.ndjson`` (FILE with or without its ending).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from replay.log import BATCH_ROWS, EventSource, Findings, LogError, Message, NodeRecord
from replay.ndjson import NdjsonLog
from replay.partition import partition_of
from replay.piece import Cut, Piece, Room, Who, batches, by_partition, by_run, room_of
from replay.shared_pass import shared_sources
from schemas import arrow, arrow_rows
from schemas.codec import encode_sbe
from schemas.events import Batch
from schemas.topics import PARTITIONS_DEFAULT

PIECE_ROWS: Final = 32_768
"""Rows that are put together by partition, and handed on."""
READ_ROWS: Final = 131_072
"""Rows that pyarrow decodes at once: of fewer, what it does once for each column is a sixth of the time."""
Divide = Callable[[NDArray[np.int64], Who], tuple[NDArray[np.int64], list[Cut]]]
"""How the rows of a piece are put: ``replay.piece.by_partition``, ``by_server`` or ``by_run``."""
PARTITIONS_MAX: Final = 1 << 16
"""More than any topic has; a column that is damaged would ask for memory for as many as it says."""
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
        import pyarrow.compute  # noqa: F401 - else the thread that reads would load it, while others load other things
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


def without_refused(batch: Any, findings: Findings) -> Any:
    """The rows of a record batch that are events; the refused ones are counted in ``findings``."""
    if "refused" not in batch.schema.names:
        return batch
    refused = batch.column("refused")
    if refused.null_count == batch.num_rows:
        return batch
    findings.refused.update(reason for reason in refused.to_pylist() if reason is not None)
    return batch.filter(refused.is_null())


def events_of(path: Path, batch: Any, findings: Findings) -> tuple[Any, NDArray[Any]]:
    """(rows that are events, their (n,) EVENT) of a record batch; refused rows are counted in ``findings``."""
    kept = without_refused(batch, findings)
    with readable(path):
        return kept, arrow.from_arrow(kept)


class ParquetLog:
    """A log that is one Parquet file. Read front to back once; partitions wait in spools for their turn."""

    def __init__(self, path: Path, partitions: int = PARTITIONS_DEFAULT, stop_on_bad_line: bool = False) -> None:
        self.path = path
        self.findings = Findings()
        self.partitions = partitions
        self._stop = stop_on_bad_line
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

    @property
    def rows(self) -> int:
        """All of them, refused ones too."""
        return int(self._file.metadata.num_rows)

    def counts(self) -> dict[int, int]:
        """Partition -> its rows."""
        if not self._counts:
            self._counts = self._counted()
        return self._counts

    def _counted(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        column = "partition" if self._placed else "server"
        for batch in rows_of(self.path, self._file, READ_ROWS, [column]):
            with readable(self.path):
                where = self._partitions(batch) if self._placed else self._homes(*_servers(batch))
            for partition, n in enumerate(np.bincount(where).tolist()):
                if n:
                    counts[partition] = counts.get(partition, 0) + n
        return counts

    def sources(self) -> list[EventSource]:
        """One source a partition; they share one pass over the file, so read each once."""
        counts = self.counts()
        return shared_sources(self.split_batches(PIECE_ROWS, self.findings), counts)

    def nodes(self) -> list[NodeRecord]:
        """Records of the sidecar file, if there is one."""
        stem = log_stem(self.path)
        places = [self.path.with_name(name + ".nodes.ndjson") for name in (self.path.name, stem.name)]
        beside = next((place for place in places if place.exists()), None)
        if beside is None:
            return []
        log = NdjsonLog(beside, self.partitions, self._stop)
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
        for piece in self.pieces(rows, findings, divide=by_run):
            yield from batches(piece)

    def split_batches(self, rows: int, findings: Findings) -> Iterator[Batch]:
        """Batches by partition: the order holds within each partition only."""
        for piece in self.pieces(rows, findings):
            yield from batches(piece)

    def pieces(
        self, rows: int, findings: Findings, room: Callable[[int], Room] = room_of, divide: Divide = by_partition
    ) -> Iterator[Piece]:
        """Consecutive pieces of at most ``rows`` rows, each in the memory that ``room(n)`` gives for it."""
        following = np.zeros(1 if self._placed else self.partitions, np.int64)
        counted = np.empty(rows, np.int64)
        ramp = np.arange(rows)
        decoder = arrow.Decoder()
        for read in rows_of(self.path, self._file, max(rows, READ_ROWS), self._columns):
            kept = without_refused(read, findings)
            if not kept.num_rows:
                continue
            with readable(self.path):
                servers, words = _servers(kept)
                everywhere = self._partitions(kept) if self._placed else self._homes(servers, words)
                events = decoder.decoded(kept)
                offsets = arrow.flat(kept.column("offset"), np.int64) if self._placed else None
                items = arrow.flat(kept.column("item"), np.int32) if "item" in self._columns else None
            for start in range(0, kept.num_rows, rows):
                part = slice(start, start + rows)
                where = everywhere[part]
                at, cuts = divide(where, (servers[part], len(words) + 1))
                into = room(n := len(where))
                with readable(self.path):
                    events.into(into.events, at, start)
                if offsets is None:
                    arrow_rows.number(where, following, counted)
                    into.offsets[at] = counted[:n]
                else:
                    into.offsets[at] = offsets[part]
                into.places[at] = ramp[:n]
                if items is None:
                    into.items[:] = 0
                else:
                    into.items[at] = items[part]
                yield Piece(into, cuts)

    def _partitions(self, batch: Any) -> NDArray[np.int64]:
        """Partition of each row, as the file says."""
        column = batch.column("partition")
        found = arrow.flat(column.fill_null(-1) if column.null_count else column, np.int32).astype(np.int64)
        if len(found) and not 0 <= found.min() <= found.max() < PARTITIONS_MAX:
            raise LogError(
                f"{self.path}: partition {found.min()} to {found.max()} (-1: null); expected 0 to {PARTITIONS_MAX - 1}. "
                "Mend the column, or leave partition and offset out to have them follow from the server."
            )
        return found

    def _homes(self, servers: NDArray[np.int32], words: Any) -> NDArray[np.int64]:
        """Partition of each row, as it follows from its server."""
        names = [str(word or "").encode() for word in words.to_pylist()]
        table = np.array([partition_of(name, self.partitions) for name in [*names, b""]], np.int64)
        picked: NDArray[np.int64] = table[servers]
        return picked


def _servers(batch: Any) -> tuple[NDArray[np.int32], Any]:
    """Which word of a dictionary the server of each row is (none is one more than there are), and the dictionary."""
    column = batch.column("server")
    servers = column if hasattr(column, "indices") else column.dictionary_encode()
    return arrow.indices(servers), servers.dictionary
