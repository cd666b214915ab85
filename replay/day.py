"""A recorded day again, desk after desk: as live, one dies or hands over, and the next goes on from an older state.

Time is what makes that matter. A desk counts its own ticks only, so what passed between the state that it began with
and its own first tick did not pass for it: a grace or a deadline ends later than for a desk that had never changed. It
numbers its halts by epochs that it may have to give a second time. So a replay with one desk all day is another day.

Where a desk took over is not recorded, but its first heartbeat says how many beats the state had seen; and of the few
states between two beats, that one is it from which the next beats come out at the ticks at which they came. Beats depend
on ticks alone, so this holds for a what-if too. What a desk did after the last that it published nobody ever saw.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from halts.state import CLOSED
from replay.desk_like import DeskOutputLike, Replaceable
from replay.generations import Life, newest
from replay.journal import DeskLog, Place
from replay.timeline import Placed, Timeline
from schemas.records import Ack, AuditRecord, HaltRecord, Heartbeat, Tick, decode
from schemas.topics import VERDICTS

TRIAL_BEATS: Final = 40
"""Heartbeats over which the possible states are tried: 10 s."""


@dataclass(frozen=True, slots=True)
class Makers:
    """``new(generation)``, ``restore(state, generation)``; ``wrap(topic, partition, offset, record)`` makes an input."""

    new: Callable[[int], Replaceable]
    restore: Callable[[bytes, int], Replaceable]
    wrap: Callable[[str, int, int, Any], Any]


@dataclass(frozen=True, slots=True)
class _State:
    """What a desk may begin with. reached: topic -> first offset not in it. beats: how many it had seen."""

    state: bytes
    reached: dict[str, int]
    beats: int


@dataclass
class _Heard:
    """What the desks have said so far: halts in order, by (scope, halt_id) the epochs of blocks, the chain's end."""

    halts: list[HaltRecord] = field(default_factory=list)
    epochs: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    tail: AuditRecord | None = None

    def copy(self) -> "_Heard":
        epochs = {key: list(found) for key, found in self.epochs.items()}
        return _Heard(list(self.halts), epochs, self.tail)

    def take(self, outputs: Sequence[DeskOutputLike]) -> None:
        for output in outputs:
            record = output.record
            if isinstance(record, AuditRecord):
                self.tail = record
            elif isinstance(record, HaltRecord):
                self.halts.append(record)
                if record.state in CLOSED:
                    self.epochs.setdefault((record.scope, record.halt_id), []).append(record.epoch)

    def fitting(self, ack: Ack) -> Ack:
        """The ack as the gate would have given it: to the same halt, in the epoch that this halt has here. Under another
        configuration one warning more or less before it makes that another one than on the day."""
        epochs = self.epochs.get((ack.scope, ack.halt_id))
        if not epochs or ack.epoch in epochs:
            return ack
        return msgspec.structs.replace(ack, epoch=epochs[-1])


class _Acting:
    """A desk at work."""

    def __init__(self, desk: Replaceable, begun: _State | None, heard: _Heard, wrap: Callable[..., Any]) -> None:
        self.desk = desk
        self.heard = heard
        self.reached = dict(begun.reached) if begun else {}
        self.beats = begun.beats if begun else 0
        self._wrap = wrap

    def state(self) -> _State:
        return _State(self.desk.snapshot(), dict(self.reached), self.beats)

    def is_new(self, place: Place) -> bool:
        return place[1] >= self.reached.get(place[0], 0)

    def take(self, placed: Placed) -> Sequence[DeskOutputLike]:
        """Step over an input; its outputs, not heard yet."""
        record = self.heard.fitting(placed.record) if isinstance(placed.record, Ack) else placed.record
        outputs = self.desk.step([self._wrap(placed.topic, placed.partition, placed.offset, record)])
        self.beats += sum(isinstance(output.record, Heartbeat) for output in outputs)
        return outputs


