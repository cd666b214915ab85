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
* A value that does not decode, that no trusted key has signed (``halts.gate_trust``, when the gate has keys) or that
  goes back to an epoch which a desk has left closes the whole gate, also across reconnections, until a valid record
  that is not older stands under the same key. A key that is no scope can never carry one; there a tombstone releases.
* A heartbeat that says that no worker reads this router's partition closes the gate until one says otherwise.
* A tombstone never opens anything that is latched. A heartbeat that was counted before does not count again.
* What is refused is told, once a second and key at most: ``take_refusals``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from halts.gate_throttle import Throttle
from halts.gate_trust import Trust
from halts.gate_view import NOT_STARTED, OPEN, Decision, Restriction, Scopes, View, latched, restricted, severity
from schemas.records import Gate, HaltRecord, Heartbeat, decode
from schemas.scopes import FIRM, parse, scope
from schemas.topics import HEARTBEAT_KEY
from schemas.units import MS_NS, S_NS

__all__ = [
    "NOT_STARTED",
    "OPEN",
    "Counters",
    "Decision",
    "GateState",
    "Refusal",
    "Restriction",
    "View",
    "latched",
    "severity",
]

SCOPES_MAX: Final = 100_000
"""Scopes a gate keeps; one more closes it (a log like that is not a desk's)."""
UNDECODABLE_MAX: Final = 1_000
"""Keys kept with the reason why their last value was not decoded; one more closes the gate for good."""
VERSION: Final = 1
REFUSALS_MAX: Final = 100
"""Refused records waiting to be told; further ones are only counted."""
TELL_NS: Final = S_NS
"""A key whose records are refused is told this often at most."""


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
    untrusted: int = 0
    """Records that no trusted key has signed, or that went back to an epoch which was left."""
    openings_refused: int = 0
    """Records that would have opened a latched scope without authority, and tombstones on latched scopes."""
    connections: int = 0
    connection_failures: int = 0
    hook_failures: int = 0
    clock_leaps: int = 0
    """UTC and the monotonic clock of this host moved apart: it was stopped, or its clock was set."""


def _same(a: HaltRecord, b: HaltRecord) -> bool:
    return (a.halt_id, a.epoch, a.state, a.action) == (b.halt_id, b.epoch, b.state, b.action)


def _strictness(record: HaltRecord) -> tuple[int, bool]:
    return severity(record), latched(record)


class Unusable(ValueError):
    """A value on ``halts`` that closes the gate."""


class Undecodable(Unusable):
    """It says nothing certain."""


