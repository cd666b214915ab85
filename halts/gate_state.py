"""What a gate believes: the records of ``halts`` folded into one view that answers without looking anything up.

Pure: no clock, no Kafka. Offsets, local monotonic time and local UTC come with each record. The rules, each on the side
of closed:

* A heartbeat counts only from the end of the log as it stood at (re)connection onwards: one heartbeat read there proves
  that every older record has been applied. It keeps the gate open until ``fail_closed_after`` from its reception, and
  until its own tick ``ts`` plus ``fail_closed_after`` plus ``clock_skew_max`` by the local UTC clock, if that is first.
* A record of a lower generation (a desk that was paused and woke as a second one) or of a lower epoch is ignored and
  counted. At an equal epoch the stricter of two records stands, of equals the later: an operator's halt that meets a
  desk's warning wins, and the desk's own halt that meets an operator's is answered too.
* HALTING and HALTED are latched: only RESUMING or ACTIVE of a newer epoch that names who ordered it opens the scope.
* A value that does not decode closes the whole gate, also across reconnections, until a valid record that is not older
  stands under the same key. A key that is no scope can never carry one; there a tombstone releases.
* A tombstone never opens anything that is latched.
"""

from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from schemas.records import Gate, HaltRecord, Heartbeat, decode
from schemas.scopes import FIRM, parse, scope
from schemas.topics import HEARTBEAT_KEY
from schemas.units import MS_NS

SCOPES_MAX: Final = 100_000
"""Scopes a gate keeps; one more closes it (a log like that is not a desk's)."""
UNDECODABLE_MAX: Final = 1_000
"""Keys kept with the reason why their last value was not decoded; one more closes the gate for good."""
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Decision:
    """May it be sent? True in a boolean context iff ``allowed``. ``scope`` and ``halt_id`` say what closed the gate:
    empty when it is not a halt but the gate itself (not caught up, desk silent, ``halts`` not readable)."""

    allowed: bool
    scope: str = ""
    halt_id: str = ""
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


OPEN: Final = Decision(True)
NOT_STARTED: Final = Decision(False, reason="the gate has not been started: call start()")


@dataclass(frozen=True, slots=True)
class Restriction:
    """A scope that is not free. ``reduce_only``: what reduces a position may pass."""

    decision: Decision
    reduce_only: bool
    omitted: Decision
    """The answer to an order that does not say which symbol (strategy, account) it is for."""


@dataclass(frozen=True, slots=True)
class View:
    """One immutable answer to every question, swapped as a whole. ``deadline_ns``: local monotonic time at which it
    stops being valid (0: it never was); ``expired`` is the answer from then on. ``clear``: nothing is restricted."""

    deadline_ns: int
    expired: Decision
    clear: bool = False
    everywhere: tuple[Restriction, ...] = ()
    symbols: dict[str, Restriction] = field(default_factory=dict)
    strategies: dict[str, Restriction] = field(default_factory=dict)
    accounts: dict[str, Restriction] = field(default_factory=dict)

    def until(self, deadline_ns: int, reason: str) -> "View":
        """The same, but valid no longer than ``deadline_ns``; a block that stands everywhere keeps its own reason."""
        if self.deadline_ns <= deadline_ns:
            return self
        kept = self.expired if self.expired.halt_id else Decision(False, reason=reason)
        return replace(self, deadline_ns=deadline_ns, expired=kept)

    def decide(self, symbol: str, strategy: str, account: str, reducing: bool) -> Decision:
        """The safe answer of all scopes that the order is in; freshness is the caller's to check first."""
        for found in self.everywhere:
            if not (reducing and found.reduce_only):
                return found.decision
        for name, table in ((symbol, self.symbols), (strategy, self.strategies), (account, self.accounts)):
            if not table:
                continue
            if not name:
                for found in table.values():
                    if not (reducing and found.reduce_only):
                        return found.omitted
            elif (hit := table.get(name)) is not None and not (reducing and hit.reduce_only):
                return hit.decision
        return OPEN