class Day:
    """One run over the day. found: its desks. see: called with each input, once; hear: with all that a desk published."""

    def __init__(
        self,
        log: DeskLog,
        timeline: Timeline,
        found: Sequence[Life],
        makers: Makers,
        see: Callable[[Placed], None],
        hear: Callable[[Sequence[DeskOutputLike]], None],
    ) -> None:
        self._log = log
        self._timeline = timeline
        self._lives = found
        self._makers = makers
        self._see = see
        self._hear = hear
        self._heard = _Heard()
        self._seen: dict[str, int] = {}

    def run(self) -> None:
        """All desks, one after the other."""
        states: list[_State] = []
        for i in range(len(self._lives)):
            begun = self._begun(i, states)
            self._timeline.read_again_from(self._floor(i + 1), begun.reached.get(VERDICTS.name, 0) if begun else 0)
            states = self._live(i, begun)

    def _live(self, i: int, begun: _State | None) -> list[_State]:
        """One desk from its beginning to the end of what it did; the states at which the next may have taken over."""
        life = self._lives[i]
        last = i + 1 == len(self._lives)
        wanted = -1 if last else self._lives[i + 1].first_beat
        acting, adopted = self._take_over(i, begun, self._heard)
        self._said(adopted)
        states = [acting.state()] if acting.beats == wanted else []
        left = {place for place in life.traces if acting.is_new(place)}
        for place in self._places(i, acting):
            heard = last or bool(left)
            if acting.desk.fenced or (not heard and acting.beats > wanted):
                break
            left.discard(place)
            if self._step(acting, place, life.generation, heard) and acting.beats == wanted:
                states.append(acting.state())
        if last:
            for placed in self._timeline.rest():
                self._see(placed)
                self._said(acting.take(placed))
        return states or [acting.state()]

    def _step(self, acting: _Acting, place: Place, generation: int, heard: bool) -> bool:
        """Take in what stands at a place. heard: what the desk says was published. Whether time passed or it spoke."""
        changed = False
        first = heard and place[1] >= self._seen.get(place[0], 0)
        for placed in self._timeline.at(place):
            tick = placed.record if isinstance(placed.record, Tick) else None
            counts = tick is None or tick.generation == generation
            if first and counts and not placed.again:
                self._see(placed)
            outputs = acting.take(placed)
            changed |= bool(outputs) or (tick is not None and counts)
            if heard:
                self._said(outputs)
        acting.reached[place[0]] = place[1] + 1
        if first and not acting.desk.fenced:
            self._seen[place[0]] = place[1] + 1
        return changed

    def _said(self, outputs: Sequence[DeskOutputLike]) -> None:
        self._heard.take(outputs)
        self._hear(outputs)

    def _take_over(self, i: int, begun: _State | None, heard: _Heard) -> tuple[_Acting, Sequence[DeskOutputLike]]:
        """A desk that has read what stands on ``halts`` and ``audit``, and its answer to that."""
        life = self._lives[i]
        make = self._makers
        desk = make.restore(begun.state, life.generation) if begun else make.new(life.generation)
        direct = [decode(kept.value, HaltRecord) for kept in life.direct]
        adopted = desk.adopt(newest([*direct, *heard.halts]), heard.tail)
        return _Acting(desk, begun, heard, make.wrap), adopted

    def _begun(self, i: int, states: Sequence[_State]) -> _State | None:
        """The state from which the beats and halts of the day come out; None for a desk that began without one."""
        life = self._lives[i]
        if not states or life.first_beat == 0:
            return None
        return max(states, key=lambda state: self._trial(i, state)) if len(states) > 1 else states[0]

    def _trial(self, i: int, begun: _State) -> tuple[int, int]:
        """How many beats, and then halts, come out as on the day."""
        life = self._lives[i]
        acting, outputs = self._take_over(i, begun, self._heard.copy())
        beats: list[tuple[int, int]] = []
        halts: list[tuple[str, str]] = []
        places = self._places(i, acting)
        while True:
            acting.heard.take(outputs)
            for output in outputs:
                if isinstance(output.record, Heartbeat):
                    beats.append((output.record.seq, output.record.ts))
                elif isinstance(output.record, HaltRecord):
                    halts.append((output.record.scope, output.record.state))
            place = next(places, None)
            if place is None or len(beats) >= TRIAL_BEATS:
                return _alike(beats, life.beats), _alike(halts, life.halts)
            outputs = [output for placed in self._timeline.at(place) for output in acting.take(placed)]
            acting.reached[place[0]] = place[1] + 1

    def _places(self, i: int, acting: _Acting) -> Iterator[Place]:
        """What the desk had not taken in: in its own order, then in that of the desks after it, then by timestamp."""
        for life in self._lives[i:]:
            yield from (place for place in self._log.order_of(life.generation) if acting.is_new(place))
        yield from self._log.rest({topic: acting.reached.get(topic, 0) for topic in self._log.inputs})

    def _floor(self, i: int) -> int:
        """The first offset of ``verdicts`` that a desk from the i-th on may read again."""
        firsts = []
        for life in self._lives[i:]:
            order = self._log.order_of(life.generation)
            firsts.append(next((offset for topic, offset in order if topic == VERDICTS.name), 0))
        return min(firsts, default=1 << 62)


def _alike(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    """How many of the first are the same."""
    found = 0
    for own, its in zip(ours, theirs, strict=False):
        if own != its:
            break
        found += 1
    return found
