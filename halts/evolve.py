"""The ledger's state after an event. No decision is made here: what may follow what is ``decide``'s business."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from halts.policy import largest_money
from halts.state import (
    CLOSED,
    Acked,
    AckIgnored,
    Adopted,
    Advanced,
    BrokeGlass,
    CauseAdded,
    CommandTaken,
    Configured,
    Distrusted,
    Event,
    Forgotten,
    LedgerState,
    Moved,
    NodeHeard,
    Overtaken,
    Proposed,
    Refused,
    Repeated,
    Requested,
    ScopeState,
    Touched,
)
from schemas.scopes import parse


def evolve(state: LedgerState, event: Event) -> LedgerState:
    """The state after ``event``. Pure: ``state`` is not changed."""
    return _EVOLVE[type(event)](state, event)


def _advanced(state: LedgerState, event: Advanced) -> LedgerState:
    return replace(state, now=event.now)


def _moved(state: LedgerState, event: Moved) -> LedgerState:
    before = state.scope(event.scope)
    epoch = before.epoch + 1
    orders_block = event.state == "HALTING"
    after = replace(
        before,
        state=event.state,
        epoch=epoch,
        halt_id=event.halt_id,
        action=event.action,
        server=event.server,
        causes=event.causes,
        ts_event=event.ts_event,
        ts_decided=event.ts_decided,
        money=event.money,
        by=event.by,
        reason=event.reason,
        halt_epoch=epoch if orders_block else before.halt_epoch,
        resume_epoch=epoch if orders_block and not event.again else before.resume_epoch,
        halt_ts=event.ts_decided if orders_block else before.halt_ts,
        halt_at=state.now if orders_block else before.halt_at,
        touched_ts=event.ts_decided,
        touched_at=state.now,
        gates=event.gates,
        surveyed=bool(event.gates) if orders_block else before.surveyed,
        request=before.request if event.state == "HALTED" else None,
        orders_per_s_max=event.orders_per_s_max,
        probation_until=event.probation_until,
    )
    return _put(state, after)


def _put(state: LedgerState, scope: ScopeState) -> LedgerState:
    """``scopes`` and ``live`` with ``scope`` in its new state."""
    live = tuple(s for s in state.live if s != scope.scope)
    if scope.state != "ACTIVE":
        live = tuple(sorted((*live, scope.scope)))
    return replace(state, scopes={**state.scopes, scope.scope: scope}, live=live)


def _set(state: LedgerState, scope: ScopeState) -> LedgerState:
    return replace(state, scopes={**state.scopes, scope.scope: scope})


def _cause_added(state: LedgerState, event: CauseAdded) -> LedgerState:
    scope = state.scope(event.scope)
    return _set(state, replace(scope, causes=(*scope.causes, event.cause)))


def _touched(state: LedgerState, event: Touched) -> LedgerState:
    scope = state.scope(event.scope)
    return _set(
        state,
        replace(
            scope,
            touched_ts=max(scope.touched_ts, event.ts),
            touched_at=state.now,
            money=largest_money((scope.money, event.money)),
        ),
    )


def _acked(state: LedgerState, event: Acked) -> LedgerState:
    scope = state.scope(event.ack.scope)
    return _set(state, replace(scope, gates={**scope.gates, event.ack.server: event.gate}))


def _distrusted(state: LedgerState, event: Distrusted) -> LedgerState:
    scope = state.scope(event.scope)
    return _set(state, replace(scope, gates={**scope.gates, event.server: event.gate}))


def _node_heard(state: LedgerState, event: NodeHeard) -> LedgerState:
    nodes = {**state.nodes, event.server: state.now}
    if not event.joins:
        return replace(state, nodes=nodes)
    scopes = dict(state.scopes)
    for name, gate in event.joins.items():
        scopes[name] = replace(scopes[name], gates={**scopes[name].gates, event.server: gate})
    return replace(state, nodes=nodes, scopes=scopes)


def _requested(state: LedgerState, event: Requested) -> LedgerState:
    return _set(state, replace(state.scope(event.scope), request=event.request))


def _command(state: LedgerState, event: CommandTaken | Refused) -> LedgerState:
    if isinstance(event, Refused) and event.forged:
        return state
    return replace(state, commands={**state.commands, event.command.command_id: isinstance(event, CommandTaken)})


def _adopted(state: LedgerState, event: Adopted) -> LedgerState:
    record = event.record
    closed = record.state in CLOSED
    kind, name = parse(record.scope)
    return _put(
        state,
        ScopeState(
            scope=record.scope,
            state=record.state,
            epoch=record.epoch,
            halt_id=record.halt_id,
            action=record.action,
            server=name if kind == "server" else "",
            causes=record.cause,
            ts_event=record.ts_event,
            ts_decided=record.ts_decided,
            money=record.money,
            by=record.by,
            halt_epoch=record.epoch if closed else 0,
            resume_epoch=record.epoch if closed else 0,
            halt_ts=record.ts_decided if closed else 0,
            halt_at=state.now,
            touched_ts=record.ts_decided,
            touched_at=state.now,
            orders_per_s_max=record.orders_per_s_max,
        ),
    )


def _forgotten(state: LedgerState, event: Forgotten) -> LedgerState:
    left = state.scopes.get(event.scope)
    return replace(
        state,
        scopes={name: s for name, s in state.scopes.items() if name != event.scope} if left else state.scopes,
        epoch_floor=max(state.epoch_floor, left.epoch if left else 0),
        live=tuple(name for name in state.live if name != event.scope),
        nodes={server: at for server, at in state.nodes.items() if server != event.server},
        commands={id_: ok for id_, ok in state.commands.items() if id_ != event.command_id},
    )


def _overtaken(state: LedgerState, event: Overtaken) -> LedgerState:
    scope = state.scope(event.scope)
    return _set(state, replace(scope, epoch=max(scope.epoch, event.epoch)))


def _proposed(state: LedgerState, event: Proposed) -> LedgerState:
    return replace(state, proposal=event.proposal)


def _configured(state: LedgerState, event: Configured) -> LedgerState:
    return replace(state, config=event, proposal=None)


def _unchanged(state: LedgerState, event: AckIgnored | Repeated | BrokeGlass) -> LedgerState:
    return state


_EVOLVE: Final[Mapping[type, Callable[[LedgerState, Any], LedgerState]]] = {
    Advanced: _advanced,
    Moved: _moved,
    CauseAdded: _cause_added,
    Touched: _touched,
    Acked: _acked,
    AckIgnored: _unchanged,
    Distrusted: _distrusted,
    NodeHeard: _node_heard,
    Requested: _requested,
    CommandTaken: _command,
    Refused: _command,
    Repeated: _unchanged,
    BrokeGlass: _unchanged,
    Proposed: _proposed,
    Configured: _configured,
    Adopted: _adopted,
    Forgotten: _forgotten,
    Overtaken: _overtaken,
}
