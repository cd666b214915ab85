"""The form of a recording: a directory of Parquet files, and the manifest that says what they hold.

    DIR/manifest.json                      ``Manifest``; replaced as a whole, always names only finished files
    DIR/<topic>/<partition>-<first offset>.parquet

Every file holds consecutive records of one partition, with their Kafka coordinates. A file of ``orderflow`` has one
row an event, with the typed columns of ``schemas.arrow``; one of another topic has one row a record. ``value`` holds
the bytes of the record, but is null in ``orderflow`` where the columns give the same bytes back as SBE (``exact``).
Where a record holds several events, ``value`` stands in the row of the first. A row with ``refused`` set is no event:
it says why the codec refused it.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas import arrow

MANIFEST: Final = "manifest.json"
TEMPORARY: Final = ".tmp"
"""Suffix of a file that is not finished; such files are not part of the recording."""
FORMAT: Final = "knightwatch-recording/1"
EVENT_SCHEMA: Final = arrow.SCHEMA_NAME.decode()


class FileEntry(Struct, frozen=True):
    """One finished file. Offsets are those of its first and last record; timestamps are Kafka's, in ms."""

    path: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    records: int
    rows: int
    bytes: int
    sha256: str
    timestamp_ms_min: int = 0
    timestamp_ms_max: int = 0


class Gap(Struct, frozen=True):
    """Offsets that are missing because the broker had already dropped them when recording went on."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    reason: str


class Session(Struct, frozen=True):
    """One run of the recorder. ``ended_ns`` of 0: killed, or still going."""

    started_ns: int
    ended_ns: int
    build: str
    config: str
    """SHA-256 (hex) of the configuration in force."""


class Manifest(Struct, frozen=True):
    """``manifest.json``."""

    format: str
    event_schema: str
    prefix: str
    partitions: dict[str, int]
    """Topic (without prefix) -> number of its partitions on the broker."""
    sessions: tuple[Session, ...] = ()
    files: tuple[FileEntry, ...] = ()
    gaps: tuple[Gap, ...] = ()


def encode_manifest(manifest: Manifest) -> bytes:
    """Indented JSON: people read it too."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_manifest(data: bytes) -> Manifest:
    """The manifest; msgspec.DecodeError (or ValidationError) and ValueError say what is wrong with it."""
    manifest = msgspec.json.decode(data, type=Manifest)
    if manifest.format != FORMAT:
        raise ValueError(f"format is {manifest.format!r}, expected {FORMAT!r}")
    if manifest.event_schema != EVENT_SCHEMA:
        raise ValueError(f"event_schema is {manifest.event_schema!r}, expected {EVENT_SCHEMA!r}")
    return manifest


def record_schema(events: bool) -> Any:
    """The ``pyarrow.Schema`` of a file: coordinates and value, and with ``events`` the typed columns too."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    header = pa.struct([("key", pa.string()), ("value", pa.binary())])
    fields = [
        pa.field("topic", word),
        pa.field("partition", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("key", pa.binary()),
        pa.field("headers", pa.list_(header)),
        pa.field("value", pa.binary()),
    ]
    if not events:
        return pa.schema(fields, metadata={arrow.SCHEMA_KEY: b"record/1"})
    event_schema = arrow.schema()
    fields += [pa.field("item", pa.int32()), pa.field("refused", pa.string())]
    fields += [field.with_nullable(True) for field in event_schema]  # a record that was refused has none of them
    return pa.schema(fields, metadata=event_schema.metadata)


def parquet_options(events: bool) -> dict[str, Any]:
    """Keyword arguments for ``pyarrow.parquet.ParquetWriter`` of such a file."""
    if not events:
        return {
            "compression": "zstd",
            "compression_level": 3,
            "use_dictionary": ["topic", "key"],
            "write_page_checksum": True,
        }
    options = arrow.parquet_options()
    options["use_dictionary"] = [*options["use_dictionary"], "topic", "partition", "item", "key", "refused"]
    options["column_encoding"] = options["column_encoding"] | dict.fromkeys(
        ("offset", "timestamp"), "DELTA_BINARY_PACKED"
    )
    return options
