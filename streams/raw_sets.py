"""The bytes of what aiokafka fetched, kept beside the objects that it makes of them.

aiokafka hands out one Python object a record, which costs more than everything else that is done to an order event.
Its client's answer to a fetch holds the record sets as bytes: ``Tap`` keeps those of batched topics, ``RecordSet``
follows aiokafka through them, batch header by batch header, and gives the bodies to ``schemas.record_set``.
"""

import struct
from collections.abc import Callable, Set
from typing import Any, Final

from aiokafka import codec
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

from schemas.record_set import Body

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and last timestamp, producer id,
producer epoch, base sequence, number of records (Kafka protocol guide, "Record Batch")."""
_BEFORE_LENGTH: Final = 12
_MAGIC: Final = 2
_CODEC, _APPEND_TIME = 0x07, 0x08
_DECODERS: Final[dict[int, Callable[[bytes], bytes]]] = {
    0: bytes, 1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode,
}  # fmt: skip


class RecordSet:
    """One partition's part of a fetch. Call ``step`` for every batch that aiokafka takes from its copy, in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0
        self._header: tuple[int, ...] = ()
        """Of the batch that aiokafka has taken last; empty where only aiokafka reads it."""
        self._start = 0

    def step(self, batch: Any) -> None:
        """Move to the batch that aiokafka has just taken. Out of step once (never, unless aiokafka changes how it
        reads), there is no body any more, and its own objects are taken."""
        at = self._next
        self._header, self._next = (), -1
        if at < 0 or at + _HEADER.size > len(self._data):
            return
        header = _HEADER.unpack_from(self._data, at)
        base, length, _, magic, _, _, last, *_ = header
        if base != batch.base_offset or (magic == _MAGIC and base + last + 1 != batch.next_offset):
            return
        self._start, self._next = at + _HEADER.size, at + _BEFORE_LENGTH + length
        if magic == _MAGIC:
            self._header = header

    def body(self) -> Body | None:
        """What the batch holds; None where it is of an older format, which only aiokafka reads."""
        if not self._header:
            return None
        base, _, _, _, _, attributes, _, first, last, _, _, _, count = self._header
        appended = bool(attributes & _APPEND_TIME)
        data = _DECODERS[attributes & _CODEC](self._data[self._start : self._next])
        return Body(data, count, base, last if appended else first, appended)


class Tap:
    """Stands between aiokafka's fetcher and its client; everything but ``send`` is the client's own."""

    def __init__(self, client: Any, topics: Set[str]) -> None:
        self._client = client
        self._topics = topics
        self._fetched: dict[TopicPartition, bytes] = {}
        self._open: dict[TopicPartition, tuple[Any, RecordSet | None]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: Any, request: Any, *args: Any, **options: Any) -> Any:
        """The client's answer; of a fetch, the record sets are remembered, the latest of each partition."""
        response = await self._client.send(node_id, request, *args, **options)
        if isinstance(request, FetchRequest):
            for topic, partitions in response.topics or ():
                if topic in self._topics:
                    for partition, *_, data in partitions:
                        self._fetched[TopicPartition(topic, partition)] = data
        return response

    def of(self, tp: TopicPartition, records: Any) -> RecordSet | None:
        """The set from which aiokafka made these ``PartitionRecords``: the latest fetch of the partition when they are
        first seen, since nothing more is fetched of it while they wait."""
        held = self._open.get(tp)
        if held is None or held[0] is not records:
            data = self._fetched.pop(tp, None)
            held = self._open[tp] = (records, None if data is None else RecordSet(data))
        return held[1]

    def forget(self, tp: TopicPartition) -> None:
        """The partition is worked off, or no longer ours."""
        self._open.pop(tp, None)
