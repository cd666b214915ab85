"""The evidence of a halt as one HTML page that needs nothing else: it is mailed, printed and kept for years."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

import msgspec

from halts.evidence import Entry, Pack
from halts.text import clock
from schemas.units import S_NS

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--back:#fff;--card:#f6f8fa;
  --bad:#b42318;--good:#1a7f37;--warn:#9a6700}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--back:#0d1117;
  --card:#151b23;--bad:#ff7b72;--good:#3fb950;--warn:#d29922}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:32px 20px 64px;font:15px/1.5 system-ui,sans-serif;
  color:var(--ink);background:var(--back)}
h1{font-size:24px;line-height:1.3;margin:4px 0 8px}
h2{font-size:17px;margin:36px 0 10px}
p{margin:6px 0}
.lead{font-size:17px}
.soft{color:var(--soft)}
.state{display:inline-block;border-radius:4px;padding:2px 10px;font-weight:600;border:1px solid currentColor}
.bad{color:var(--bad)}
.good{color:var(--good)}
.warn{color:var(--warn)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:10px;margin:18px 0}
.facts div{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:10px 12px}
.facts b{display:block;font-size:18px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:600}
th,td{border-bottom:1px solid var(--line);padding:6px 10px 6px 0;vertical-align:top}
td.t,td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
code,pre{font:12px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}
pre{white-space:pre-wrap;background:var(--card);border:1px solid var(--line);border-radius:6px;padding:10px}
summary{cursor:pointer;color:var(--soft)}
@media print{body{max-width:none;padding:0}
details>summary{display:none}}
"""
KINDS: Final = {
    "transition": "state", "cause": "detector", "command": "command", "refused": "refused", "break_glass": "break-glass",
    "request": "request", "ack": "gate", "ack_ignored": "gate", "no_ack": "gate silent", "repeated": "repeat",
    "after_halt_flow": "flow after halt", "adopted": "taken over", "overtaken": "overtaken",
}  # fmt: skip
LOUD: Final = ("refused", "break_glass", "no_ack", "after_halt_flow", "overtaken")


def page(pack: Pack) -> str:
    """The page. Everything in it that came from a topic is escaped."""
    chain = pack.chain
    good = chain.get("intact", False)
    proof = f"chain intact, {chain.get('records', 0):,} records" if good else f"CHAIN BROKEN: {chain.get('problem')}"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Halt {escape(pack.halt_id)}</title><style>{STYLE}</style><body>"
        f'<p class="soft">Evidence of halt <code>{escape(pack.halt_id)}</code> · {escape(date(pack.began))}</p>'
        f"<h1>{escape(pack.scope)} {_state(pack.state)}</h1>"
        f'<p class="lead">{escape(pack.text)}</p>'
        f'<p class="{"good" if good else "bad"}">Audit: {escape(proof)}</p>'
        f"{_facts(pack)}{_first(pack)}{_causes(pack)}{_gates(pack)}{_people(pack)}{_timeline(pack.timeline)}"
        f"{_settings(pack)}{_proof(pack)}</body></html>"
    )


