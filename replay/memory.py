"""A log held in memory, to be run many times."""

from collections.abc import Iterator
from pathlib import Path

from replay.log import BATCH_ROWS, EventSource, Findings, Log, Message, NodeRecord
from schemas.events import Batch


class _Held:
    """The batches of one partition, read whole."""

    def __init__(self, source: EventSource) -> None:
        self.partition = source.partition
        self._batches = list(source.batches())
        self.rows = sum(len(batch) for batch in self._batches)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """As ``EventSource``."""
        for batch in self._batches:
            for start in range(0, len(batch), rows):
                yield batch[start : start + rows]


class MemoryLog:
    """Another log's events and nodes: 236 bytes an event, read once."""

    def __init__(self, log: Log) -> None:
        self.path: Path = log.path
        self.findings: Findings = log.findings
        self._nodes = log.nodes()
        self._sources: list[EventSource] = [_Held(source) for source in log.sources()]

    def sources(self) -> list[EventSource]:
        return self._sources

    def nodes(self) -> list[NodeRecord]:
        return self._nodes

    def messages(self) -> Iterator[Message]:
        """Not kept: what goes into Kafka is read from the log itself."""
        raise NotImplementedError("send the log itself")
