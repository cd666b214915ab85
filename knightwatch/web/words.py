"""Small words of the page: how a scope, a state, an amount and a moment are written. Everything is escaped here."""

from html import escape
from typing import Final

from halts.phrases import number, usd
from halts.text import clock
from schemas.scopes import parse

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

__all__ = ["MARKS", "MEANS", "clock", "escape", "number", "tag", "usd", "when", "who"]


def who(scope: str) -> str:
    """``server:R3`` -> ``Router R3``; ``firm`` -> ``The firm``. Escaped."""
    kind, name = parse(scope)
    return f"{WHO[kind]} {escape(name)}" if kind in WHO else "The firm"


def tag(state: str) -> str:
    """A state as shape and word."""
    return f'<b class="tag {state.lower()}"><i aria-hidden="true">{MARKS[state]}</i>{state}</b>'


def when(ts_ns: int, what: str = "ago") -> str:
    """A moment whose distance the page keeps counting by itself. what: ``ago`` or ``for``."""
    return f'<time data-since="{ts_ns // 1_000_000}" data-as="{what}" title="{clock(ts_ns)} UTC"></time>'
