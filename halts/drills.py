"""Drills: a scope is halted as an exercise, through the whole real path, and restored by the desk itself.

A drill ends, in ACTIVE, at the first tick after every gate concerned has confirmed, or after ``drill_ms_max`` if one
has not: that is its result, and no reason to halt more. A real cause on the scope meanwhile makes a halt of its own out
of it, which only people open. The canary is a drill on a scope that no router has.
"""

from typing import Final

from halts.draft import Draft
from halts.orders import halt
from halts.policy import Judgement
from halts.state import DRILL, Probe, ScopeState
from schemas.records import Cause, Command, FirstEvent
from schemas.scopes import CANARY, CANARY_SERVER, parse
from schemas.units import MS_NS

BY_CANARY: Final = "canary"
PROBE: Final = "probe of the kill path"


def refusal(d: Draft, c: Command) -> str:
    """Why the drill may not be held now; empty if it may."""
    s = d.scope(c.scope)
    if s.state != "ACTIVE":
        return f"{c.scope} is {s.state}: a drill needs a scope that is ACTIVE"
    kind, name = parse(c.scope)
    alive = sorted(server for server in d.state.nodes if d.alive(server))
    if (name in alive or c.scope == CANARY) if kind == "server" else alive:
        return ""
    who = f"no gate answers for {c.scope}" if kind == "server" else "no gate answers"
    return (
        f"{who}: heard from in the last {d.config.node_alive_ms} ms: {', '.join(alive) or 'nobody'}; name one of them"
    )


def begin(d: Draft, c: Command, at: FirstEvent) -> None:
    """The drill that a person ordered."""
    _begin(d, c.scope, {"by": c.by, "reason": c.reason, "command_id": c.command_id}, at, c.ts)


def probe(d: Draft, p: Probe) -> None:
    """The canary's drill, unless one is under way."""
    if d.scope(CANARY).state == "ACTIVE":
        _begin(d, CANARY, {"by": BY_CANARY, "reason": PROBE}, p.at, p.at.ts)


def _begin(d: Draft, scope: str, evidence: dict[str, object], at: FirstEvent, ts: int) -> None:
    kind, name = parse(scope)
    judgement = Judgement(
        scope=scope,
        level="halt",
        causes=(Cause(DRILL, 1.0, 0.0, 0.0, evidence, at),),
        server=name if kind == "server" else "",
        ts_event=ts,
        ts_decided=ts,
    )
    halt(d, judgement, by=str(evidence["by"]), reason=str(evidence["reason"]))


def end_if_due(d: Draft, s: ScopeState) -> None:
    """Restore the scope: all gates have confirmed, or the time is over."""
    over = d.now - s.halt_at >= d.config.drill_ms_max * MS_NS
    if not s.drill or not (s.state == "HALTED" or over):
        return
    silent = sorted(server for server, gate in s.gates.items() if gate.status != "confirmed")
    result = f"not confirmed: {', '.join(silent)}" if silent else "confirmed by every gate concerned"
    ts = max([s.ts_decided, *(gate.confirmed_ts for gate in s.gates.values())])
    d.move(s, "ACTIVE", ts_decided=ts, by=f"end of the drill by {s.by}", reason=f"drill over: {result}")


def is_probe(server: str) -> bool:
    """Is it the canary's own gate? It is no node, and answers for no other halt."""
    return server == CANARY_SERVER
