"""What a process of a replay sends: verdicts of events of one partition, or that it is done."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from detectors.rows import Said
from schemas.records import Breach, FeatureRow

MORE: Final = b"V"
LAST: Final = b"L"
"""Of this partition there is nothing after it."""
DONE: Final = b"D"
"""The process has ended; after it, why, if it failed."""
_NUMBERS: Final = (slice(1, 5), slice(5, 13))
"""Where the partition stands, and the number of events."""
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Said]).decode


def written(partition: int, last: bool, events: int, said: Sequence[Said]) -> bytes:
    """A chunk. events: stepped for it; said: of one piece of the log after the other."""
    return (LAST if last else MORE) + partition.to_bytes(4, "little") + events.to_bytes(8, "little") + _encode(said)


def partition_of(chunk: bytes) -> int:
    """The partition that a chunk is of."""
    return int.from_bytes(chunk[_NUMBERS[0]], "little")


def read(chunk: bytes) -> tuple[bool, int, Iterator[list[Breach | FeatureRow]]]:
    """(whether it is the last of its partition, events stepped for it, verdicts in order: of a piece, when it is asked for,
    so that they are made not long before they are wanted)."""
    pieces = _decode(memoryview(chunk)[_NUMBERS[1].stop :])
    events = int.from_bytes(chunk[_NUMBERS[1]], "little")
    return chunk[:1] == LAST, events, ([verdict for _, _, verdict in said.placed()] for said in pieces)


__all__ = ["DONE", "partition_of", "read", "written"]
