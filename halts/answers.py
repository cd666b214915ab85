"""What time, nodes, gates and the flow itself say about halts that stand."""

from msgspec.structs import replace

from halts import proposals
from halts.draft import Draft
from halts.drills import end_if_due, is_probe
from halts.idle import node_is_news, passed, scopes_of_flow
from halts.orders import AFTER_HALT_FLOW, BY_DESK, NO_ACK, distrust, flow_cause, widen
from halts.policy import largest_money
from halts.state import (
    NEVER,
    RANK,
    Acked,
    AckIgnored,
    Advanced,
    Distrusted,
    Flow,
    Forgotten,
    GateAck,
    NodeHeard,
    Requested,
    ScopeState,
    TimePasses,
    Touch,
    Touched,
)
from schemas.records import Ack, Cause, State
from schemas.scopes import CANARY, parse, scope
from schemas.units import MS_NS

__all__ = ["AFTER_HALT_FLOW", "ack", "flow", "node_alive", "time_passes", "touch"]


def touch(d: Draft, t: Touch) -> None:
    """A breach was seen on the scope: it is not quiet, and its money is known anew."""
    if t.scope in d.state.live:
        d.add(Touched(t.scope, t.ts, t.money))


def node_alive(d: Draft, server: str) -> None:
    """The node lives. If it had not been known to, its gate owes answers to the halts that are being carried out."""
    if not node_is_news(d.config, d.state, server):
        return
    joins: dict[str, GateAck] = {}
    if not d.alive(server):
        for name in d.state.live:
            s = d.scope(name)
            if s.state == "HALTING" and parse(name)[0] != "server" and server not in s.gates:
                joins[name] = d.owing(d.config.join_timeout_ms)
    if server not in d.state.nodes and len(d.state.nodes) >= d.config.nodes_max:
        d.add(Forgotten(server=min(d.state.nodes, key=lambda node: (d.state.nodes[node], node))))
    d.add(NodeHeard(server, joins))


def ack(d: Draft, a: Ack) -> None:
    """A gate's answer. When every gate concerned has confirmed, the scope is HALTED: nothing is working."""
    if not is_probe(a.server):
        node_alive(d, a.server)
    if a.status == "refused":
        d.add(AckIgnored(a, f"no answer: its gate refused a record on halts: {a.reason}"))
        return
    s = d.scope(a.scope)
    gate = s.gates.get(a.server) or GateAck(NEVER)
    if why := _not_counting(s, gate, a):
        d.add(AckIgnored(a, why))
        return
    fresh = a.epoch > gate.epoch
    d.add(
        Acked(
            a,
            replace(
                gate,
                status=a.status,
                epoch=a.epoch,
                blocked_ts=a.ts if fresh or not gate.blocked_ts else gate.blocked_ts,
                confirmed_ts=a.ts if a.status == "confirmed" else 0,
                working=a.working,
                orders=a.orders,
            ),
        )
    )
    _conclude(d, d.scope(a.scope))


def _conclude(d: Draft, s: ScopeState) -> None:
    """HALTED, if every gate concerned has confirmed. A desk that knew no node when it ordered the halt (it has just
    started) first gives them the time in which each that lives is heard."""
    if s.state != "HALTING" or not s.gates or any(g.status != "confirmed" for g in s.gates.values()):
        return
    if s.surveyed or d.now - s.halt_at >= d.config.node_alive_ms * MS_NS:
        _move(d, s, "HALTED", max(s.ts_decided, *(g.confirmed_ts for g in s.gates.values())), s.gates)


def _not_counting(s: ScopeState, gate: GateAck, a: Ack) -> str:
    """Why the answer does not count; empty if it does."""
    if is_probe(a.server) and s.scope != CANARY:
        return "the canary's gate answers for nothing else"
    if not s.closed:
        return f"{a.scope} is {s.state}: nothing to answer"
    if parse(s.scope)[0] == "server" and s.scope != scope("server", a.server):
        return f"the halt of {a.scope} does not concern {a.server}"
    if a.halt_id != s.halt_id:
        return f"it answers halt {a.halt_id}, but {s.halt_id} stands"
    if not s.halt_epoch <= a.epoch <= s.epoch:
        return f"it answers epoch {a.epoch}, but the halt stands since epoch {s.halt_epoch} (now {s.epoch})"
    if (a.epoch, RANK[a.status]) < (gate.epoch, RANK[gate.status]):
        return f"{a.server} had already said {gate.status}"
    if (a.epoch, a.status, a.working, a.orders) == (gate.epoch, gate.status, gate.working, gate.orders):
        return "repeat"
    return ""


