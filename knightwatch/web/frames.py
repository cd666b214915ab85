"""Frames: what each browser is sent. The HTML is made once and shared; each viewer gets the blocks that are new to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from knightwatch.web import detail, lists
from knightwatch.web.story import Picture
from knightwatch.web.words import MARKS, escape


@dataclass
class Shared:
    """The blocks of one picture. Cards are made when the first viewer asks. clock: seconds, by which the pulse goes on."""

    picture: Picture
    now_ms: int
    where: str
    problem: str = ""
    clock: Callable[[], float] = lambda: 0.0
    cards: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        picture, self._made = self.picture, self.clock()
        self.blocks = {
            "where": escape(self.where),
            "counts": lists.counts(picture),
            "rows": lists.rows(picture),
            "timeline": lists.timeline(picture),
        }

    def card(self, scope: str) -> str:
        """The card of ``scope``."""
        if scope not in self.cards:
            self.cards[scope] = detail.card(self.picture, scope)
        return self.cards[scope]

    def pulse(self) -> dict[str, Any]:
        """How fresh it all is; sent even when nothing changed."""
        picture, since_ms = self.picture, (self.clock() - self._made) * 1e3
        age_ms = picture.beat_age_ms
        return {
            "now_ms": self.now_ms + since_ms,
            "age_ms": None if age_ms is None else age_ms + since_ms,
            "alive": picture.alive,
            "connected": picture.connected,
            "trouble": picture.trouble,
            "problem": self.problem,
            "title": self._title(),
        }

    def _title(self) -> str:
        worst = self.picture.scopes.get(self.picture.worst)
        if worst is None or worst.state == "ACTIVE":
            return "Nothing halted – Knightwatch"
        return f"{MARKS[worst.state]} {worst.state} {worst.name} – Knightwatch"


@dataclass
class View:
    """What one viewer looks at, and what it was sent. chosen: a scope, or empty to follow the worst."""

    chosen: str = ""
    sent: dict[str, str] = field(default_factory=dict)

    def frame(self, shared: Shared, who: str) -> dict[str, Any]:
        """The next frame for this viewer. who: HTML of who is logged in."""
        picture = shared.picture
        shown = self.chosen if self.chosen in picture.scopes else picture.worst
        blocks = {**shared.blocks, "detail": shared.card(shown), "who": who}
        fresh = {name: html for name, html in blocks.items() if self.sent.get(name) != html}
        self.sent.update(fresh)
        return {"pulse": shared.pulse(), "shown": shown, "blocks": fresh}
