"""The page's HTML: what it says in each state, and that nothing in a record can become markup."""

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halts.state import Request
from knightwatch.web import documents
from knightwatch.web.detail import card
from knightwatch.web.frames import Shared, View
from knightwatch.web.story import GateLine, Picture, Router, Scope
from knightwatch.web.timeline import Entry, entry_of
from knightwatch.web.words import after, lead
from schemas.records import AuditRecord, Cause, FirstEvent, Money

from .records import T, halt


def picture(*scopes: Scope, entries: tuple[Entry, ...] = (), **other: Any) -> Picture:
    order = tuple(s.name for s in sorted(scopes, key=lambda s: s.rank, reverse=True))
    fields: dict[str, Any] = {"version": 1, "connected": True, "alive": True, "beat_age_ms": 10.0, "trouble": ""}
    return Picture(scopes={s.name: s for s in scopes}, order=order, entries=entries, **(fields | other))


class Text(HTMLParser):
    """Text and tags of HTML; raises if a tag is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.open = "", [], []  # type: ignore[var-annotated]
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in ("br", "link", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(scope: Scope) -> str:
    return Text(card(picture(scope), scope.name)).text


GATE = GateLine("R3", "confirmed", T + 20_000_000, T + 900_000_000)


def test_halting_says_wait_and_does_not_offer_to_reopen() -> None:
    scope = Scope("server:R3", halt(), (GateLine("R3", "cancelling", T + 20_000_000, 0, 4),), ordered_ts=T)
    html = card(picture(scope), "server:R3")
    assert "Wait for HALTED: 4 orders are still working" in html
    assert 'data-verb="resume"' not in html
    assert "1 of 1" in html
    assert "0 of 1" in html
    assert 'data-cost="168400.00"' in html
    assert "20 ms" in html


def test_a_gate_that_does_not_answer_is_what_to_do_first() -> None:
    text = shown(Scope("server:R3", halt(), (GateLine("R3"),), ordered_ts=T))
    assert "Cut the sessions of R3 at the venues" in text
    assert "NO ANSWER" in text


def test_halted_offers_to_ask_and_a_request_offers_to_approve() -> None:
    record = halt(state="HALTED", epoch=2)
    asks = card(picture(Scope("server:R3", record, (GATE,), ordered_ts=T)), "server:R3")
    assert 'data-verb="resume"' in asks
    assert 'data-epoch="2"' in asks
    assert "data-cost" not in asks, "what is stopped costs nothing more by waiting"
    request = Request("c1", "ann", "k", "digest checked", 0)
    agrees = card(picture(Scope("server:R3", record, (GATE,), T, request)), "server:R3")
    assert 'data-verb="approve"' in agrees
    assert "ann</b> asks to reopen: “digest checked”" in agrees


def test_a_value_stands_beside_its_limit_to_scale() -> None:
    html = card(picture(Scope("server:R3", halt(), (GATE,), T)), "server:R3")
    assert '<span class="mark" style="left:22.9%">' in html  # 2 of 1.25 * 7
    assert "<strong>7</strong> beside limit <strong>2</strong>" in html
    assert "3.50 × limit" in html


def test_many_gates_show_those_that_need_somebody() -> None:
    gates = [GateLine(f"R{i}", "confirmed", T, T + i * 1_000_000) for i in range(40)] + [GateLine("R77", "blocked", T)]
    text = shown(Scope("firm", halt("firm"), tuple(gates), T))
    assert "R77" in text
    assert "40 others confirmed, the slowest after 39 ms" in text


def test_a_calm_firm_shows_routers_and_who_runs_another_build() -> None:
    scopes = [Scope(f"server:R{i}", router=Router(f"R{i}", "7.2" if i else "7.1", "ACTIVE", 0)) for i in range(3)]
    text = Text(card(picture(*scopes), "")).text
    assert "Nothing is halted" in text
    assert "3 routers, 3 with an open gate" in text
    assert text.count("unlike most") == 1


@pytest.mark.parametrize("state", ["WARNED", "HALTING", "HALTED", "RESUMING", "ACTIVE"])
@given(nasty=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_nothing_in_a_record_becomes_markup(state: str, nasty: str) -> None:
    evil = f"<script>{nasty}</script>\"'><img src=x onerror=alert(1)>"
    first = FirstEvent(evil, 0, 0, T, evil)
    record = halt(
        f"server:{evil}", state, text=evil, by=evil, halt_id=evil, money=Money(1, 1, 1),
        cause=(Cause(evil, 3.0, 2.0, 1.0, {evil: evil}, first), Cause(evil, 1.0, 0.0, 0.0, {}, first)),
    )  # fmt: skip
    gate = GateLine(evil, "blocked", T, 0, 1, (evil,), evil)
    request = Request(evil, evil, evil, evil, 0)
    scope = Scope(record.scope, record, (gate,), T, request, Money(), Router(evil, evil, evil, 0))
    seen = picture(scope, Scope("firm"), entries=(Entry(1, 1, "halt", evil, evil),), trouble=evil)
    shared = Shared(seen, 0, evil)
    html = "".join((*shared.blocks.values(), shared.card(record.scope), shared.card("nobody")))
    html += documents.evidence_html(seen, record.scope, T) + documents.evidence_html(seen, evil, T)
    tags = Text(html).tags
    assert "script" not in tags
    assert "img" not in tags


def test_a_viewer_gets_what_is_new_and_no_more() -> None:
    view, scope = View(), Scope("server:R3", halt(), (GATE,), T)
    first = view.frame(Shared(picture(scope), 1, "here"), "who")
    assert set(first["blocks"]) == {"where", "counts", "rows", "timeline", "detail", "who"}
    assert first["shown"] == "server:R3"
    again = view.frame(Shared(picture(scope), 2, "here"), "who")
    assert again["blocks"] == {}
    assert again["pulse"]["now_ms"] == 2
    view.chosen = "server:R9"
    assert view.frame(Shared(picture(scope, Scope("server:R9")), 3, "here"), "who")["shown"] == "server:R9"
    view.chosen = "server:GONE"
    assert view.frame(Shared(picture(scope), 4, "here"), "who")["shown"] == "server:R3"


def test_the_sentence_is_cut_where_it_ends() -> None:
    assert lead("A lost USD 2.46m, since 12:00:00.100 UTC. Lost USD 3.") == (
        "A lost USD 2.46m, since 12:00:00.100 UTC.", "Lost USD 3.",
    )  # fmt: skip
    assert lead("One only.") == ("One only.", "")
    assert after(0, 5) == "–"


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("transition", {"record": {"state": "HALTED", "scope": "firm", "text": "x"}}, "HALTED"),
        ("ack", {"ack": {"server": "R3", "status": "cancelling", "working": 4}}, "Gate R3 is cancelling, 4 working"),
        (
            "refused",
            {"command": {"verb": "approve", "by": "bob"}, "problem": "stale"},
            "REFUSED: approve by bob. stale",
        ),
        ("request", {"scope": "firm", "request": None, "why": "too old"}, "The request to reopen is void: too old"),
        ("command", {"command": {"verb": "halt", "by": "ann", "reason": "odd"}}, "ann orders a halt: odd"),
        ("what_comes_later", {}, "what comes later"),
    ],
)
def test_the_timeline_speaks_plainly(kind: str, body: dict[str, Any], text: str) -> None:
    entry = entry_of(AuditRecord(1, "", kind, body), 5)
    assert entry is not None
    assert entry.text == text


@settings(max_examples=40)
@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x), max_leaves=5))
def test_no_audit_body_breaks_the_timeline(body: Any) -> None:
    for kind in ("transition", "ack", "ack_ignored", "request", "command", "refused", "cause", "adopted", "no_ack"):
        for made in ({"record": body, "ack": body, "command": body, "request": body}, {"x": body}):
            entry_of(AuditRecord(1, "", kind, made), 5)


def test_every_chapter_that_alerts_point_to_is_an_anchor_of_the_runbook() -> None:
    from dashboards import alerts
    from knightwatch.web.server import RUNBOOK

    html = documents.read_runbook(RUNBOOK)
    chapters = {alert.anchor for alert in alerts.ALL}
    assert len(chapters) > 5
    for anchor in chapters | {"server-halted", "desk-silent", "reopen-by-two-people"}:
        assert f'id="{anchor}"' in html, anchor
