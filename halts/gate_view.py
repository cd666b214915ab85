"""What a gate answers: immutable views, each the answer to every question until it expires."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from halts.gate_throttle import Throttle
from schemas.records import HaltRecord
from schemas.scopes import FIRM, parse


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
    """A scope that is not free. ``reduce_only``: what reduces a position may pass, and what ``throttle`` lets."""

    decision: Decision
    reduce_only: bool
    omitted: Decision
    """The answer to an order that does not say which symbol (strategy, account) it is for."""
    throttle: Throttle | None = field(default=None, compare=False)

    def passes(self, reducing: bool, now_ns: int) -> bool:
        """May an order in this scope go out?"""
        if not self.reduce_only:
            return False
        return reducing or (self.throttle is not None and self.throttle.take(now_ns))


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

    def decide(self, symbol: str, strategy: str, account: str, reducing: bool, now_ns: int = 0) -> Decision:
        """The safe answer of all scopes that the order is in; freshness is the caller's to check first."""
        for found in self.everywhere:
            if not found.passes(reducing, now_ns):
                return found.decision
        for name, table in ((symbol, self.symbols), (strategy, self.strategies), (account, self.accounts)):
            if not table:
                continue
            if not name:
                for found in table.values():
                    if not found.passes(reducing, now_ns):
                        return found.omitted
            elif (hit := table.get(name)) is not None and not hit.passes(reducing, now_ns):
                return hit.decision
        return OPEN


Scopes = tuple[tuple[Restriction, ...], dict[str, dict[str, Restriction]]]


def severity(record: HaltRecord) -> int:
    """0 free, 1 warned, 2 reducing orders only, 3 blocked. The safe answer is the larger."""
    if record.state in ("HALTING", "HALTED"):
        return 2 if record.action == "reduce_only" else 3
    return {"ACTIVE": 0, "WARNED": 1, "RESUMING": 2}[record.state]


def latched(record: HaltRecord) -> bool:
    """Only an authorised resume may end this state."""
    return record.state in ("HALTING", "HALTED")


def restricted(records: Mapping[str, HaltRecord], own: str, throttles: Mapping[str, Throttle]) -> Scopes:
    """What is not free: firm and own server with blocks first, then tables by kind of scope and name. throttles: by
    scope, of those that may send at a cut of their rate."""
    tables: dict[str, dict[str, Restriction]] = {"symbol": {}, "strategy": {}, "account": {}}
    everywhere: list[Restriction] = []
    for name, record in records.items():
        if severity(record) < 2:
            continue
        kind, value = parse(name)
        if name in (FIRM, own):
            everywhere.append(restriction(record, kind, throttles.get(name)))
        elif kind in tables:
            tables[kind][value] = restriction(record, kind, throttles.get(name))
    everywhere.sort(key=lambda r: (r.reduce_only, r.decision.scope))
    return tuple(everywhere), tables


def restriction(record: HaltRecord, kind: str, throttle: Throttle | None = None) -> Restriction:
    """The pre-made answers for one scope that is not free."""
    reduce_only = severity(record) == 2
    does = "lets through only what reduces a position" if reduce_only else "blocks"
    if throttle is not None:
        does += f", and {throttle.per_s:g} orders a second"
    reason = f"{record.scope} is {record.state} and {does}: {record.text}"
    omitted = f"the order does not name its {kind}, and {reason}"
    return Restriction(
        Decision(False, record.scope, record.halt_id, reason),
        reduce_only,
        Decision(False, record.scope, record.halt_id, omitted),
        throttle if reduce_only else None,
    )
