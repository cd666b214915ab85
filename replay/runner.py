"""Both stages over a log, without Kafka: the engines are the live ones, only the source differs."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from replay.day import Day, Makers
from replay.desk_like import DeskLike, DeskOutputLike
from replay.generations import halts_of, lives
from replay.journal import DeskLog
from replay.log import BATCH_ROWS, Log, Selection
from replay.merge import Stage1Like, Stream, Ticker, merged, node_streams, stage1_stream
from replay.recorded import RecordedLog
from replay.timeline import Timeline
from schemas.records import Ack, Breach, Command, HaltRecord, Tick, Verdict, encode
from schemas.scopes import CANARY
from schemas.topics import HALTS, VERDICTS
from schemas.units import S_NS

DESK_INPUTS: Final = 256
"""Records a step of the desk."""
TRAILING_NS_MAX: Final = 30 * S_NS
"""Event time for which ticks go on after the log while the desk still waits for something."""


@dataclass(frozen=True, slots=True)
class Engines:
    """Makers of the engines of one run: ``stage1(partition)``, ``desk(generation)``, ``desk_input(topic, partition,
    offset, record)``, which wraps an input of the desk, and ``heirs``: the same for desks that take over from each
    other, without which a recording is not run along its timeline."""

    stage1: Callable[[int], Stage1Like]
    desk: Callable[[int], DeskLike]
    desk_input: Callable[[str, int, int, Verdict | Ack | Command], Any]
    heirs: Makers | None = None


def _nothing(_: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Observers:
    """Who watches a run. events: number just stepped; input: each record the desk takes in (once, however often desks
    that took over read it again); output: each it gives out."""

    events: Callable[[int], None] = _nothing
    input: Callable[[Verdict | Ack | Command], None] = _nothing
    output: Callable[[DeskOutputLike], None] = _nothing


@dataclass
class Result:
    """What came out. ``halts``: every record on ``halts`` but heartbeats and probes, in order."""

    events: int = 0
    halts: list[HaltRecord] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    """Detector -> breach records."""
    ticks: int = 0
    digest: str = ""
    """SHA-256 (hex) over the bytes of all breaches, and those of all that the desk gave out, each in order."""
    warnings: list[str] = field(default_factory=list)


class Run:
    """One offline run of one log. Use once.

    A recording that holds ``verdicts`` is run along its own timeline (``replay.timeline``), with the acks and commands
    of the day; any other log, or with ``timeline`` False, by the rule of ``replay.merge`` and without gates.
    elsewhere: makes the streams of stage 1, given whom to tell how many events were stepped, where it does not run in
    this process (``replay.processes``); only for a log without a timeline.
    """

    def __init__(
        self,
        log: Log,
        engines: Engines,
        selection: Selection = Selection(),  # noqa: B008 - frozen
        observers: Observers = Observers(),
        rows: int = BATCH_ROWS,
        desk_inputs: int = DESK_INPUTS,
        timeline: bool = True,
        elsewhere: Callable[[Callable[[int], None]], Iterable[Stream]] | None = None,
    ) -> None:
        self._log = log
        self._engines = engines
        self._selection = selection
        self._see = observers
        self._rows = rows
        self._desk_inputs = desk_inputs
        self._elsewhere = elsewhere
        self._day = self._recorded_day() if timeline and elsewhere is None else None
        self._desk = engines.desk(0)
        self._ticker = Ticker()
        self._offset = 0
        self._ticks = 0
        self._breaches = hashlib.sha256()
        self._outputs = hashlib.sha256()
        self.result = Result()

    def run(self) -> Result:
        """Work the whole log off. Cutting (``rows``, ``desk_inputs``) does not change the result."""
        if self._day is not None:
            self._day.run()
        else:
            for verdicts in self._merged():
                for start in range(0, len(verdicts), self._desk_inputs):
                    self._step(verdicts[start : start + self._desk_inputs])
            self._trail()
        self.result.ticks = self._ticks
        self.result.digest = hashlib.sha256(self._breaches.digest() + self._outputs.digest()).hexdigest()
        return self.result

    def _recorded_day(self) -> Day | None:
        log, heirs = self._log, self._engines.heirs
        if heirs is None or not isinstance(log, RecordedLog) or not log.partitions(VERDICTS.name):
            return None
        desk_log = DeskLog(log)
        streams = {partition: chain.from_iterable(parts) for partition, parts in self._stage1_streams().items()}
        timeline = Timeline(desk_log, streams)
        found = lives(desk_log, halts_of(log))
        return Day(desk_log, timeline, found, heirs, lambda placed: self._take(placed.record), self._hear)

    def _merged(self) -> Iterator[list[Verdict]]:
        nodes = [node for node in self._log.nodes() if self._selection.has_node(node)]
        stage1 = self._elsewhere(self._count) if self._elsewhere else self._stage1_streams().values()
        streams = [*stage1, *node_streams(nodes)]
        yield from self._ticker.between(merged(streams))

    def _stage1_streams(self) -> dict[int, Stream]:
        make = self._engines.stage1
        return {
            source.partition: stage1_stream(source, make(source.partition), self._selection, self._count, self._rows)
            for source in self._log.sources()
        }

    def _count(self, events: int) -> None:
        self.result.events += events
        self._see.events(events)

    def _step(self, verdicts: Sequence[Verdict]) -> None:
        """The desk takes verdicts in."""
        wrap, topic, start = self._engines.desk_input, VERDICTS.name, self._offset
        for verdict in verdicts:
            self._take(verdict)
        self._offset += len(verdicts)
        self._hear(self._desk.step([wrap(topic, 0, start + k, verdict) for k, verdict in enumerate(verdicts)]))

    def _take(self, record: Verdict | Ack | Command) -> None:
        if isinstance(record, Breach):
            self.result.verdicts[record.detector] += 1
            self._breaches.update(encode(record))
        elif isinstance(record, Tick):
            self._ticks += 1
        if self._see.input is not _nothing:
            self._see.input(record)

    def _hear(self, outputs: Sequence[DeskOutputLike]) -> None:
        for output in outputs:
            self._outputs.update(encode(output.record))
            self._see.output(output)
            record = output.record
            if output.topic is HALTS and isinstance(record, HaltRecord) and record.scope != CANARY:
                self.result.halts.append(record)

    def _trail(self) -> None:
        """Ticks after the last record, as live, until nothing is due any more."""
        if not self._ticker.ticks:
            return
        end = self._ticker.next_ns + TRAILING_NS_MAX
        while self._desk.waiting():
            if self._ticker.next_ns > end:
                seconds = TRAILING_NS_MAX // S_NS
                self.result.warnings.append(f"the desk still waits for something {seconds} s after the end of the log")
                break
            self._step([self._ticker.tick()])
