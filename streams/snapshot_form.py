"""The form of a snapshot on the ``snapshots`` topic: chunks, and a manifest that says what they make. Pure.

Two slots are written in turn, so that one that is half written never takes the last whole one away. A reader that
scans the topic from anywhere at or before the newest whole snapshot finds it, whatever compaction has removed.
"""

import zlib
from dataclasses import dataclass, field
from typing import Final

import cramjam
import msgspec
from msgspec import Struct

CHUNK_BYTES: Final = 512 * 1024
SLOTS: Final = 2
_ZSTD_LEVEL: Final = 1
_MANIFEST: Final = "manifest"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of the engine ``name`` after all inputs before ``positions`` ((topic, partition) -> offset)."""

    name: str
    positions: dict[tuple[str, int], int]
    state: bytes
    generation: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Of two snapshots of one engine the one that ranks higher has seen more."""
        return self.generation, sum(self.positions.values())


class Manifest(Struct, frozen=True):
    """``serial`` ties chunks to their manifest; ``positions`` are [topic, partition, offset]."""

    name: str
    serial: int
    chunks: int
    bytes: int
    crc32: int
    positions: list[tuple[str, int, int]]
    generation: int = 0
    v: int = 1


def pack(snapshot: Snapshot, slot: int, serial: int) -> list[tuple[str, bytes]]:
    """Keys and values to publish, in this order. ``serial``: different for each snapshot ever made of the engine."""
    packed = bytes(cramjam.zstd.compress(snapshot.state, level=_ZSTD_LEVEL))
    parts = [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]
    prefix = f"{snapshot.name}|{slot % SLOTS}|"
    head = serial.to_bytes(8, "big")
    manifest = Manifest(
        snapshot.name,
        serial,
        len(parts),
        len(snapshot.state),
        zlib.crc32(packed),
        [(topic, partition, offset) for (topic, partition), offset in sorted(snapshot.positions.items())],
        snapshot.generation,
    )
    chunks = [(f"{prefix}{i}", head + part) for i, part in enumerate(parts)]
    return [*chunks, (prefix + _MANIFEST, msgspec.json.encode(manifest))]


@dataclass
class Collector:
    """Fed with the records of ``snapshots`` in log order, keeps the best whole snapshot of the engine ``name``."""

    name: str
    best: Snapshot | None = None
    slot: int = 0
    """Slot to be written next."""
    _chunks: dict[tuple[int, int], tuple[bytes, bytes]] = field(default_factory=dict)

    def feed(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record; those of other engines, and tombstones, are passed over."""
        if not key or value is None:
            return
        name, _, rest = key.decode(errors="replace").partition("|")
        if name != self.name:
            return
        slot_text, _, what = rest.partition("|")
        slot = int(slot_text)
        if what != _MANIFEST:
            self._chunks[slot, int(what)] = (value[:8], value[8:])
            return
        found = self._whole(slot, msgspec.json.decode(value, type=Manifest))
        if found is not None and (self.best is None or found.rank >= self.best.rank):
            self.best = found
            self.slot = (slot + 1) % SLOTS

    def _whole(self, slot: int, manifest: Manifest) -> Snapshot | None:
        """The snapshot, or None when chunks are missing or not its own."""
        head = manifest.serial.to_bytes(8, "big")
        parts = [self._chunks.get((slot, i), (b"", b"")) for i in range(manifest.chunks)]
        packed = b"".join(part for _, part in parts)
        if any(own != head for own, _ in parts) or zlib.crc32(packed) != manifest.crc32:
            return None
        state = bytes(cramjam.zstd.decompress(packed)) if packed else b""
        positions = {(topic, partition): offset for topic, partition, offset in manifest.positions}
        return Snapshot(manifest.name, positions, state, manifest.generation)
