"""The desk's part of parity: every generation of it, stepped again over its inputs in the order that it wrote down.

A desk that takes over goes on from a stored state of the one before, at a place that is not recorded. But its first
heartbeat says how many beats that state had seen, so that only the inputs between two beats (250 ms) come into
question; the one after which all of its outputs come out again is it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from replay.generations import Written, by_generation, halts_of, last_audit, standing
from replay.journal import DESK_TOPICS, DeskLog, Kept, Place, decode_input
from replay.parity_report import Difference, Part
from replay.recorded import RecordedLog
from schemas.records import AuditRecord, HaltRecord, Heartbeat, decode, encode
from schemas.topics import AUDIT, HALTS, VERDICTS

TAIL_OUTPUTS_MAX: Final = 64
"""Outputs at the end of a desk that may be left over when the order of its last inputs was not written down: the beats
of the 10 s between two such records, and some."""
TRIAL_OUTPUTS: Final = 200
"""Outputs over which the possible places of taking over are tried."""
MISSING_MS_MAX: Final = 2_000
"""A recording may end between inputs and their outputs: what follows from inputs so near its end may be missing. A desk
further behind is silent to the gates (``gate.fail_closed_after_ms``), so it does not get further behind unseen."""


_Stood = tuple[list[HaltRecord], AuditRecord | None]


class _Checker:
    """Compares outputs one by one. ``difference`` is set at the first that is not as written."""

    def __init__(self, log: DeskLog, written: Written, parts: dict[str, Part], near_end_ms: int | None) -> None:
        """near_end_ms: outputs of inputs appended from then on may be missing at the end; None: none may."""
        self._log = log
        self._near_end_ms = near_end_ms
        self._written = written
        self._parts = parts
        self.matched = 0
        self.difference: Difference | None = None
        self._at = dict.fromkeys(parts, 0)

    def left(self) -> dict[str, int]:
        """Records that were written and have not come out yet."""
        return {topic: len(self._written.records[topic]) - at for topic, at in self._at.items()}

    def take(self, outputs: Sequence[Any], cause: Place | None) -> bool:
        """Whether all of them are as written."""
        for output in outputs:
            topic, value = output.topic.name, encode(output.record)
            written, at = self._written.records[topic], self._at[topic]
            if at < len(written) and _unsigned(written[at].value, output.record) == value:
                self._at[topic] += 1
                self._parts[topic].compared += 1
                self.matched += 1
                continue
            live = written[at] if at < len(written) else None
            kept = self._log.at(cause) if cause else None
            if live is None and kept is not None and self._may_lack(kept):
                self._parts[topic].missing += 1
                continue
            self.difference = _difference(topic, live, output.record, cause, kept)
            return False
        return True

    def _may_lack(self, cause: Kept) -> bool:
        return self._near_end_ms is not None and cause.timestamp_ms >= self._near_end_ms


def desk_parity(log: RecordedLog, desk_log: DeskLog, config: DeskConfig) -> tuple[list[Part], list[str]]:
    """Two parts (``halts``, ``audit``) for each generation, and notes on what could not be compared."""
    return _DeskParity(log, desk_log, config).run()


class _DeskParity:
    def __init__(self, log: RecordedLog, desk_log: DeskLog, config: DeskConfig) -> None:
        self._log = desk_log
        self._config = config
        halts = halts_of(log)
        self._written, self._direct = by_generation(halts, desk_log.audit)
        self._halts = halts
        ends = (kept[-1].timestamp_ms for kept in (*desk_log.inputs.values(), desk_log.audit, halts) if kept)
        self._near_end_ms = max(ends, default=0) - MISSING_MS_MAX
        self._notes: list[str] = []
        self._parts: list[Part] = []

    def run(self) -> tuple[list[Part], list[str]]:
        states: list[bytes | None] = [None]
        generations = sorted(self._written)
        if generations and self._written[generations[0]].first_beat > 0:
            begun = f"the desk of generation {generations[0]} had begun before the recording"
            self._notes.append(f"{begun}: what it knew is not recorded")
        for i, generation in enumerate(generations):
            following = generations[i + 1] if i + 1 < len(generations) else None
            states = self._generation(generation, states, following)
            if not states and following is not None:
                self._notes.append(f"no desk of a generation after {generation} could be compared")
                break
        if self._direct:
            self._notes.append(f"{self._direct} halts were written directly by an operator, and are taken as given")
        return self._parts, self._notes

    def _generation(self, generation: int, states: list[bytes | None], following: int | None) -> list[bytes | None]:
        """Compare one desk; the states at which the next may have taken over."""
        written = self._written[generation]
        stood = self._stood(generation)
        best = self._best(generation, stood, states)
        parts = {topic: Part(f"{topic} of desk generation {generation}") for topic in (HALTS.name, AUDIT.name)}
        self._parts += parts.values()
        checker = _Checker(self._log, written, parts, self._near_end_ms if following is None else None)
        beats = self._written[following].first_beat if following is not None else -1
        walk = _Walk(self._log, checker, beats)
        desk = self._desk(generation, best)
        if walk.begin(desk, desk.adopt(*stood)) and walk.go(desk, self._log.order_of(generation), True):
            self._unwritten(walk, desk, following)
        if missing := sum(part.missing for part in parts.values()):
            self._notes.append(
                f"the recording ends before {missing} outputs of the desk's last inputs: what the replay writes there "
                "has nothing to be compared with"
            )
        left = checker.left()
        for topic, count in left.items():
            parts[topic].tail = count
        if checker.difference is not None and (walk.strict or sum(left.values()) > TAIL_OUTPUTS_MAX):
            parts[checker.difference.topic].difference = checker.difference
        elif sum(left.values()) > TAIL_OUTPUTS_MAX:
            topic = max(left, key=lambda name: left[name])
            kept = written.records[topic][-left[topic]]
            parts[topic].difference = _difference(topic, kept, None, None, None)
        candidates: list[bytes | None] = list(walk.states)
        return [*candidates, None] if following is not None and beats == 0 else candidates

    def _unwritten(self, walk: "_Walk", desk: Desk, following: int | None) -> None:
        """Go on over inputs whose order was not written down: as the next desk took them, or by timestamp. Verdicts
        alone have but one order."""
        if following is not None:
            walk.go(desk, self._log.order_of(following), False)
            return
        places = list(self._log.rest({topic: desk.positions.get((topic, 0), 0) for topic in DESK_TOPICS}))
        walk.go(desk, iter(places), all(topic == VERDICTS.name for topic, _ in places))

    def _best(self, generation: int, stood: _Stood, states: Sequence[bytes | None]) -> bytes | None:
        """The state from which the most comes out as written. Once past the inputs in question, many are one and the same
        desk: that one is tried once."""
        if len(states) == 1:
            return states[0]
        past: dict[Any, int] = {}
        for state in states:
            for place, offset in self._desk(generation, state).positions.items():
                past[place] = max(past.get(place, 0), offset)
        best, most, tried = states[0], -1, set[Any]()
        for state in states:
            matched = self._trial(generation, stood, state, past, tried)
            if matched > most:
                best, most = state, matched
            if most >= TRIAL_OUTPUTS:
                break
        return best

    def _trial(self, generation: int, stood: _Stood, state: bytes | None, past: dict[Any, int], tried: set[Any]) -> int:
        """How many outputs come out as written from a state; -1 if it comes to a desk that was tried."""
        parts = {topic: Part("") for topic in (HALTS.name, AUDIT.name)}
        checker = _Checker(self._log, self._written[generation], parts, None)
        walk = _Walk(self._log, checker, -1)
        desk = self._desk(generation, state)
        if not walk.begin(desk, desk.adopt(*stood)):
            return checker.matched
        known = False
        for place in self._log.order_of(generation):
            if not known and (known := all(desk.positions.get(at, 0) >= offset for at, offset in past.items())):
                reached = (_without_repeats(desk.snapshot()), *checker.left().values())
                if reached in tried:
                    return -1
                tried.add(reached)
            if not walk.go(desk, iter((place,)), True) or checker.matched >= TRIAL_OUTPUTS:
                break
        return checker.matched

    def _desk(self, generation: int, state: bytes | None) -> Desk:
        if state is None:
            return Desk(self._config, generation)
        return Desk.restore(self._config, state, generation)

    def _stood(self, generation: int) -> _Stood:
        """What stood on ``halts``, and last on ``audit``, before a desk or a later one wrote anything: it adopts that."""
        not_before = [written for g, written in self._written.items() if g >= generation]
        ends = {
            topic: min((w.records[topic][0].offset for w in not_before if w.records[topic]), default=1 << 62)
            for topic in (HALTS.name, AUDIT.name)
        }
        before = [kept for kept in self._log.audit if kept.offset < ends[AUDIT.name]]
        return standing(self._halts, ends[HALTS.name]), last_audit(before)


class _Walk:
    """Steps a desk over places, checks what comes out, and keeps the states at which another may have taken over."""

    def __init__(self, log: DeskLog, checker: _Checker, beats: int) -> None:
        self._log = log
        self._checker = checker
        self._wanted = beats
        self._beats = 0
        self.states: list[bytes] = []
        self.strict = True
        """Whether the order of what was stepped last is certain."""

    def begin(self, desk: Desk, adopted: Sequence[Any]) -> bool:
        """Check what the desk says on taking over."""
        self._beats = int(desk.view()["heartbeats"])
        return self._check(adopted, None)

    def go(self, desk: Desk, places: Iterator[Place], strict: bool, outputs_max: int = 1 << 62) -> bool:
        """Step over ``places``. strict: the order is certain. False at the first output that is not as written."""
        self.strict = strict
        for place in places:
            kept = self._log.at(place)
            record = decode_input(place[0], kept.value) if kept else None
            if record is None:
                continue
            if self._beats == self._wanted:
                self.states.append(desk.snapshot())
            outputs = desk.step([DeskInput(place[0], 0, place[1], record)])
            if not self._check(outputs, place):
                return False
            if self._checker.matched >= outputs_max:
                break
        if self._beats == self._wanted:
            self.states.append(desk.snapshot())
        return True

    def _check(self, outputs: Sequence[Any], place: Place | None) -> bool:
        for output in outputs:
            if isinstance(output.record, Heartbeat):
                self._beats = output.record.seq + 1
        return self._checker.take(outputs, place)


def _without_repeats(snapshot: bytes) -> bytes:
    """A desk's state but for its count of inputs taken in before, on which nothing depends."""
    state: dict[str, Any] = msgspec.msgpack.decode(snapshot)
    return msgspec.msgpack.encode(state | {"repeats": 0})


def _unsigned(value: bytes, replayed: Struct) -> bytes:
    """A live value without its signature, which is put on when it is published: the key is no part of a recording."""
    if not isinstance(replayed, HaltRecord | Heartbeat) or b'"signature":""' in value:
        return value
    try:
        live = decode(value, type(replayed))
    except msgspec.DecodeError:
        return value
    return encode(msgspec.structs.replace(live, key_id="", signature=""))


def _difference(
    topic: str, live: Kept | None, replayed: Struct | None, cause: Place | None, cause_record: Kept | None
) -> Difference:
    live_record = msgspec.json.decode(live.value) if live else None
    replay_record = msgspec.to_builtins(replayed) if replayed is not None else None
    after = f" after {cause[0]} offset {cause[1]}" if cause else " on taking over"
    if live is None:
        text = f"{topic}: the replay writes a record{after} which the live desk did not write"
    elif replayed is None:
        text = f"{topic}: the live desk wrote a record which the replay does not write"
    else:
        text = f"{topic}: live and replay write different records{after}"
    offset = live.offset if live else -1
    event = msgspec.json.decode(cause_record.value) if cause_record else None
    return Difference(topic, 0, offset, live_record, replay_record, event, text)
