"""Who may order what. A halt or a drill: anyone who is known, with a reason. A resume: the halt's own epoch, a reason,
two people for firm and server scopes, not before the cool-off is over; then in stages, reducing orders first."""

from halts import drills
from halts.draft import Draft
from halts.orders import OPERATOR, halt
from halts.policy import Judgement
from halts.state import CommandTaken, Forgotten, Refused, Request, Requested, Said, ScopeState
from schemas.records import Cause, Command
from schemas.scopes import parse
from schemas.units import MS_NS


def command(d: Draft, said: Said) -> None:
    """An operator's word: done, or refused with the reason. A command_id that was seen before does nothing."""
    c = said.command
    if c.command_id and c.command_id in d.state.commands:
        return
    if len(d.state.commands) >= d.config.commands_max:
        d.add(Forgotten(command_id=next(iter(d.state.commands))))
    problem = said.problem or _malformed(c) or _unauthorised(d, c)
    if problem:
        d.add(Refused(c, problem))
        return
    d.add(CommandTaken(c))
    if c.verb == "halt":
        _halt(d, said)
    elif c.verb == "drill":
        drills.begin(d, c, said.at)
    elif c.verb == "resume" and parse(c.scope)[0] in d.config.two_person_scopes:
        d.add(Requested(c.scope, Request(c.command_id, c.by, c.key_id, c.reason, d.now)))
    elif c.verb == "resume":
        _resume(d, d.scope(c.scope), c, c.by, c.reason)
    else:
        s = d.scope(c.scope)
        request = s.request
        assert request is not None, "an approve without a request was not refused"
        _resume(d, s, c, f"{request.by}, {c.by}", request.reason)


def _malformed(c: Command) -> str:
    """What is wrong with the command itself; empty if nothing."""
    try:
        parse(c.scope)
    except ValueError as error:
        return f"{error}; send the command again with such a scope"
    if not c.command_id:
        return "command_id is empty; expected an id of its own for each command"
    if not c.by.strip():
        return "by is empty; expected the name of the person who orders it"
    if c.verb != "approve" and not c.reason.strip():
        return f"reason is empty; {c.verb} {c.scope} needs the reason in words"
    if c.v != 1:
        return f"version {c.v} of a command is not known; expected 1"
    return ""


def _unauthorised(d: Draft, c: Command) -> str:
    """Why it may not be done now; empty if it may."""
    if c.verb == "halt":
        return ""
    if c.verb == "drill":
        return drills.refusal(d, c)
    s = d.scope(c.scope)
    if not s.closed:
        return f"{c.scope} is {s.state}, not halted: there is nothing to {c.verb}"
    if c.halt_id and c.halt_id != s.halt_id:
        return f"it names halt {c.halt_id}, but {s.halt_id} stands on {c.scope}: read its state again"
    if not s.resume_epoch <= c.epoch <= s.epoch:
        return (
            f"stale: it answers epoch {c.epoch} of {c.scope}, which is halted since epoch {s.resume_epoch}: "
            f"read its state again, then send epoch {s.epoch}"
        )
    return _unapproved(d, s, c) if c.verb == "approve" else _cooling(d, s) if _single(d, s) else ""


def _unapproved(d: Draft, s: ScopeState, c: Command) -> str:
    request = s.request
    if request is None or request.command_id != c.approves:
        open_one = f"the open request is {request.command_id}" if request else "none is open"
        return f"there is no request {c.approves!r} to resume {c.scope}: {open_one}"
    same_key = bool(request.key_id) and request.key_id == c.key_id
    if same_key or _person(request.by) == _person(c.by):
        return f"{c.by} asked for this resume (or holds the same key): another person must approve it"
    return _cooling(d, s)


def _cooling(d: Draft, s: ScopeState) -> str:
    left_ns = s.halt_at + d.config.cool_off_ms * MS_NS - d.now
    if left_ns <= 0:
        return ""
    return f"cool-off: {s.scope} stays halted for {left_ns / 1e9:.1f} s more; ask again then"


def _single(d: Draft, s: ScopeState) -> bool:
    return parse(s.scope)[0] not in d.config.two_person_scopes


def _person(name: str) -> str:
    return " ".join(name.split()).casefold()


def _halt(d: Draft, said: Said) -> None:
    c = said.command
    kind, name = parse(c.scope)
    evidence: dict[str, object] = {"by": c.by, "reason": c.reason, "command_id": c.command_id}
    judgement = Judgement(
        scope=c.scope,
        level="halt",
        causes=(Cause(OPERATOR, 1.0, 0.0, 0.0, evidence, said.at),),
        server=name if kind == "server" else "",
        ts_event=c.ts,
        ts_decided=c.ts,
    )
    halt(d, judgement, by=c.by, reason=c.reason)


def _resume(d: Draft, s: ScopeState, c: Command, by: str, reason: str) -> None:
    d.move(s, "RESUMING", action="reduce_only", ts_decided=c.ts, by=by, reason=reason)