Scopes = tuple[tuple[Restriction, ...], dict[str, dict[str, Restriction]]]


@dataclass(slots=True)
class Counters:
    """What the gate has met since it was made."""

    records: int = 0
    heartbeats: int = 0
    heartbeats_old: int = 0
    """Heartbeats below the barrier, or too old by their own ``ts`` to open anything."""
    stale_generation: int = 0
    stale_epoch: int = 0
    undecodable: int = 0
    openings_refused: int = 0
    """Records that would have opened a latched scope without authority, and tombstones on latched scopes."""
    connections: int = 0
    connection_failures: int = 0
    hook_failures: int = 0


def severity(record: HaltRecord) -> int:
    """0 free, 1 warned, 2 reducing orders only, 3 blocked. The safe answer is the larger."""
    if record.state in ("HALTING", "HALTED"):
        return 2 if record.action == "reduce_only" else 3
    return {"ACTIVE": 0, "WARNED": 1, "RESUMING": 2}[record.state]


def _same(a: HaltRecord, b: HaltRecord) -> bool:
    return (a.halt_id, a.epoch, a.state, a.action) == (b.halt_id, b.epoch, b.state, b.action)


def _strictness(record: HaltRecord) -> tuple[int, bool]:
    return severity(record), latched(record)


def latched(record: HaltRecord) -> bool:
    """Only an authorised resume may end this state."""
    return record.state in ("HALTING", "HALTED")


class Undecodable(ValueError):
    """A value on ``halts`` that says nothing certain."""


def read_halt(key: str, value: bytes) -> HaltRecord:
    """The halt record under ``key``; Undecodable says what was found and expected."""
    try:
        record = decode(value, HaltRecord)
        parse(record.scope)
    except (msgspec.DecodeError, ValueError, RecursionError) as e:
        raise Undecodable(f"{e}") from e
    if record.scope != key:
        raise Undecodable(f"scope {record.scope!r} stands under key {key!r}; expected the same")
    if record.v != VERSION or record.epoch < 0 or record.generation < 0:
        raise Undecodable(
            f"v={record.v}, epoch={record.epoch}, generation={record.generation}; expected v={VERSION}, others >= 0"
        )
    return record


def read_heartbeat(value: bytes) -> Heartbeat:
    """The desk's heartbeat; Undecodable as above."""
    try:
        beat = decode(value, Heartbeat)
    except (msgspec.DecodeError, ValueError, RecursionError) as e:
        raise Undecodable(f"{e}") from e
    if beat.v != VERSION or beat.generation < 0:
        raise Undecodable(f"v={beat.v}, generation={beat.generation}; expected v={VERSION}, generation >= 0")
    return beat