def date(ts: int) -> str:
    """``2012-08-01 13:30:00.412 UTC``."""
    if not ts:
        return "–"
    days = ts // S_NS // 86_400
    era = days + 719_468  # days to civil date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"
    doe = era % 146_097
    yoe = (doe - doe // 1_460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    year = yoe + era // 146_097 * 400 + (month <= 2)
    return f"{year:04d}-{month:02d}-{doy - (153 * mp + 2) // 5 + 1:02d} {clock(ts)} UTC"


def _state(state: str) -> str:
    tone = {"HALTING": "bad", "HALTED": "bad", "RESUMING": "warn", "WARNED": "warn"}.get(state, "good")
    return f'<span class="state {tone}">{escape(state)}</span>'


def _facts(pack: Pack) -> str:
    blocked = [g.blocked_ms for g in pack.gates if g.blocked_ms is not None]
    confirmed = [g.confirmed_ms for g in pack.gates if g.confirmed_ms is not None]
    facts = [
        ("halted", date(pack.began)),
        ("open again", date(pack.ended) if pack.ended else "not yet"),
        ("last gate blocked after", f"{max(blocked):,.0f} ms" if blocked else "no gate answered"),
        ("last gate confirmed after", f"{max(confirmed):,.0f} ms" if confirmed else "none confirmed"),
        ("loss", f"USD {pack.money.get('loss_usd', 0):,.0f}"),
        ("gross traded", f"USD {pack.money.get('gross_usd', 0):,.0f}"),
    ]
    cells = "".join(f'<div><span class="soft">{escape(k)}</span><b>{escape(v)}</b></div>' for k, v in facts)
    related = f"<p>Belongs together with {escape(', '.join(pack.related))}.</p>" if pack.related else ""
    return f'<div class="facts">{cells}</div>{related}'


def _first(pack: Pack) -> str:
    f = pack.first_bad
    if not f:
        return ""
    order = f" order <code>{escape(str(f['cl_ord_id']))}</code>," if f.get("cl_ord_id") else ""
    return (
        f"<h2>First bad event</h2><p>{escape(date(int(f['ts'])))}:{order} seen by {escape(str(f['detector']))}, at "
        f"<code>{escape(str(f['topic']))}</code> partition {f['partition']}, offset {f['offset']}, item {f['item']}.</p>"
    )


def _causes(pack: Pack) -> str:
    rows = [
        (c["detector"], f"{c['score']:,.6g}", f"{c['limit']:,.6g}", f"{c['baseline']:,.6g}", _pairs(c["evidence"]))
        for c in pack.causes
    ]
    return _table("Values and limits", ("detector", "value", "limit", "baseline", "evidence"), rows)


def _gates(pack: Pack) -> str:
    rows = [(g.server, g.status, _ms(g.blocked_ms), _ms(g.confirmed_ms)) for g in pack.gates]
    stuck = ", ".join(pack.stuck_orders)
    note = f'<p class="bad">Cancels that were refused or never answered: {escape(stuck)}</p>' if stuck else ""
    return _table("Gates", ("router", "said last", "blocked after", "nothing working after"), rows) + note


def _people(pack: Pack) -> str:
    rows = [(p.name, "; ".join(p.did), ", ".join(p.key_ids) or "not signed") for p in pack.people]
    return _table("People", ("name", "did", "signed with key"), rows)


def _timeline(entries: Sequence[Entry]) -> str:
    rows = "".join(
        f'<tr><td class="t">{escape(date(e.ts))}</td><td class="{"bad" if e.kind in LOUD else ""}">'
        f"{escape(KINDS.get(e.kind, e.kind))}</td><td>{escape(e.who)}</td><td>{escape(e.what)}</td>"
        f'<td class="n" title="SHA-256 {e.sha256}">{e.n}</td></tr>'
        for e in entries
    )
    head = "<tr><th>when</th><th>what</th><th>who</th><th>in words</th><th>record</th></tr>"
    return f'<h2>Timeline</h2><div class="wide"><table>{head}{rows}</table></div>'


def _settings(pack: Pack) -> str:
    rows = [
        (
            b["from"],
            b["server"],
            b["build"],
            b["config"],
            ", ".join(f for f, on in b["flags"].items() if on),
            date(b["ts"]),
        )
        for b in pack.builds
    ]
    config = pack.config
    approved = (
        f"version {config['version']}, digest <code>{escape(config['digest'])}</code>, by {escape(config['by'])}"
        if config
        else "none was approved by command"
    )
    heads = ("topic", "router", "build", "config", "flags on", "said at")
    return f"<h2>Configuration</h2><p>Approved settings: {approved}.</p>" + _table("Builds, as last said", heads, rows)


def _proof(pack: Pack) -> str:
    records = "\n".join(
        json.dumps({"offset": e.offset, "sha256": e.sha256, "record": e.record}, sort_keys=True) for e in pack.timeline
    )
    rest = {key: value for key, value in pack.chain.items() if key != "problem"}
    return (
        f"<h2>Proof</h2><p>{escape(_pairs(rest))}</p><p class='soft'>Each record of <code>audit</code> carries the SHA-256 "
        "of the one before. <code>knightwatch audit verify</code> checks all of them; the heartbeats of the desk name the "
        f"last.</p><details><summary>{len(pack.timeline)} records as they stand in audit</summary>"
        f"<pre>{escape(records)}</pre></details>"
    )


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    if not body:
        return f'<h2>{escape(title)}</h2><p class="soft">None.</p>'
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return f'<h2>{escape(title)}</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f} ms"
