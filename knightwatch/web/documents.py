"""Pages beside the board: the evidence of one scope, and the runbook with the chapters that alerts point to."""

import json
import re
from pathlib import Path
from typing import Any, Final

import markdown2
import msgspec
import nicegui

from knightwatch.web import detail, lists
from knightwatch.web.story import Picture
from knightwatch.web.words import clock, escape, who
from schemas.units import MS_NS

_HEADING: Final = re.compile(r"<h([1-6])(?:[^>]*)>(.*?)</h\1>", re.S)
_TAGS: Final = re.compile(r"<[^>]+>")
FONTS: Final = f'<link rel="stylesheet" href="/_nicegui/{nicegui.__version__}/static/fonts.css">'
_NOT_SLUG: Final = re.compile(r"[^\w\- ]")


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it.

    >>> slug("Reopen, by two people")
    'reopen-by-two-people'
    """
    return _NOT_SLUG.sub("", _TAGS.sub("", heading).strip().lower()).replace(" ", "-")


def runbook_html(text: str) -> str:
    """Markdown as a page of its own; every heading has its anchor."""
    body = str(markdown2.markdown(text, extras=["fenced-code-blocks", "tables"], safe_mode="escape"))
    body = body.replace("\n<strong>", "<br>\n<strong>")  # Means, Look, Do: each on a line of its own, as in the file
    body = _HEADING.sub(lambda m: f'<h{m[1]} id="{slug(m[2])}">{m[2]}</h{m[1]}>', body)
    return document("Runbook", f'<div class="prose">{body}</div>')


def read_runbook(path: Path) -> str:
    """The runbook's page; says what is missing if there is none."""
    try:
        return runbook_html(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        return document(
            "Runbook", f"<p>The runbook is not here ({escape(str(error))}). Start the desk with --runbook FILE.</p>"
        )


def evidence(picture: Picture, name: str) -> dict[str, Any] | None:
    """What is known of the scope as plain data, None if nothing is."""
    scope = picture.scopes.get(name)
    if scope is None:
        return None
    return {
        "scope": name,
        "state": scope.state,
        "halt": msgspec.to_builtins(scope.record) if scope.record else None,
        "gates": [
            {"server": g.server, "status": g.status, "blocked_ts": g.blocked_ts, "confirmed_ts": g.confirmed_ts,
             "working": g.working, "orders": list(g.orders), "distrusted": g.distrusted}
            for g in scope.gates
        ],
        "request": msgspec.to_builtins(scope.request) if scope.request else None,
        "timeline": [
            {"audit_n": e.n, "ts": e.stamp_ms * MS_NS, "scope": e.scope, "text": e.text}
            for e in reversed(picture.entries) if e.scope == name
        ],
        "fresh": {"connected": picture.connected, "desk_alive": picture.alive, "heartbeat_age_ms": picture.beat_age_ms},
    }  # fmt: skip


def evidence_html(picture: Picture, name: str, now_ns: int) -> str:
    """The same as a page to read or to print."""
    found = evidence(picture, name)
    if found is None:
        return document(
            "Evidence",
            f"<p>Nothing is known of {escape(name)}: it was never halted, and no such router shows itself.</p>",
        )
    causes = (found["halt"] or {}).get("cause", ())
    raw = escape(json.dumps(found, indent=1))
    stale = "" if picture.alive else '<p class="said bad"><b>STALE</b>: the desk is silent, so this may be old.</p>'
    tables = "".join(
        f"<h3>{escape(str(c['detector']))}</h3><table>"
        + "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in c["evidence"].items())
        + "</table>"
        for c in causes
    )
    body = (
        f"<p>As of {clock(now_ns)} UTC. <a href='/evidence/{escape(name)}.json'>The same as JSON</a></p>{stale}"
        f"{detail.card(picture, name)}<h2>What the detectors saw</h2>{tables or '<p>No cause on record.</p>'}"
        f"<h2>Timeline</h2><ol class='timeline'>{lists.timeline(picture, name)}</ol>"
        f"<h2>Record</h2><pre>{raw}</pre>"
    )
    return document(f"Evidence: {who(name)}", body)


def document(title: str, body: str) -> str:
    """A page in the desk's look, without scripts. title, body: HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{title} – Knightwatch</title>{FONTS}<link rel="stylesheet" href="/look/desk.css"></head>'
        f'<body class="kwpage"><div class="kw paper"><h1>{title}</h1>{body}</div></body></html>'
    )
