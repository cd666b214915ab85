"""The latched ledger: ``decide(config, state, input) -> events`` and ``evolve(state, event) -> state``, both pure.

ACTIVE -> WARNED -> HALTING -> HALTED -> RESUMING -> ACTIVE. HALTING and HALTED are left only by an authorised resume
(HALTED falls back to HALTING when orders pass a gate that had confirmed). Each transition of a scope takes the next
epoch. The state is the fold of the events, so that the events alone are the record.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from halts.answers import ack, flow, node_alive, time_passes, touch
from halts.authority import command
from halts.config import DeskConfig
from halts.draft import Draft, halt_id
from halts.drills import probe
from halts.evolve import evolve
from halts.orders import BY_DESK, follow
from halts.policy import Judgement
from halts.state import (
    Adopted,
    Event,
    Flow,
    Input,
    LedgerState,
    NodeAlive,
    Overtaken,
    Probe,
    Said,
    ScopeState,
    TimePasses,
    Touch,
)
from schemas.records import Ack, HaltRecord
from schemas.scopes import FIRM, scope

__all__ = ["Closure", "decide", "effective", "evolve", "halt_id"]


def decide(config: DeskConfig, state: LedgerState, given: Input | Judgement) -> tuple[Event, ...]:
    """The events that follow from one input. They are not applied: fold them with ``evolve``."""
    d = Draft(config, state)
    match given:
        case Judgement():
            follow(d, given)
        case TimePasses():
            time_passes(d, given)
        case Touch():
            touch(d, given)
        case NodeAlive():
            node_alive(d, given.server)
        case Flow():
            flow(d, given)
        case Ack():
            ack(d, given)
        case Said():
            command(d, given)
        case Probe():
            probe(d, given)
        case HaltRecord():
            _adopt(d, given)
    return tuple(d.events)


def _adopt(d: Draft, record: HaltRecord) -> None:
    """What stands on ``halts`` against what this desk knows. The newer wins, but not over a latch: an opening that this
    desk did not decide is overruled, in an epoch above it. A block that was being carried out is ordered again, so that
    the gates answer again."""
    own = d.scope(record.scope)
    known = record.scope in d.state.scopes
    record_closed = record.state in ("HALTING", "HALTED")
    if record.epoch < own.epoch or (known and record.epoch == own.epoch and own.closed >= record_closed):
        return
    if own.closed and not record_closed:
        d.add(Overtaken(record.scope, record.epoch))
        _order_again(d, d.scope(record.scope))
        return
    if not d.room_for(record.scope):
        raise ValueError(
            f"halts holds more than desk.scopes_max ({d.config.scopes_max}) scopes that are not ACTIVE: raise it"
        )
    d.add(Adopted(record))
    if record.state == "HALTING":
        _order_again(d, d.scope(record.scope))


def _order_again(d: Draft, s: ScopeState) -> None:
    d.move(s, "HALTING", by=s.by or BY_DESK, gates=d.gates_of(s.scope, s.server), again=True)


class HasState(Protocol):
    """A scope's state, as ScopeState and HaltRecord both have it."""

    @property
    def state(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def halt_id(self) -> str: ...


class Closure(Struct, frozen=True):
    """Which scope closes, and whether orders that reduce a position may still pass."""

    scope: str
    halt_id: str
    state: str
    reduce_only: bool


def effective(
    states: Mapping[str, HasState], server: str = "", symbol: str = "", strategy: str = "", account: str = ""
) -> Closure | None:
    """The scope that closes an order with these attributes; None if none does. Of overlapping scopes the safe answer
    wins: a block goes before reduce-only, and of equals the widest is named."""
    named = (("server", server), ("account", account), ("strategy", strategy), ("symbol", symbol))
    closures: list[Closure] = []
    for name in (FIRM, *(scope(kind, value) for kind, value in named if value)):
        s = states.get(name)
        if s is None or s.state in ("ACTIVE", "WARNED"):
            continue
        reduce_only = s.state == "RESUMING" or s.action == "reduce_only"
        closures.append(Closure(name, s.halt_id, s.state, reduce_only))
    return min(closures, key=lambda c: c.reduce_only, default=None)
