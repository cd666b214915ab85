"""A log of inputs, whatever it is kept in: order events by partition, and the node and declared records beside them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.events import Batch
from schemas.records import Declared, NodeState

BATCH_ROWS: Final = 32_768
"""Events a batch by default: large enough for numpy, small enough for the cache."""
BAD_LINES_KEPT: Final = 20
"""Bad lines kept with their reason; the others are counted."""


class LogError(Exception):
    """A log that cannot be read: says what was found, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A ``nodes`` or ``declared`` record with its coordinates. ``arrival``: ns, where it stands among the events."""

    topic: str
    partition: int
    offset: int
    arrival: int
    record: NodeState | Declared


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line (or value) that holds no record. ``number`` counts from 1."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """One Kafka record as it was, or would be, on a topic. ``ts``: ns, for the spacing. ``timestamp_ms``: Kafka's."""

    topic: str
    partition: int
    offset: int
    ts: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class EventSource(Protocol):
    """The order events of one partition, in log order, read from the start each time."""

    @property
    def partition(self) -> int: ...

    @property
    def rows(self) -> int:
        """Events to be expected (for progress; refused ones may be among them)."""
        ...

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """Consecutive batches of at most ``rows`` events."""
        ...


@dataclass
class Findings:
    """What reading turned up besides records. Filled while the log is read."""

    refused: Counter[str] = field(default_factory=Counter)
    """Reason -> events that the codec refused (they went to dead letters when live)."""
    bad_lines: int = 0
    bad_lines_first: list[BadLine] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def bad_line(self, number: int, reason: str) -> None:
        """Count a bad line, and keep the first few."""
        self.bad_lines += 1
        if len(self.bad_lines_first) < BAD_LINES_KEPT:
            self.bad_lines_first.append(BadLine(number, reason))


class Log(Protocol):
    """What the runner needs of a log, and what sends it back into Kafka."""

    path: Path
    findings: Findings

    def sources(self) -> list[EventSource]:
        """One source for each partition that holds events, by partition."""
        ...

    def nodes(self) -> list[NodeRecord]:
        """``nodes`` and ``declared`` records by (arrival, topic, partition, offset)."""
        ...

    def messages(self) -> Iterator[Message]:
        """Input records as Kafka messages in the order in which they were, or would be, sent."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Part of a log: from ``from_ns`` (in) to ``to_ns`` (out), only these servers and symbols. Empty: all."""

    from_ns: int | None = None
    to_ns: int | None = None
    servers: frozenset[str] = frozenset()
    symbols: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.from_ns is not None or self.to_ns is not None or self.servers or self.symbols)

    def of_batch(self, batch: Batch) -> Batch:
        """The events of the batch that are in; offsets and items stay what they were."""
        at = self.of(batch)
        return batch if at is None else batch.pick(at)

    def of(self, batch: Batch) -> NDArray[np.int64] | None:
        """Indices of the events of the batch that are in; None: all."""
        if not self:
            return None
        keep = np.ones(len(batch), np.bool_)
        if self.from_ns is not None:
            keep &= batch.events["ts"] >= np.uint64(max(self.from_ns, 0))
        if self.to_ns is not None:
            keep &= batch.events["ts"] < np.uint64(max(self.to_ns, 0))
        for name, wanted in (("server", self.servers), ("symbol", self.symbols)):
            if wanted:
                keep &= np.isin(batch.events[name], np.array(sorted(w.encode() for w in wanted)))
        return np.flatnonzero(keep)

    def has_node(self, node: NodeRecord) -> bool:
        """Whether a record is in. What was declared earlier still holds, so ``from_ns`` lets it pass."""
        if self.servers and node.record.server not in self.servers:
            return False
        if self.to_ns is not None and node.record.ts >= self.to_ns:
            return False
        return isinstance(node.record, Declared) or self.from_ns is None or node.record.ts >= self.from_ns
