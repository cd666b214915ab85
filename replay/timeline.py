"""What-if on a recording: today's stage 1, but the moments, acks and commands of the day.

A recorded ``verdicts`` log says when, in the order of things, stage 1 had come how far: each of its verdicts names the
input that caused it. So a verdict of the engine that runs now takes the place of the recorded one of the same input, or
else stands before the next of its partition. Ticks, nodes, acks and commands stay where they were. Where nothing was
changed, the result is the recorded order itself.
"""

from collections.abc import Iterator

import msgspec

from replay.journal import DeskLog, decode_input
from replay.merge import Timed
from schemas.records import Ack, Breach, Command, FeatureRow, Source, Tick, Verdict
from schemas.topics import VERDICTS

Placed = tuple[str, Verdict | Ack | Command]


class _Partition:
    """New verdicts of one partition, let go as far as the recorded ones had come."""

    def __init__(self, stream: Iterator[Timed]) -> None:
        self._stream = stream
        self._next: Breach | FeatureRow | None = None
        self._reached = (-1, -1)
        self._allowed = 0
        self._begun = False

    def up_to(self, source: Source) -> Iterator[Breach | FeatureRow]:
        """What comes no later than a recorded verdict: of the same input, as many as were recorded up to here."""
        at = (source.offset, source.item)
        if at < self._reached:
            return  # said again after a crash
        if at > self._reached:
            self._reached, self._allowed = at, 0
        self._allowed += 1
        self._begin()
        while self._next is not None:
            mine = (self._next.source.offset, self._next.source.item)
            if mine > at:
                return
            if mine == at:
                if not self._allowed:
                    return
                self._allowed -= 1
            yield self._next
            self._advance()

    def rest(self) -> Iterator[Breach | FeatureRow]:
        """All that is left."""
        self._begin()
        while self._next is not None:
            yield self._next
            self._advance()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._advance()

    def _advance(self) -> None:
        timed = next(self._stream, None)
        verdict = timed[4] if timed else None
        assert verdict is None or isinstance(verdict, Breach | FeatureRow)
        self._next = verdict


class Timeline:
    """The desk's inputs for a run over a recording, with their topics. ``generation``: that of all ticks."""

    def __init__(self, desk_log: DeskLog, streams: dict[int, Iterator[Timed]]) -> None:
        self._log = desk_log
        self._partitions = {partition: _Partition(stream) for partition, stream in streams.items()}
        self.generation = self._first_generation()

    def inputs(self) -> Iterator[Placed]:
        """In the order of the day."""
        newest = self.generation
        for topic, offset in self._log.order():
            kept = self._log.at((topic, offset))
            record = decode_input(topic, kept.value) if kept else None
            if record is None:
                continue
            if isinstance(record, Breach | FeatureRow):
                partition = self._partitions.get(record.source.partition)
                if partition is not None:
                    yield from ((topic, verdict) for verdict in partition.up_to(record.source))
            elif isinstance(record, Tick):
                if record.generation >= newest:  # a zombie's ticks count for nobody
                    newest = record.generation
                    yield topic, msgspec.structs.replace(record, generation=self.generation)
            else:
                yield topic, record
        for _, partition in sorted(self._partitions.items()):
            yield from ((VERDICTS.name, verdict) for verdict in partition.rest())

    def _first_generation(self) -> int:
        for kept in self._log.inputs[VERDICTS.name]:
            record = decode_input(VERDICTS.name, kept.value)
            if isinstance(record, Tick):
                return record.generation
        return 0