def flow(d: Draft, f: Flow) -> None:
    """Orders left a server in a frame that began after its gate had said ``blocked``."""
    for name in scopes_of_flow(f.server):
        if name not in d.state.live:
            continue
        s = d.scope(name)
        gate = passed(d.config, s, f.server, f.began_ts)
        if gate is None:
            continue
        evidence: dict[str, object] = {"orders": f.orders, "frame_ts": f.began_ts, "blocked_ts": gate.blocked_ts}
        cause = flow_cause(f.server, gate, f.began_ts, evidence, f.source)
        distrust(d, s, f.server, cause, f.ts, largest_money((s.money, f.money)))


def time_passes(d: Draft, t: TimePasses) -> None:
    """Silent gates, quiet warnings, resumes that went well, requests that nobody approved."""
    d.add(Advanced(t.now))
    for name in d.state.live:
        s = d.scope(name)
        if s.closed:
            _silent_gates(d, s)
            _stale_request(d, s)
            _conclude(d, d.scope(name))
            end_if_due(d, d.scope(name))
        elif name in t.open_scopes:
            continue
        elif s.state == "WARNED" and d.now - s.touched_at >= d.config.warn_quiet_ms * MS_NS:
            _move(d, s, "ACTIVE", s.touched_ts + d.config.warn_quiet_ms * MS_NS, {})
        elif s.state == "RESUMING" and d.now - s.touched_at >= d.config.resume_stage_ms * MS_NS:
            _next_stage(d, s)
    proposals.expire(d)


def _next_stage(d: Draft, s: ScopeState) -> None:
    """A quiet stage of a resume leads to the next: reducing orders only, then few orders, then all, on probation."""
    ts = s.touched_ts + d.config.resume_stage_ms * MS_NS
    rate = d.config.resume_orders_per_s
    if rate and not s.orders_per_s_max:
        d.move(s, "RESUMING", ts_decided=ts, by=BY_DESK, orders_per_s_max=rate)
    else:
        until = d.now + d.config.probation_ms * MS_NS
        d.move(s, "ACTIVE", action=d.config.action, ts_decided=ts, by=BY_DESK, probation_until=until)


def _silent_gates(d: Draft, s: ScopeState) -> None:
    """Gates whose ``blocked`` is overdue: each is acted upon once."""
    late = [server for server, gate in s.gates.items() if _overdue(gate, d.now)]
    for server in late:
        gate = s.gates[server]
        d.add(Distrusted(s.scope, server, NO_ACK, replace(gate, acted=True)))
        if s.drill:  # that is what the drill has found out
            continue
        waited_ns = gate.due_at - s.halt_at
        evidence: dict[str, object] = {"scope": s.scope, "servers": late, "waited_ms": waited_ns // MS_NS}
        limit_ms = float(d.config.ack_timeout_ms)
        cause = Cause(NO_ACK, waited_ns / MS_NS, limit_ms, 0.0, evidence, s.first_event)
        widen(d, d.scope(s.scope), server, cause, s.halt_ts + waited_ns, s.money)


def _overdue(gate: GateAck, now: int) -> bool:
    return not gate.status and not gate.acted and now >= gate.due_at


def _stale_request(d: Draft, s: ScopeState) -> None:
    if s.request is not None and d.now - s.request.asked_at >= d.config.request_ttl_ms * MS_NS:
        d.add(Requested(s.scope, None, f"nobody approved {s.request.command_id} in time"))


def _move(d: Draft, s: ScopeState, state: State, ts: int, gates: dict[str, GateAck]) -> None:
    """A transition that keeps the halt's identity and causes."""
    if state == "HALTED":
        d.move(s, state, ts_decided=ts, gates=gates)
    else:
        d.move(s, state, action=d.config.action, ts_decided=ts, by=BY_DESK, gates=gates)
