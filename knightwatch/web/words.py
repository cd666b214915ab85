"""Small words of the page: how a scope, a state, an amount and a moment are written. Everything is escaped here."""

import re
from html import escape
from typing import Final

from halts.phrases import number, usd
from halts.text import clock
from schemas.scopes import parse
from schemas.units import MS_NS

MARKS: Final = {"HALTED": "■", "HALTING": "▲", "RESUMING": "◐", "WARNED": "◆", "ACTIVE": "○"}
"""A shape for each state: nobody needs to tell colours apart."""
WHO: Final = {"server": "Router", "strategy": "Strategy", "account": "Account", "symbol": "Symbol"}
MEANS: Final = {
    "HALTED": "blocked and confirmed: nothing is working",
    "HALTING": "block ordered, not yet confirmed",
    "RESUMING": "only orders that reduce a position pass",
    "WARNED": "nothing is blocked",
    "ACTIVE": "open",
}
_END: Final = re.compile(r"[.…] (?=[A-Z])")

__all__ = ["MARKS", "MEANS", "after", "clock", "escape", "lead", "number", "tag", "usd", "when", "who"]


def who(scope: str) -> str:
    """``server:R3`` -> ``Router R3``; ``firm`` -> ``The firm``. Escaped."""
    kind, name = parse(scope)
    return f"{WHO[kind]} {escape(name)}" if kind in WHO else "The firm"


def tag(state: str) -> str:
    """A state as shape and word."""
    return f'<b class="tag {state.lower()}"><i aria-hidden="true">{MARKS[state]}</i>{state}</b>'


def lead(text: str) -> tuple[str, str]:
    """The first sentence of a halt record's text, and the rest.

    >>> lead("Router R3 sent 7 orders, since 13:30:00.412 UTC. Lost USD 3,412. We block router R3.")
    ('Router R3 sent 7 orders, since 13:30:00.412 UTC.', 'Lost USD 3,412. We block router R3.')
    """
    found = _END.search(text)
    return (text[: found.start() + 1], text[found.end() :]) if found else (text, "")


def after(ts_ns: int, ordered_ns: int) -> str:
    """How long after the order something happened.

    >>> after(1_020_000_000, 1_000_000_000), after(3_500_000_000, 1_000_000_000), after(0, 5)
    ('20 ms', '2.5 s', '–')
    """
    if not ts_ns or not ordered_ns:
        return clock(ts_ns) if ts_ns else "–"
    ms = max(ts_ns - ordered_ns, 0) / MS_NS
    return f"{ms:.0f} ms" if ms < 1_000 else f"{ms / 1e3:.1f} s"


def when(ts_ns: int, what: str = "ago") -> str:
    """A moment whose distance the page keeps counting by itself. what: ``ago`` or ``for``. Empty if not known."""
    if ts_ns <= 0:
        return ""
    return f'<time data-since="{ts_ns // 1_000_000}" data-as="{what}" title="{clock(ts_ns)} UTC"></time>'
