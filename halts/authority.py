"""Who may order what, and when. A halt or a drill: anyone who is known, with a reason. A resume: the halt's own epoch, a
reason, two people for firm and server scopes, not before the cool-off is over, and nobody whose trading the halt is
about; then in stages. Break-glass does it alone and at once, and is told as such everywhere."""

from typing import Final

from halts import drills, proposals
from halts.draft import Draft
from halts.orders import OPERATOR, halt
from halts.policy import Judgement
from halts.state import (
    BROKE_GLASS,
    BrokeGlass,
    CommandTaken,
    Forgotten,
    Overtaken,
    Proposal,
    Refused,
    Repeated,
    Request,
    Requested,
    Said,
    ScopeState,
)
from schemas.records import Cause, Command
from schemas.scopes import FIRM, KINDS, parse
from schemas.units import MS_NS, S_NS

EPOCHS_AHEAD_MAX: Final = 1_000
"""By how much a halt that was written directly may be above what this desk knew of the scope."""
NAMED: Final = {**{kind: kind for kind in KINDS}, **{f"{kind}s": kind for kind in KINDS}, "strategies": "strategy"}
"""Keys of a cause's evidence that name a scope, or several."""


def command(d: Draft, said: Said) -> None:
    """An operator's word: done, or refused with the reason. What was taken in before does nothing again."""
    c = said.command
    if said.problem:  # not remembered: a forger must not use up the id of a command that is to come
        d.add(Refused(c, said.problem, forged=True))
        return
    if c.command_id and c.command_id in d.state.commands:
        d.add(Repeated(c))
        return
    if len(d.state.commands) >= d.config.commands_max:
        d.add(Forgotten(command_id=next(iter(d.state.commands))))
    if problem := _malformed(c) or _stale(d, said) or _unauthorised(d, c):
        d.add(Refused(c, problem))
        return
    d.add(CommandTaken(c))
    _obey(d, said)


def _obey(d: Draft, said: Said) -> None:
    c = said.command
    match c.verb:
        case "halt":
            _halt(d, said)
        case "drill":
            drills.begin(d, c, said.at)
        case "config":
            proposals.propose(d, c)
        case "resume" if c.emergency:
            d.add(BrokeGlass(c))
            _resume(d, d.scope(c.scope), c, c.by + BROKE_GLASS, c.reason)
        case "resume" if _single(d, d.scope(c.scope)):
            _resume(d, d.scope(c.scope), c, c.by, c.reason)
        case "resume":
            d.add(Requested(c.scope, Request(c.command_id, c.by, c.key_id, c.reason, d.now)))
        case "approve" if (proposal := _proposal(d, c)) is not None:
            proposals.approve(d, proposal, c)
        case "approve":
            s = d.scope(c.scope)
            assert s.request is not None, "an approve without a request was not refused"
            _resume(d, s, c, f"{s.request.by}, {c.by}", s.request.reason)


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
    if c.emergency and c.verb != "resume":
        return f"emergency is set on {c.verb}; expected it on a resume only"
    if c.verb != "approve" and not c.reason.strip():
        return f"reason is empty; {c.verb} {c.scope} needs the reason in words"
    if c.v != 1:
        return f"version {c.v} of a command is not known; expected 1"
    return ""


def _stale(d: Draft, said: Said) -> str:
    """Is it too old? What opens something must be fresh; a halt may have waited for a desk to come back."""
    c, now = said.command, said.ts
    if not now:
        return ""
    closes = c.verb in ("halt", "drill")
    limit_ms = d.config.halt_age_ms_max if closes else d.config.command_age_ms_max
    age_ns = now - c.ts if closes else abs(now - c.ts)
    if age_ns <= limit_ms * MS_NS:
        return ""
    side = "before" if now > c.ts else "after"
    return (
        f"stale: it was given {age_ns / S_NS:.1f} s {side} the desk's clock, at most {limit_ms / 1e3:g} s are taken: "
        "check the clocks, then give it again"
    )


def _unauthorised(d: Draft, c: Command) -> str:
    """Why it may not be done now; empty if it may."""
    if c.verb == "halt":
        return ""
    if c.verb == "drill":
        return drills.refusal(d, c)
    if c.verb == "config":
        return proposals.refusal(d, c)
    if (proposal := _proposal(d, c)) is not None:
        return _self_approval(proposal, c)
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
    if problem := _involved(d, s, c.by):
        return problem
    if c.verb == "approve":
        return _unapproved(d, s, c)
    return "" if c.emergency or not _single(d, s) else _cooling(d, s)


def _proposal(d: Draft, c: Command) -> Proposal | None:
    """The proposed configuration that an approve agrees to."""
    proposal = d.state.proposal
    agrees = c.verb == "approve" and c.scope == FIRM and proposal is not None and proposal.command_id == c.approves
    return proposal if agrees else None


def _self_approval(asked: Request | Proposal, c: Command) -> str:
    same_key = bool(asked.key_id) and asked.key_id == c.key_id
    if same_key or _person(asked.by) == _person(c.by):
        return f"{c.by} asked for it (or holds the same key): another person must approve it"
    return ""


def _unapproved(d: Draft, s: ScopeState, c: Command) -> str:
    request = s.request
    if request is None or request.command_id != c.approves:
        open_one = f"the open request is {request.command_id}" if request else "none is open"
        return f"there is no request {c.approves!r} to resume {c.scope}: {open_one}"
    return _self_approval(request, c) or _cooling(d, s)


def _involved(d: Draft, s: ScopeState, by: str) -> str:
    """Is the halt about what this person trades?"""
    person = _person(by)
    owned = {o for name, operator in d.config.operators.items() if _person(name) == person for o in operator.owns}
    about = sorted(owned & implicated(s))
    if not about:
        return ""
    return f"{by} owns {', '.join(about)}, which this halt is about: somebody else must reopen it"


def implicated(s: ScopeState) -> set[str]:
    """Scopes that a halt is about: its own, its server, and those that the evidence of its causes names."""
    found = {s.scope, *([f"server:{s.server}"] if s.server else [])}
    for cause in s.causes:
        for key, value in cause.evidence.items():
            values = value if isinstance(value, list | tuple) else [value]
            words = [word for word in values if isinstance(word, str) and word]
            if (kind := NAMED.get(key)) is not None:
                found.update(f"{kind}:{word}" for word in words)
            elif key in ("scope", "scopes"):
                found.update(words)
    return found


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
    s = d.scope(c.scope)
    if 0 < c.epoch - s.epoch <= EPOCHS_AHEAD_MAX and d.room_for(c.scope):
        d.add(Overtaken(c.scope, c.epoch))  # it was written to halts directly: what follows stands above that
        if s.closed:
            d.move(d.scope(c.scope), "HALTING", gates=d.gates_of(c.scope, s.server), again=True)
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
