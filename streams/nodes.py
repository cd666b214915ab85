"""``nodes`` and ``declared`` on their way to the desk: checked, and put on the one log that the desk reads."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from schemas.codec import Reason
from schemas.node_rules import problem
from schemas.records import Declared, DeclaredSeen, NodeSeen, NodeState, Source, decode, encode
from schemas.topics import DEAD_LETTERS, DECLARED, NODES, VERDICTS, Topic
from streams.batches import RecordBatch
from streams.metrics import Meter
from streams.outbox import Outbox
from streams.refusals import Refused, refusal


@dataclass(frozen=True, slots=True)
class Kind:
    """What stands on a topic, and how it is forwarded."""

    topic: Topic
    record: type[NodeState] | type[Declared]
    seen: Callable[[Any, Source], NodeSeen | DeclaredSeen]


KINDS: Final = (Kind(NODES, NodeState, NodeSeen), Kind(DECLARED, Declared, DeclaredSeen))


def checked(kind: Kind, key: bytes | None, value: bytes) -> NodeState | Declared:
    """The record in ``value``. msgspec.DecodeError and Refused say what is wrong with it."""
    record = decode(value, kind.record)
    if (found := problem(record)) is not None:
        raise Refused(*found)
    if key is not None and key != record.server.encode():
        raise Refused(Reason.out_of_range, f"server is {record.server!r} under the key {key!r}; expected the same name")
    return record


class Forwarder:
    """Takes one topic's batches. Nothing to store: what was forwarded and confirmed is safe."""

    def __init__(
        self, kind: Kind, outbox: Outbox, mark_safe: Callable[[tuple[str, int], int], None], meter: Meter
    ) -> None:
        self._kind = kind
        self._outbox = outbox
        self._mark_safe = mark_safe
        self._meter = meter
        self._lock = asyncio.Lock()

    async def take(self, batch: RecordBatch) -> None:
        """Forward every good record, refuse every bad one; tombstones say nothing and are passed over."""
        async with self._lock:
            for record in batch.records:
                if record.value is not None:
                    await self._forward(batch.partition, record.offset, record.key, record.value)
            await self._outbox.drain()
            self._mark_safe((batch.topic, batch.partition), batch.end)

    async def _forward(self, partition: int, offset: int, key: bytes | None, value: bytes) -> None:
        name = self._kind.topic.name
        try:
            record = checked(self._kind, key, value)
        except (msgspec.DecodeError, Refused) as error:
            letter = refusal(name, partition, offset, key, value, error)
            await self._outbox.send(DEAD_LETTERS, letter.key, encode(letter))
            self._meter.dead_letter(letter)
            return
        seen = self._kind.seen(record, Source(name, partition, offset))
        await self._outbox.send(VERDICTS, record.server, encode(seen))

    async def idle(self) -> None:
        """Returns when the batch in work is done."""
        async with self._lock:
            pass
