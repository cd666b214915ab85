"""One ordered log for the desk out of several: stage 1 by partition, node records, and the ticks between them.

Live, the order on ``verdicts`` is that of arrival, and the audit keeps it. Where no order was recorded, this rule makes
one: by time, then topic (orderflow, nodes, declared), then partition, then place in the partition. Time is the stream
time of a verdict and the arrival of a node record, and within a partition never goes back. The rule looks at records
only, so that neither batch size nor the speed of reading matters.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from replay.log import BATCH_ROWS, EventSource, NodeRecord, Selection
from schemas.events import Batch
from schemas.records import Breach, DeclaredSeen, FeatureRow, NodeSeen, NodeState, Source, Tick, Verdict
from schemas.topics import NODES
from schemas.units import MS_NS, S_NS

TICK_NS: Final = 100 * MS_NS
QUIET_NS_MAX: Final = 600 * S_NS
"""Ticks go on for so long after the last record; a longer gap in the log is then jumped over."""

Timed = tuple[int, int, int, int, Verdict]
"""(time ns, rank of the topic, partition, place in the partition, verdict). The first four are unique."""


class Stage1Like(Protocol):
    """What stage 1 must do to be replayed (``detectors.bank.Stage1`` does)."""

    def step(self, batch: Batch) -> list[Breach | FeatureRow]: ...


def stage1_stream(
    source: EventSource,
    engine: Stage1Like,
    selection: Selection,
    on_events: Callable[[int], None],
    rows: int = BATCH_ROWS,
) -> Iterator[Timed]:
    """Verdicts of one partition, read and stepped only as far as the merge asks."""
    now, place = 0, 0
    for batch in source.batches(rows):
        chosen = selection.of_batch(batch)
        outputs = engine.step(chosen) if len(chosen) else []
        on_events(len(chosen))
        for verdict in outputs:
            now = max(now, verdict.ts)
            yield now, 0, source.partition, place, verdict
            place += 1


def node_streams(nodes: Iterable[NodeRecord]) -> list[Iterator[Timed]]:
    """Node and declared records as the forwarder would publish them, one stream a topic and partition."""
    parts: dict[tuple[int, int], list[Timed]] = {}
    for node in nodes:
        rank = 1 if node.topic == NODES.name else 2
        part = parts.setdefault((rank, node.partition), [])
        now = max(node.arrival, part[-1][0]) if part else node.arrival
        part.append((now, rank, node.partition, len(part), _seen(node)))
    return [iter(part) for part in parts.values()]


def _seen(node: NodeRecord) -> NodeSeen | DeclaredSeen:
    source = Source(node.topic, node.partition, node.offset)
    if isinstance(node.record, NodeState):
        return NodeSeen(node.record, source)
    return DeclaredSeen(node.record, source)


def merged(streams: Iterable[Iterator[Timed]]) -> Iterator[tuple[int, Verdict]]:
    """All verdicts in the order of the rule above, with their time."""
    for now, _, _, _, verdict in heapq.merge(*streams):
        yield now, verdict


class Ticker:
    """Ticks as the live ticker publishes them, on the grid of 100 ms of event time. ``seq`` counts from 0."""

    def __init__(self) -> None:
        self.next_ns = 0
        self.ticks = 0

    def tick(self) -> Tick:
        """The next tick."""
        tick = Tick(self.next_ns, self.ticks)
        self.next_ns += TICK_NS
        self.ticks += 1
        return tick

    def between(self, verdicts: Iterable[tuple[int, Verdict]]) -> Iterator[Verdict]:
        """The verdicts, each after the ticks that are due at its time."""
        last = 0
        for now, verdict in verdicts:
            if not self.ticks:
                self.next_ns = last = now - now % TICK_NS
            if self.next_ns <= now:
                while self.next_ns <= min(now, last + QUIET_NS_MAX):
                    yield self.tick()
                if self.next_ns <= now:
                    self.next_ns = now - now % TICK_NS
                    yield self.tick()
            last = now
            yield verdict
