"""Ordering halts and warnings, and widening them: the narrowest effective scope first, wider when flow goes on."""

from typing import Final

from msgspec.structs import replace

from halts.draft import Draft, halt_id
from halts.policy import Judgement
from halts.state import DRILL, CauseAdded, Distrusted, GateAck, Moved, ScopeState
from schemas.records import Action, Cause, FirstEvent, Money
from schemas.scopes import FIRM, parse, scope
from schemas.units import MS_NS

NO_ACK: Final = "no_ack"
AFTER_HALT_FLOW: Final = "after_halt_flow"
WIDENING: Final = "widening"
LIMIT: Final = "scopes_max"
OPERATOR: Final = "operator"
BY_DESK: Final = "desk"


def follow(d: Draft, j: Judgement) -> None:
    """What the policy's judgement does to its scope."""
    if j.level == "halt":
        halt(d, j)
    elif j.level in ("warn", "hold"):
        warn(d, j)


def warn(d: Draft, j: Judgement) -> None:
    """WARNED, which blocks nothing. After a resume, a warning that more than one input shows halts for a while."""
    s = d.scope(j.scope)
    if (
        not s.closed
        and j.seen > 1
        and d.config.resuming_strict
        and (_is_watched(d, s) or _is_watched(d, d.scope(FIRM)))
    ):
        halt(d, j)
    elif s.state == "WARNED":
        _add_causes(d, s, j.causes)
    elif s.state == "ACTIVE" and d.room_for(j.scope):
        lead = j.causes[0]
        d.add(
            Moved(
                scope=j.scope,
                state="WARNED",
                action=d.config.action,
                halt_id=halt_id(j.scope, lead.detector, lead.first_event),
                server=j.server,
                causes=j.causes,
                ts_event=j.ts_event,
                ts_decided=j.ts_decided,
                money=j.money,
                by=BY_DESK,
            )
        )


def _is_watched(d: Draft, s: ScopeState) -> bool:
    """Was it reopened lately?"""
    return s.state == "RESUMING" or d.now < s.probation_until


def halt(d: Draft, j: Judgement, by: str = BY_DESK, reason: str = "", action: Action | None = None) -> None:
    """HALTING, from any state that is not closed, and from a drill if this is none. On a scope that is closed: one more
    cause, and wider if it flows."""
    s = d.scope(j.scope)
    if s.closed and not (s.drill and j.causes[0].detector != DRILL):
        _add_causes(d, s, j.causes)
        _widen_if_it_flows(d, j)
        return
    if not d.room_for(j.scope):
        lead = j.causes[0]
        evidence: dict[str, object] = {"scope": j.scope, "scopes": len(d.state.scopes)}
        size = float(len(d.state.scopes))
        full = Cause(LIMIT, size, float(d.config.scopes_max), 0.0, evidence, lead.first_event)
        halt(d, replace(j, scope=FIRM, causes=(full, *j.causes)), by, reason, action)
        return
    lead = j.causes[0]
    d.add(
        Moved(
            scope=j.scope,
            state="HALTING",
            action=action or d.config.action,
            halt_id=halt_id(j.scope, lead.detector, lead.first_event),
            server=j.server,
            causes=j.causes,
            ts_event=j.ts_event,
            ts_decided=j.ts_decided,
            money=j.money,
            by=by,
            reason=reason,
            gates=d.gates_of(j.scope, j.server),
        )
    )
    _widen_with_siblings(d, d.scope(j.scope))


def widen(d: Draft, s: ScopeState, server: str, cause: Cause, ts_decided: int, money: Money) -> None:
    """Halt the next wider scope: ``server`` for a symbol, strategy or account, the firm for a server."""
    kind, _ = parse(s.scope)
    if kind == FIRM:
        _add_causes(d, s, (cause,))
        return
    origin = [c for c in s.causes if c.detector not in (NO_ACK, AFTER_HALT_FLOW, WIDENING)][:1]
    target = scope("server", server) if kind != "server" and server else FIRM
    halt(
        d,
        Judgement(
            scope=target,
            level="halt",
            causes=(cause, *origin),
            server=server,
            ts_event=s.ts_event,
            ts_decided=ts_decided,
            money=money,
        ),
    )


