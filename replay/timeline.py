"""What-if on a recording: today's stage 1, but the moments, acks and commands of the day.

A recorded ``verdicts`` log says when, in the order of things, stage 1 had come how far: each of its verdicts names the
input that caused it. So a verdict of the engine that runs now takes the place of the recorded one of the same input (its
very offset: what the desk decides carries it), or else stands before the next of its partition. Ticks, nodes, acks and
commands stay where they were. Where nothing was changed, the result is the recorded log itself.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from replay.journal import DeskLog, Place, decode_input
from replay.merge import Timed
from schemas.records import Ack, Breach, Command, FeatureRow, Source, Verdict
from schemas.topics import VERDICTS

EXTRA: Final = 1
"""Partition of ``verdicts`` for those that have no place on the recorded log, which has but partition 0."""
RESAID_MAX: Final = 16_384
"""Verdicts of a partition that are remembered for a stage 1 that crashed and says them again."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An input of the desk and where it stands. again: stage 1 said it before."""

    topic: str
    partition: int
    offset: int
    record: Verdict | Ack | Command
    again: bool = False


class _Partition:
    """New verdicts of one partition, let go as far as the recorded ones had come."""

    def __init__(self, stream: Iterator[Timed]) -> None:
        self._stream = stream
        self._next: Breach | FeatureRow | None = None
        self._reached = (-1, -1)
        self._allowed = 0
        self._begun = False
        self._said: OrderedDict[tuple[object, ...], Breach | FeatureRow] = OrderedDict()

    def said(self, recorded: Breach | FeatureRow) -> Breach | FeatureRow | None:
        """What was said before in the place of ``recorded``, which a crashed stage 1 says again."""
        return self._said.get(_identity(recorded))

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
            yield self._remembered(self._next)
            self._advance()

    def rest(self) -> Iterator[Breach | FeatureRow]:
        """All that is left."""
        self._begin()
        while self._next is not None:
            yield self._next
            self._advance()

    def _remembered(self, verdict: Breach | FeatureRow) -> Breach | FeatureRow:
        self._said[_identity(verdict)] = verdict
        if len(self._said) > RESAID_MAX:
            self._said.popitem(last=False)
        return verdict

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
    """The day's log as the desks of a run read it. A place may be asked for several times (a desk that takes over reads
    again), but for the first time in the order of offsets."""

    def __init__(self, desk_log: DeskLog, streams: Mapping[int, Iterator[Timed]]) -> None:
        self._log = desk_log
        self._partitions = {partition: _Partition(stream) for partition, stream in streams.items()}
        self._kept: dict[int, tuple[Placed, ...]] = {}
        self._floor = 0
        self._extras = 0

    def at(self, place: Place) -> tuple[Placed, ...]:
        """What stands at a place: the record itself, or for one of stage 1 what it says there now."""
        topic, offset = place
        if topic != VERDICTS.name:
            return self._read(place)
        found = self._kept.pop(offset, None)
        if found is None:
            found = self._read(place)
        if offset >= self._floor:
            self._kept[offset] = found
        return found

    def read_again_from(self, floor: int, reached: int) -> None:
        """Offsets of ``verdicts`` from ``floor`` on may be asked for again, those before ``reached`` only then."""
        self._floor = floor
        self._kept = {at: found for at, found in self._kept.items() if at >= min(floor, reached)}

    def rest(self) -> Iterator[Placed]:
        """What stage 1 says beyond the end of the recorded log."""
        for _, partition in sorted(self._partitions.items()):
            for verdict in partition.rest():
                yield self._extra(verdict)

    def _read(self, place: Place) -> tuple[Placed, ...]:
        topic, offset = place
        kept = self._log.at(place)
        record = decode_input(topic, kept.value) if kept else None
        if record is None:
            return ()
        if not isinstance(record, Breach | FeatureRow):
            return (Placed(topic, 0, offset, record),)
        partition = self._partitions.get(record.source.partition)
        return self._now_said(partition, record, offset) if partition is not None else ()

    def _now_said(self, partition: _Partition, recorded: Breach | FeatureRow, offset: int) -> tuple[Placed, ...]:
        verdicts = list(partition.up_to(recorded.source))
        if verdicts and verdicts[-1].source == recorded.source:
            own = Placed(VERDICTS.name, 0, offset, verdicts[-1])
            return (*map(self._extra, verdicts[:-1]), own)
        before = tuple(map(self._extra, verdicts))
        again = partition.said(recorded)
        return before if again is None else (*before, Placed(VERDICTS.name, 0, offset, again, again=True))

    def _extra(self, verdict: Breach | FeatureRow) -> Placed:
        self._extras += 1
        return Placed(VERDICTS.name, EXTRA, self._extras - 1, verdict)


def _identity(verdict: Breach | FeatureRow) -> tuple[object, ...]:
    """By which a verdict is known when it is said again."""
    source = verdict.source
    if isinstance(verdict, FeatureRow):
        return source.offset, source.item, verdict.server, verdict.frame
    return source.offset, source.item, verdict.detector, verdict.scope, verdict.server, verdict.state