class GateState:
    """Fold of ``halts`` for the gate of ``server``. Durations in ns.

    >>> state = GateState("R1", fail_closed_after_ns=2_000_000_000, clock_skew_ns_max=500_000_000)
    >>> state.view().decide("", "", "", False).allowed, state.view().deadline_ns
    (True, 0)
    """

    def __init__(self, server: str, *, fail_closed_after_ns: int, clock_skew_ns_max: int) -> None:
        if not server or fail_closed_after_ns <= 0 or clock_skew_ns_max < 0:
            raise ValueError(
                f"server={server!r}, fail_closed_after_ns={fail_closed_after_ns}, "
                f"clock_skew_ns_max={clock_skew_ns_max}; expected a name, a positive time, a time that is not negative"
            )
        self.own = scope("server", server)
        self.counters = Counters()
        self.records: dict[str, HaltRecord] = {}
        self.undecodable: dict[str, str] = {}
        self.generation = 0
        self.next_offset: int | None = None
        self.beat: Heartbeat | None = None
        self.beat_mono_ns = 0
        self.deadline_ns = 0
        self.broken = ""
        self._barrier: int | None = None
        self._scopes: Scopes | None = None
        self._fail_after_ns = fail_closed_after_ns
        self._skew_ns = clock_skew_ns_max

    @property
    def caught_up(self) -> bool:
        """Everything that stood on ``halts`` at the last (re)connection has been applied."""
        return self._barrier is not None and (self.next_offset or 0) >= self._barrier

    def connected(self, begin: int, end: int) -> int:
        """(Re)connected to a log [begin, end): the gate is closed until a heartbeat at or after ``end``. Returns where
        to read on. A log shorter than what was already read is another log, or a truncated one: closed for good."""
        if self.next_offset is not None and self.next_offset > end:
            self.broken = (
                f"halts ends at offset {end}, but {self.next_offset} was already read: the topic was truncated or "
                "made anew; check what is halted, then restart this process"
            )
        self._barrier, self.deadline_ns = end, 0
        return begin if self.next_offset is None else max(begin, min(self.next_offset, end))

    def lost(self) -> None:
        """The connection is gone: closed until ``connected`` and a fresh heartbeat."""
        self._barrier, self.deadline_ns = None, 0

    def apply(
        self, offset: int, key: bytes | None, value: bytes | None, mono_ns: int, utc_ns: int
    ) -> HaltRecord | None:
        """One record of ``halts``, in offset order. Returns it if it is an accepted change of a scope. Never raises."""
        self.counters.records += 1
        self.next_offset = offset + 1
        name = (key or b"").decode(errors="backslashreplace")
        if value is None:
            self._tombstone(name)
            return None
        try:
            if name == HEARTBEAT_KEY:
                self._heartbeat(offset, read_heartbeat(value), mono_ns, utc_ns)
                return None
            return self._halt(name, read_halt(name, value))
        except Undecodable as e:
            self._poison(name, f"offset {offset}: {e}")
            return None

    def _poison(self, name: str, reason: str) -> None:
        self.counters.undecodable += 1
        if name not in self.undecodable and len(self.undecodable) >= UNDECODABLE_MAX:
            self.broken = f"more than {UNDECODABLE_MAX} keys of halts do not decode; repair the topic, then restart"
            return
        self.undecodable[name] = reason

    def _tombstone(self, name: str) -> None:
        try:
            parse(name)
        except ValueError:
            self.undecodable.pop(name, None)
            return
        found = self.records.get(name)
        if name in self.undecodable or (found is not None and severity(found) >= 2):
            self.counters.openings_refused += 1

    def _fenced(self, generation: int) -> bool:
        if generation < self.generation:
            self.counters.stale_generation += 1
            return True
        self.generation = generation
        return False

    def _heartbeat(self, offset: int, beat: Heartbeat, mono_ns: int, utc_ns: int) -> None:
        if self._fenced(beat.generation):
            return
        self.undecodable.pop(HEARTBEAT_KEY, None)
        self.counters.heartbeats += 1
        left_ns = min(self._fail_after_ns, beat.ts + self._fail_after_ns + self._skew_ns - utc_ns)
        if self._barrier is None or offset < self._barrier or left_ns <= 0:
            self.counters.heartbeats_old += 1
        else:
            self.deadline_ns = max(self.deadline_ns, mono_ns + left_ns)
        if self.beat is None or beat.ts >= self.beat.ts:
            self.beat, self.beat_mono_ns = beat, mono_ns

    def _halt(self, name: str, new: HaltRecord) -> HaltRecord | None:
        if self._fenced(new.generation):
            return None
        found = self.records.get(name)
        if found is None:
            if len(self.records) >= SCOPES_MAX:
                self.broken = f"more than {SCOPES_MAX} scopes stand on halts; repair the topic, then restart"
                return None
        elif new.epoch < found.epoch:
            self.counters.stale_epoch += 1
            return None
        elif _same(new, found):  # told again, perhaps with more money in it: no transition
            self.undecodable.pop(name, None)
            self.records[name], self._scopes = new, None
            self.counters.stale_epoch += 1
            return None
        elif new.epoch == found.epoch and _strictness(new) < _strictness(found):
            self.counters.stale_epoch += 1
            return None
        elif latched(found) and (new.state == "WARNED" or (not latched(new) and not new.by)):
            self.counters.openings_refused += 1
            return None
        self.undecodable.pop(name, None)
        self.records[name], self._scopes = new, None
        return new

    def closed_reason(self) -> str:
        """Why the gate as a whole is closed whatever the heartbeat says; empty if it is not."""
        if self.broken:
            return self.broken
        if self.undecodable:
            key, reason = next(iter(self.undecodable.items()))
            more = f" (and {len(self.undecodable) - 1} more keys)" if len(self.undecodable) > 1 else ""
            return (
                f"halts holds a record under key {key!r} that cannot be read: {reason}{more}; closed until a valid "
                "newer record stands under that key"
            )
        return ""

    def _expired(self) -> Decision:
        if reason := self.closed_reason():
            return Decision(False, reason=reason)
        if self._barrier is None:
            return Decision(False, reason="not connected to halts")
        if not self.caught_up:
            return Decision(False, reason="not yet caught up with halts")
        return Decision(False, reason=f"no heartbeat of the desk for {self._fail_after_ns // MS_NS} ms")

    def view(self) -> View:
        """The view that follows from all records applied so far."""
        if self._scopes is None:
            self._scopes = _restricted(self.records, self.own)
        everywhere, tables = self._scopes
        blocks = [r.decision for r in everywhere if not r.reduce_only]
        return View(
            deadline_ns=0 if self.closed_reason() else self.deadline_ns,
            expired=blocks[0] if blocks else self._expired(),
            clear=not everywhere and not any(tables.values()),
            everywhere=everywhere,
            symbols=tables["symbol"],
            strategies=tables["strategy"],
            accounts=tables["account"],
        )

    def gate(self, fresh: bool) -> Gate:
        """What the node tells of its gate: ``ACTIVE``, ``REDUCING``, ``HALTED`` by the strictest of firm and own
        server, ``CLOSED`` when it fails closed; with the epoch of the record that says so."""
        found = [r for r in (self.records.get(FIRM), self.records.get(self.own)) if r is not None]
        worst = max(found, key=lambda r: (severity(r), r.epoch), default=None)
        epoch = worst.epoch if worst else 0
        if worst is not None and severity(worst) == 3:
            return Gate("HALTED", epoch)
        if not fresh or self.closed_reason():
            return Gate("CLOSED", epoch)
        return Gate("REDUCING" if worst is not None and severity(worst) == 2 else "ACTIVE", epoch)


def _restricted(records: dict[str, HaltRecord], own: str) -> Scopes:
    """What is not free: firm and own server with blocks first, then tables by kind of scope and name."""
    tables: dict[str, dict[str, Restriction]] = {"symbol": {}, "strategy": {}, "account": {}}
    everywhere: list[Restriction] = []
    for name, record in records.items():
        if severity(record) < 2:
            continue
        kind, value = parse(name)
        if name in (FIRM, own):
            everywhere.append(restriction(record, kind))
        elif kind in tables:
            tables[kind][value] = restriction(record, kind)
    everywhere.sort(key=lambda r: (r.reduce_only, r.decision.scope))
    return tuple(everywhere), tables


def restriction(record: HaltRecord, kind: str) -> Restriction:
    """The pre-made answers for one scope that is not free."""
    reduce_only = severity(record) == 2
    does = "lets through only what reduces a position" if reduce_only else "blocks"
    reason = f"{record.scope} is {record.state} and {does}: {record.text}"
    omitted = f"the order does not name its {kind}, and {reason}"
    return Restriction(
        Decision(False, record.scope, record.halt_id, reason),
        reduce_only,
        Decision(False, record.scope, record.halt_id, omitted),
    )