class Untrusted(Unusable):
    """It says something that only a forger, or a desk gone wrong, would say."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that did not count, for the operators. ``scope``: its key. Empty and 0 where it did not decode."""

    scope: str
    reason: str
    halt_id: str = ""
    epoch: int = 0


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
    """Fold of ``halts`` for the gate of ``server``. Durations in ns. partition: of that router's orders, from how many
    there are; None for those who look on.

    >>> state = GateState("R1", fail_closed_after_ns=2_000_000_000, clock_skew_ns_max=500_000_000)
    >>> state.view().decide("", "", "", False).allowed, state.view().deadline_ns
    (True, 0)
    """

    def __init__(
        self,
        server: str,
        *,
        fail_closed_after_ns: int,
        clock_skew_ns_max: int,
        trust: Trust | None = None,
        partition: Callable[[int], int] | None = None,
    ) -> None:
        if not server or fail_closed_after_ns <= 0 or clock_skew_ns_max < 0:
            raise ValueError(
                f"server={server!r}, fail_closed_after_ns={fail_closed_after_ns}, "
                f"clock_skew_ns_max={clock_skew_ns_max}; expected a name, a positive time, a time that is not negative"
            )
        self.own = scope("server", server)
        self._partition = partition
        self.unwatched = -1
        """Partition of this router's orders while no worker reads it; -1: one does, or nothing is known."""
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
        self._throttles: dict[str, Throttle] = {}
        self._trust = trust or Trust()
        self._refusals: list[Refusal] = []
        self._told_ns: dict[str, int] = {}
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
        if self.next_offset is not None and offset < self.next_offset:
            return None  # applied before
        self.counters.records += 1
        self.next_offset = offset + 1
        name = (key or b"").decode(errors="backslashreplace")
        new: HaltRecord | None = None
        try:
            if value is None:
                self._tombstone(name, mono_ns)
            elif name == HEARTBEAT_KEY:
                self._heartbeat(offset, read_heartbeat(value), mono_ns, utc_ns)
            else:
                new = read_halt(name, value)
                return self._halt(name, new, mono_ns)
        except Unusable as e:
            self._poison(name, f"offset {offset}: {e}", isinstance(e, Undecodable))
            self._refuse(name, self.undecodable.get(name, self.broken), mono_ns, new)
        return None

    def take_refusals(self) -> list[Refusal]:
        """What was refused since the last call, and is to be told."""
        told, self._refusals = self._refusals, []
        return told

    def _refuse(self, name: str, reason: str, mono_ns: int, record: HaltRecord | None = None) -> None:
        last = self._told_ns.get(name)
        if (last is not None and mono_ns - last < TELL_NS) or len(self._refusals) >= REFUSALS_MAX:
            return
        if last is None and len(self._told_ns) >= UNDECODABLE_MAX:
            return
        self._told_ns[name] = mono_ns
        found = (record.halt_id, record.epoch) if record is not None else ("", 0)
        self._refusals.append(Refusal(name, reason, *found))

    def _poison(self, name: str, reason: str, undecodable: bool) -> None:
        self.counters.undecodable += undecodable
        self.counters.untrusted += not undecodable
        if name not in self.undecodable and len(self.undecodable) >= UNDECODABLE_MAX:
            self.broken = f"more than {UNDECODABLE_MAX} keys of halts do not decode; repair the topic, then restart"
            return
        self.undecodable[name] = reason

    def _tombstone(self, name: str, mono_ns: int) -> None:
        try:
            parse(name)
        except ValueError:
            self.undecodable.pop(name, None)
            return
        found = self.records.get(name)
        if name in self.undecodable or (found is not None and severity(found) >= 2):
            self.counters.openings_refused += 1
            self._refuse(name, "a tombstone (a record without a value) opens nothing", mono_ns, found)

    def _fenced(self, generation: int) -> bool:
        if generation < self.generation:
            self.counters.stale_generation += 1
            return True
        self.generation = generation
        return False

    def _heartbeat(self, offset: int, beat: Heartbeat, mono_ns: int, utc_ns: int) -> None:
        if wrong := self._trust.problem(beat, self.generation):
            raise Untrusted(wrong)
        if self._fenced(beat.generation):
            return
        self.undecodable.pop(HEARTBEAT_KEY, None)
        self.counters.heartbeats += 1
        if self.beat is not None and (beat.generation, beat.seq) <= (self.beat.generation, self.beat.seq):
            self.counters.heartbeats_old += 1  # somebody says again what the desk said
            return
        left_ns = min(self._fail_after_ns, beat.ts + self._fail_after_ns + self._skew_ns - utc_ns)
        if self._barrier is None or offset < self._barrier or left_ns <= 0:
            self.counters.heartbeats_old += 1
        else:
            self.deadline_ns = max(self.deadline_ns, mono_ns + left_ns)
        self.beat, self.beat_mono_ns = beat, mono_ns
        self.unwatched = self._unread(beat)

    def _unread(self, beat: Heartbeat) -> int:
        if not beat.unwatched or beat.partitions <= 0 or self._partition is None:
            return -1
        own = self._partition(beat.partitions)
        return own if own in beat.unwatched else -1

    def _halt(self, name: str, new: HaltRecord, mono_ns: int) -> HaltRecord | None:
        if wrong := self._trust.problem(new, self.generation):
            raise Untrusted(wrong)
        if self._fenced(new.generation):
            said = f"generation {new.generation} is that of a desk which was replaced by {self.generation}"
            self._refuse(name, f"{said}: ignored", mono_ns, new)
            return None
        found = self.records.get(name)
        if found is None:
            if len(self.records) >= SCOPES_MAX:
                self.broken = f"more than {SCOPES_MAX} scopes stand on halts; repair the topic, then restart"
                return None
        elif new.epoch < found.epoch:
            self.counters.stale_epoch += 1
            raise Untrusted(
                f"epoch {new.epoch} ({new.state}) after epoch {found.epoch} ({found.state}) of the same scope; no desk "
                "goes back, epochs only grow"
            )
        elif _same(new, found):  # told again, perhaps with more money in it: no transition
            self.undecodable.pop(name, None)
            self._set(name, new)
            self.counters.stale_epoch += 1
            return None
        elif new.epoch == found.epoch and _strictness(new) < _strictness(found):
            self.counters.stale_epoch += 1
            return None
        elif latched(found) and (new.state == "WARNED" or (not latched(new) and not new.by)):
            self.counters.openings_refused += 1
            self._refuse(name, f"{new.state} by {new.by or 'nobody'} does not end {found.state}", mono_ns, new)
            return None
        self.undecodable.pop(name, None)
        self._set(name, new)
        return new

    def _set(self, name: str, new: HaltRecord) -> None:
        """Stands from here on. A throttle stays what it is as long as its stage lasts: nothing is saved up anew."""
        self.records[name], self._scopes = new, None
        if new.state != "RESUMING" or new.orders_per_s_max <= 0:
            self._throttles.pop(name, None)
        elif (old := self._throttles.get(name)) is None or old.per_s != new.orders_per_s_max:
            self._throttles[name] = Throttle(new.orders_per_s_max)

    def closed_reason(self) -> str:
        """Why the gate as a whole is closed whatever the heartbeat says; empty if it is not."""
        if self.broken:
            return self.broken
        if self.undecodable:
            key, reason = next(iter(self.undecodable.items()))
            more = f" (and {len(self.undecodable) - 1} more keys)" if len(self.undecodable) > 1 else ""
            return (
                f"halts holds a record under key {key!r} that cannot be used: {reason}{more}; closed until a valid "
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
        if self.unwatched >= 0:
            where = f"partition {self.unwatched} of orderflow"
            return Decision(False, reason=f"no worker reads this router's orders ({where}): closed until one does")
        return Decision(False, reason=f"no heartbeat of the desk for {self._fail_after_ns // MS_NS} ms")

    def view(self) -> View:
        """The view that follows from all records applied so far."""
        if self._scopes is None:
            self._scopes = restricted(self.records, self.own, self._throttles)
        everywhere, tables = self._scopes
        blocks = [r.decision for r in everywhere if not r.reduce_only]
        return View(
            deadline_ns=0 if self.unwatched >= 0 or self.closed_reason() else self.deadline_ns,
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
