"""One plain sentence (or three short ones) for the head of trading: who, what, since when, how much, what to do."""

from collections.abc import Sequence
from typing import Final

from halts.phrases import clause, usd
from halts.state import BROKE_GLASS, ScopeState
from schemas.records import Cause, Money
from schemas.scopes import parse
from schemas.units import MS_NS, S_NS

TEXT_MAX: Final = 280
DAY_S: Final = 86_400
OBEDIENCE: Final = ("no_ack", "after_halt_flow")
"""Causes that are about obeying a halt, not about the flow that made it."""
WHO: Final = {"server": "Router", "strategy": "Strategy", "account": "Account", "symbol": "Symbol"}


def clock(ts: int) -> str:
    """Time of day from ns UTC.

    >>> clock(1_343_827_800_412_000_000)
    '13:30:00.412'
    """
    seconds = ts // S_NS % DAY_S
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ts // MS_NS % 1000:03d}"


def who(scope: str) -> str:
    """``server:R3`` -> ``Router R3``; ``firm`` -> ``The firm``."""
    kind, name = parse(scope)
    return f"{WHO[kind]} {name}" if kind in WHO else "The firm"


def sentence(s: ScopeState, closed_by: Sequence[str] = ()) -> str:
    """The text of the scope's halt record, at most TEXT_MAX characters.

    closed_by: other scopes that stay closed, to be named when this one resumes.
    """
    if s.state in ("RESUMING", "ACTIVE"):
        return _fit(_opening(s, closed_by))
    lead = s.causes[0] if s.causes else None
    if lead is None:
        return _fit(f"{who(s.scope)} is {s.state}", advice=_advice(s))
    if lead.detector in ("operator", "drill"):
        return _fit(_by_person(s, lead), advice=_advice(s))
    return _fit(_seen(s, lead), _money(s.money), _advice(s))


def _seen(s: ScopeState, lead: Cause) -> str:
    """Subject, what it does, since when; further detectors by name."""
    kind, name = parse(s.scope)
    subject = f"Router {s.server}" if s.server else who(s.scope)
    place = f" in {kind} {name}" if s.server and kind not in ("server", "firm") else ""
    others = [cause.detector for cause in s.causes[1:3]]
    also = f" ({' and '.join(others)} agree{'s' if len(others) == 1 else ''})" if others else ""
    if lead.detector in OBEDIENCE and others:
        also = f" (halted for {others[0]})"
    return f"{subject} {clause(lead)}{place}{also}, since {clock(s.ts_event)} UTC"


def _money(money: Money) -> str:
    parts = []
    if money.loss_usd >= 0.5:
        parts.append(f"lost {usd(money.loss_usd)}")
    if money.loss_usd_per_s >= 0.5:
        parts.append(f"losing {usd(money.loss_usd_per_s)}/s")
    if not parts and money.gross_usd >= 0.5:
        parts.append(f"{usd(money.gross_usd)} gross traded")
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]


def _advice(s: ScopeState) -> str:
    """What is being done, and what to do."""
    kind, name = parse(s.scope)
    subject = f"{WHO[kind].lower()} {name}" if kind in WHO else "the whole firm"
    if s.state == "WARNED":
        return f"Nothing is blocked: look at {subject} now, halt it if you cannot explain this"
    does = {
        "block_and_cancel": f"We block {subject} and cancel its orders",
        "block": f"We block {subject}; its working orders stay",
        "reduce_only": f"We let {subject} reduce positions only",
    }[s.action]
    waiting = [server for server, gate in s.gates.items() if gate.acted and gate.status != "confirmed"]
    if s.state == "HALTED":
        stopped = "Stopped, nothing is working" if s.action != "reduce_only" else "Only reducing orders pass"
        return f"{stopped}: find the cause before you resume {subject}"
    if waiting or (s.causes and s.causes[0].detector in OBEDIENCE):
        culprit = waiting[0] if waiting else s.server
        return f"{does}: cut the sessions of {culprit or subject} at the venues now"
    return f"{does}: wait for HALTED, keep it off until the cause is known"


def _by_person(s: ScopeState, lead: Cause) -> str:
    by = str(lead.evidence.get("by", s.by))
    reason = str(lead.evidence.get("reason", s.reason))
    what = "DRILL: " if lead.detector == "drill" else ""
    return f"{what}{by} halts {who(s.scope)[:1].lower() + who(s.scope)[1:]} since {clock(s.ts_event)} UTC: {reason}"


def _opening(s: ScopeState, closed_by: Sequence[str]) -> str:
    if s.state == "ACTIVE":
        return f"{who(s.scope)} is open again since {clock(s.ts_decided)} UTC: nothing is blocked on this scope"
    still = f"; still closed: {', '.join(closed_by[:3])}" if closed_by else ""
    if s.orders_per_s_max:
        return (
            f"{who(s.scope)} reopens step by step since {clock(s.ts_decided)} UTC: up to {s.orders_per_s_max:g} orders a "
            f"second pass each gate, besides those that reduce a position{still}"
        )
    reason = f" ({s.reason})" if s.reason else ""
    alone = "BREAK-GLASS, one person alone: " if s.by.endswith(BROKE_GLASS) else ""
    return (
        f"{alone}{s.by} resume{'' if ',' in s.by else 's'} {who(s.scope)[:1].lower() + who(s.scope)[1:]} since "
        f"{clock(s.ts_decided)} UTC{reason}: only orders that reduce a position pass for now{still}"
    )


def _fit(head: str, money: str = "", advice: str = "") -> str:
    """Head, money and advice as sentences on one line within TEXT_MAX. The head is cut, at a word; the rest stays."""
    head = " ".join(head.split())
    tail = "".join(f" {part}." for part in (money, advice) if part)
    room = TEXT_MAX - len(tail) - 1
    if len(head) > room:
        cut = head[: max(room - 1, 0)]
        head = (cut.rsplit(" ", 1)[0] if " " in cut else cut).rstrip(" ,;:(") + "…"
        return f"{head}{tail}"[:TEXT_MAX]
    return f"{head}.{tail}"