def distrust(d: Draft, s: ScopeState, server: str, cause: Cause, ts: int, money: Money) -> None:
    """Orders passed a gate that had said ``blocked``: its answer counts no more, HALTED is no longer true, and the
    scope widens."""
    owed = d.owing(d.config.ack_timeout_ms)
    d.add(Distrusted(s.scope, server, AFTER_HALT_FLOW, replace(owed, acted=True)))
    if s.drill:  # that is what the drill has found out
        return
    s = d.scope(s.scope)
    if s.state == "HALTED":
        causes = (cause, *s.causes)[: d.config.causes_max]
        d.move(
            s, "HALTING", server=server, causes=causes, ts_decided=ts, money=money, by=BY_DESK, reason="", gates=s.gates
        )
    else:
        _add_causes(d, s, (cause,))
    widen(d, s, server, cause, ts, money)


def flow_cause(server: str, gate: GateAck, ts: int, evidence: dict[str, object], first: FirstEvent) -> Cause:
    """The cause of ``distrust``: score is how long after ``blocked`` the flow was seen (ms)."""
    after_ms = (ts - gate.blocked_ts) / MS_NS
    return Cause(AFTER_HALT_FLOW, after_ms, 0.0, 0.0, {"server": server, "after_ms": after_ms, **evidence}, first)


def _add_causes(d: Draft, s: ScopeState, causes: tuple[Cause, ...]) -> None:
    """Causes by detectors that are not yet among those of the scope."""
    known = {cause.detector for cause in d.scope(s.scope).causes}
    for cause in causes:
        if cause.detector not in known and len(known) < d.config.causes_max:
            known.add(cause.detector)
            d.add(CauseAdded(s.scope, cause))


def _widen_if_it_flows(d: Draft, j: Judgement) -> None:
    """A symbol, strategy or account that is blocked, and whose detector still sees new orders from a server. (A
    server's own flow after its block is seen in its feature rows.)"""
    s = d.scope(j.scope)
    gate = s.gates.get(j.server)
    if not j.flow or gate is None or not gate.blocked_ts or parse(s.scope)[0] in ("server", FIRM):
        return
    late = j.ts_decided > gate.blocked_ts + d.config.widen_after_ms * MS_NS
    after_all = gate.confirmed_ts and j.ts_decided > gate.confirmed_ts + d.config.after_halt_grace_ms * MS_NS
    if late or after_all:
        lead = j.causes[0]
        evidence: dict[str, object] = {"scope": s.scope, "detector": lead.detector}
        cause = flow_cause(j.server, gate, j.ts_decided, evidence, lead.first_event)
        distrust(d, s, j.server, cause, j.ts_decided, j.money)


def _widen_with_siblings(d: Draft, s: ScopeState) -> None:
    """As many halted scopes of one server as configured halt the server, as many servers the firm. Halts that people
    ordered do not count."""
    kind, _ = parse(s.scope)
    if kind == FIRM or not d.config.siblings_to_widen or not _own(s):
        return
    closed = [other for name in d.state.live if (other := d.scope(name)).closed and _own(other)]
    if kind == "server":
        siblings = [other.scope for other in closed if parse(other.scope)[0] == "server"]
    else:
        kinds = ("server", FIRM)
        siblings = [o.scope for o in closed if o.server == s.server and parse(o.scope)[0] not in kinds and s.server]
    if len(siblings) < d.config.siblings_to_widen:
        return
    evidence: dict[str, object] = {"scopes": siblings}
    count, bound = float(len(siblings)), float(d.config.siblings_to_widen)
    cause = Cause(WIDENING, count, bound, 0.0, evidence, s.first_event)
    widen(d, s, s.server, cause, s.ts_decided, s.money)


def _own(s: ScopeState) -> bool:
    return bool(s.causes) and s.causes[0].detector not in (OPERATOR, DRILL)
