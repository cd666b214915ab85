"""Scopes of a halt: ``server:NAME``, ``strategy:NAME``, ``account:NAME``, ``symbol:NAME`` or ``firm``."""

from typing import Final

FIRM: Final = "firm"
KINDS: Final = ("server", "strategy", "account", "symbol")
CANARY_SERVER: Final = "_canary"
CANARY: Final = "server:_canary"
"""The scope that the worker with the desk halts and restores again and again, to prove that the kill path works. No
router has that name: a gate for it runs beside the desk, and nothing real is ever blocked by it."""


def scope(kind: str, name: str) -> str:
    """``scope("server", "R3") == "server:R3"``."""
    text = f"{kind}:{name}"
    parse(text)
    return text


def parse(text: str) -> tuple[str, str]:
    """Kind and name of a scope; ``firm`` has an empty name. ValueError says what was found and expected."""
    if text == FIRM:
        return FIRM, ""
    kind, colon, name = text.partition(":")
    if not colon or kind not in KINDS or not name:
        kinds = ", ".join(f"{k}:NAME" for k in KINDS)
        raise ValueError(f"scope {text!r} is not one of {kinds} or {FIRM}")
    return kind, name
