"""One ordered log for the desk out of several: stage 1 by partition, node records, and the ticks between them.

Live, the order on ``verdicts`` is that of arrival, and the audit keeps it. Where no order was recorded, this rule makes
one: by time, then topic (orderflow, nodes, declared), then partition, then place in the partition. Time is the stream
time of a verdict and the arrival of a node record, and within a partition never goes back. The rule looks at records
only, so that neither batch size nor the speed of reading matters.
"""

from bisect import bisect_left
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
Stream = Iterator[list[Timed]]
"""In ascending order, and in parts as they come."""


class Stage1Like(Protocol):
    """What stage 1 must do to be replayed (``detectors.bank.Stage1`` does)."""

    def step(self, batch: Batch) -> list[Breach | FeatureRow]: ...


def stage1_stream(
    source: EventSource,
    engine: Stage1Like,
    selection: Selection,
    on_events: Callable[[int], None],
    rows: int = BATCH_ROWS,
) -> Stream:
    """Verdicts of one partition, read and stepped only as far as the merge asks."""
    place = Place(source.partition)
    for batch in source.batches(rows):
        chosen = selection.of_batch(batch)
        outputs = engine.step(chosen) if len(chosen) else []
        on_events(len(chosen))
        yield place.of(outputs)


class Place:
    """Where verdicts of stage 1 stand in the order, for one partition."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._now = 0
        self._next = 0

    def of(self, verdicts: Iterable[Breach | FeatureRow]) -> list[Timed]:
        """The partition's next verdicts."""
        now, place, partition = self._now, self._next, self._partition
        timed: list[Timed] = []
        for verdict in verdicts:
            if verdict.ts > now:
                now = verdict.ts
            timed.append((now, 0, partition, place, verdict))
            place += 1
        self._now, self._next = now, place
        return timed


def node_streams(nodes: Iterable[NodeRecord]) -> list[Stream]:
    """Node and declared records as the forwarder would publish them, one stream a topic and partition."""
    parts: dict[tuple[int, int], list[Timed]] = {}
    for node in nodes:
        rank = 1 if node.topic == NODES.name else 2
        part = parts.setdefault((rank, node.partition), [])
        now = max(node.arrival, part[-1][0]) if part else node.arrival
        part.append((now, rank, node.partition, len(part), _seen(node)))
    return [iter([part]) for part in parts.values()]


def _seen(node: NodeRecord) -> NodeSeen | DeclaredSeen:
    source = Source(node.topic, node.partition, node.offset)
    if isinstance(node.record, NodeState):
        return NodeSeen(node.record, source)
    return DeclaredSeen(node.record, source)


def merged(streams: Iterable[Stream]) -> Stream:
    """All verdicts in the order of the rule above."""
    left = [_Ahead(stream) for stream in streams]
    while left := [ahead for ahead in left if ahead.look()]:
        bound = min(ahead.end for ahead in left)
        found: list[Timed] = []
        for ahead in left:
            found += ahead.before(bound)
        found.sort()  # runs in order, which Python finds and merges; four numbers decide, verdicts are not compared
        yield found


class _Ahead:
    """A stream, and the part of it that waits for its turn."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._part: list[Timed] = []
        self._at = 0

    def look(self) -> bool:
        """Whether there is more."""
        while self._at == len(self._part):
            part = next(self._stream, None)
            if part is None:
                return False
            self._part, self._at = part, 0
        return True

    @property
    def end(self) -> tuple[int, int, int, int]:
        """What comes just after all that is here."""
        now, rank, partition, place, _ = self._part[-1]
        return now, rank, partition, place + 1

    def before(self, bound: tuple[int, int, int, int]) -> list[Timed]:
        """Take what comes before a place."""
        start = self._at
        self._at = bisect_left(self._part, bound, start)
        return self._part[start : self._at]


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

    def between(self, parts: Stream) -> Iterator[list[Verdict]]:
        """The verdicts, each after the ticks that are due at its time."""
        last = 0
        for part in parts:
            found: list[Verdict] = []
            for timed in part:
                now = timed[0]
                if self.next_ns <= now:
                    self._due(now, last, found)
                last = now
                found.append(timed[4])
            yield found

    def _due(self, now: int, last: int, found: list[Verdict]) -> None:
        """Add the ticks that are due at a time. last: time of the verdict before it; 0: there was none."""
        if not self.ticks:
            self.next_ns = last = now - now % TICK_NS
        while self.next_ns <= min(now, last + QUIET_NS_MAX):
            found.append(self.tick())
        if self.next_ns <= now:
            self.next_ns = now - now % TICK_NS
            found.append(self.tick())
