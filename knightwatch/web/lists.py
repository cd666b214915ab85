"""The list of scopes, the counts and the timeline. HTML made once for all viewers."""

from typing import Final

from knightwatch.web.story import Picture, Scope
from knightwatch.web.timeline import Entry
from knightwatch.web.words import MARKS, clock, escape, usd, when, who
from schemas.units import MS_NS

TONES: Final = {"halt": "■", "warn": "◆", "open": "◐", "gate": "·", "person": "☞", "note": "·"}
ENTRIES_SHOWN: Final = 120


def rows(picture: Picture) -> str:
    """The scopes, worst first."""
    return "".join(_row(picture.scopes[name]) for name in picture.order)


def _row(scope: Scope) -> str:
    record, state, name = scope.record, scope.state, escape(scope.name)
    told = ""
    if record is not None and state != "ACTIVE":
        told = when(scope.since_ts, "for")
        if record.money.loss_usd >= 0.5:
            told += f" · {usd(record.money.loss_usd)}"
        if scope.request:
            told += " · <b>reopening asked</b>"
    elif scope.silent:
        told = "<b>router silent</b>"
    return (
        f'<button class="row {state.lower()}" role="option" id="row-{name}" data-pick="{name}" tabindex="-1">'
        f'<i aria-hidden="true">{MARKS[state]}</i><span class="name">{who(scope.name)}</span>'
        f'<span class="state">{state}</span><span class="told">{told}</span></button>'
    )


def counts(picture: Picture) -> str:
    """How many scopes are in which state, in words."""
    shown = [(state, picture.count(state)) for state in ("HALTING", "HALTED", "RESUMING", "WARNED")]
    parts = [f'<b class="tag {s.lower()}"><i>{MARKS[s]}</i>{n} {s}</b>' for s, n in shown if n]
    free = picture.count("ACTIVE")
    parts.append(f'<span class="free">{MARKS["ACTIVE"]} {free} active</span>')
    return "".join(parts)


def timeline(picture: Picture, scope: str = "") -> str:
    """The last entries, newest first; of one scope only if it is named."""
    chosen = [e for e in picture.entries if not scope or e.scope == scope][:ENTRIES_SHOWN]
    if not chosen:
        return "<li class='note'><span class='text'>Nothing in the audit yet.</span></li>"
    return "".join(_entry(e) for e in chosen)


def _entry(entry: Entry) -> str:
    of = f"<b>{_of(entry.scope)}</b>" if entry.scope else ""
    at = clock(entry.stamp_ms * MS_NS)[:8]
    return (
        f'<li class="{entry.tone}"><time>{at}</time><i aria-hidden="true">{TONES[entry.tone]}</i>'
        f'<span class="text">{of} {escape(entry.text)}</span></li>'
    )


def _of(scope: str) -> str:
    try:
        return who(scope)
    except ValueError:
        return escape(scope)
