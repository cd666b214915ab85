"""The ledger as other people see it: halt records, audit bodies, the view for status and metrics."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from halts.state import (
    Acked,
    AckIgnored,
    Adopted,
    BrokeGlass,
    CauseAdded,
    CommandTaken,
    Configured,
    Distrusted,
    Event,
    LedgerState,
    Overtaken,
    Proposed,
    Refused,
    Repeated,
    Requested,
    ScopeState,
)
from halts.text import sentence
from schemas.records import HaltRecord
from schemas.scopes import CANARY, FIRM, parse
from schemas.units import MS_NS


def halt_record(ledger: LedgerState, name: str, generation: int) -> HaltRecord:
    """The record of the scope as it stands."""
    s = ledger.scope(name)
    return HaltRecord(
        halt_id=s.halt_id,
        epoch=s.epoch,
        scope=s.scope,
        state=s.state,
        action=s.action,
        ts_event=s.ts_event,
        ts_decided=s.ts_decided,
        cause=s.causes,
        text=sentence(s, _closed_besides(ledger, name)),
        money=s.money,
        by=s.by,
        generation=generation,
        orders_per_s_max=s.orders_per_s_max,
    )


def _closed_besides(ledger: LedgerState, name: str) -> list[str]:
    """Closed scopes other than ``name`` that may overlap with it: all but other names of its own kind."""
    kind, _ = parse(name)
    closed = (other for other in ledger.live if ledger.scope(other).closed and other not in (name, CANARY))
    return [other for other in closed if kind == FIRM or parse(other)[0] != kind]


def transition_body(was: ScopeState, now: ScopeState, record: HaltRecord) -> dict[str, Any]:
    """Audit body of a transition: from which state, with which causes, how fast the gates were."""
    return {
        "from": was.state,
        "record": msgspec.to_builtins(record),
        "reason": now.reason,
        "gates": {
            server: {
                "status": gate.status or "waiting",
                "blocked_ms": (gate.blocked_ts - now.halt_ts) / MS_NS if gate.blocked_ts else None,
                "confirmed_ms": (gate.confirmed_ts - now.halt_ts) / MS_NS if gate.confirmed_ts else None,
            }
            for server, gate in now.gates.items()
        },
    }


def audit_kind(event: Event) -> str | None:
    """Kind of the audit record of an event other than a transition; None: it leaves none."""
    if isinstance(event, AckIgnored):
        return "record_refused" if event.ack.status == "refused" else "ack_ignored"
    if isinstance(event, Distrusted):
        return event.why
    return _AUDIT_KINDS.get(type(event))


_AUDIT_KINDS: Final[Mapping[type, str]] = {
    CauseAdded: "cause",
    Acked: "ack",
    Requested: "request",
    CommandTaken: "command",
    Refused: "refused",
    Repeated: "repeated",
    BrokeGlass: "break_glass",
    Proposed: "proposal",
    Configured: "config",
    Adopted: "adopted",
    Overtaken: "overtaken",
}


def view(ledger: LedgerState) -> dict[str, Any]:
    """Scopes that are not ACTIVE, how many are, and the nodes."""
    return {
        "scopes": [_scope_view(ledger.scope(name), ledger) for name in ledger.live],
        "scopes_known": len(ledger.scopes),
        "config": {"version": ledger.config.version, "digest": ledger.config.digest, "by": ledger.config.by},
        "nodes": {server: (ledger.now - heard) // MS_NS for server, heard in sorted(ledger.nodes.items())},
    }


def _scope_view(s: ScopeState, ledger: LedgerState) -> dict[str, Any]:
    gates = s.gates.items()
    return {
        "scope": s.scope,
        "state": s.state,
        "epoch": s.epoch,
        "halt_id": s.halt_id,
        "action": s.action,
        "detectors": [cause.detector for cause in s.causes],
        "ts_event": s.ts_event,
        "ts_decided": s.ts_decided,
        "by": s.by,
        "reason": s.reason,
        "money": msgspec.to_builtins(s.money),
        "dispatched": s.halt_ts if s.closed else 0,
        "acknowledged": [server for server, gate in gates if gate.blocked_ts],
        "effective": [server for server, gate in gates if gate.status == "confirmed"],
        "awaiting": [server for server, gate in gates if gate.status != "confirmed"],
        "distrusted": [server for server, gate in gates if gate.acted and gate.status != "confirmed"],
        "working": sum(gate.working for _, gate in gates),
        "stuck_orders": [order for _, gate in gates for order in gate.orders],
        "request": msgspec.to_builtins(s.request),
        "orders_per_s_max": s.orders_per_s_max,
        "text": sentence(s, _closed_besides(ledger, s.scope)),
    }
