"""The card of one scope: what is halted, why, what to do. HTML made once for all viewers of the scope."""

from typing import Final

from halts.gate_state import latched
from knightwatch.web.story import GateLine, Picture, Scope
from knightwatch.web.words import MEANS, clock, escape, number, tag, usd, when, who
from schemas.records import Cause, HaltRecord
from schemas.scopes import parse
from schemas.units import MS_NS

TWO_PEOPLE: Final = ("firm", "server")
BAR_LIMITS: Final = 2.0
"""A bar ends at so many limits; what is beyond fills it and is told in words."""


def card(picture: Picture, name: str) -> str:
    """The card of scope ``name``; a calm one if nothing stands on it."""
    scope = picture.scopes.get(name)
    if scope is None:
        return _nothing()
    record = scope.record
    if record is None or record.state == "ACTIVE":
        return _open(picture, scope)
    return (
        f'<article class="card {record.state.lower()}" data-scope="{escape(name)}">'
        f"<header>{tag(record.state)}<h1>{who(name)}</h1>"
        f'<p class="since">{_since(scope, record)}</p></header>'
        f'<p class="why" id="why">{escape(record.text)}</p>'
        f"{_do(scope, record)}{_money(scope, record)}{_gates(scope, record)}{_causes(record)}</article>"
    )


def _nothing() -> str:
    return (
        '<article class="card active calm"><header><b class="tag active"><i>○</i>NOTHING YET</b><h1>No scope known</h1>'
        '</header><p class="why">No router has shown itself and nothing was ever halted here.</p></article>'
    )


def _open(picture: Picture, scope: Scope) -> str:
    stopped = picture.count("HALTED", "HALTING", "RESUMING", "WARNED")
    record, name = scope.record, escape(scope.name)
    past = f'<p class="why">{escape(record.text)}</p>' if record else ""
    headline = who(scope.name) if stopped or record else "Nothing is halted"
    facts = []
    if scope.router:
        gate = "silent" if scope.silent else (scope.router.gate or "not reported")
        facts = [f"<dt>Gate</dt><dd>{escape(gate)}</dd>", f"<dt>Build</dt><dd>{escape(scope.router.build)}</dd>"]
    if scope.live:
        facts.append(f"<dt>Result</dt><dd>{_result(scope.live.loss_usd)}</dd>")
        facts.append(f"<dt>Traded</dt><dd>{usd(scope.live.gross_usd)}</dd>")
    shown = f'<dl class="facts">{"".join(facts)}</dl>' if facts else ""
    lead = "" if stopped or record else f'<p class="since">{who(scope.name)} is selected: {MEANS["ACTIVE"]}</p>'
    return (
        f'<article class="card active calm" data-scope="{name}"><header>{tag("ACTIVE")}<h1>{headline}</h1>{lead}'
        f'</header>{past}{shown}<nav class="acts">{_button("halt", scope, "Halt " + who(scope.name) + " …")}'
        f"{_link(scope.name)}</nav></article>"
    )


def _since(scope: Scope, record: HaltRecord) -> str:
    by = "" if record.by == "desk" else f" · by {escape(record.by)}"
    action = record.action.replace("_", " ")
    kind = f" · {action}" if latched(record) else ""
    return f"{MEANS[record.state]} · {when(record.ts_decided, 'for')}{kind}{by} · epoch {record.epoch}"


# --- what to do -----------------------------------------------------------------------------------------------------


def _do(scope: Scope, record: HaltRecord) -> str:
    steps = "".join(f"<li>{step}</li>" for step in _steps(scope, record))
    return (
        f'<section class="do"><h2>Do now</h2><ol>{steps}</ol><nav class="acts">{_acts(scope, record)}'
        f"{_link(scope.name)}</nav></section>"
    )


def _steps(scope: Scope, record: HaltRecord) -> list[str]:
    request, subject = scope.request, who(scope.name)
    silent = [g for g in scope.gates if not g.blocked_ts]
    loose = [g for g in scope.gates if g.distrusted]
    if record.state == "WARNED":
        return [f"Ask whether anybody knows why {subject} does this.", "If nobody can say it in one sentence: halt it."]
    if record.state == "RESUMING":
        return [
            f"Watch {subject}: what would otherwise warn halts it again.",
            "It opens fully by itself if it stays quiet.",
        ]
    if request is not None:
        return [
            f"<b>{escape(request.by)}</b> asks to reopen: “{escape(request.reason)}”.",
            "A <b>second person</b> looks for themselves, then approves. Nothing is open yet.",
        ]
    if loose or (silent and record.state == "HALTING"):
        names = ", ".join(escape(g.server) for g in (loose or silent)[:4])
        return [
            f"<b>Cut the sessions of {names} at the venues</b> if no confirmation comes within seconds.",
            "Check against the drop copy that nothing is working.",
        ]
    if record.state == "HALTING":
        return [
            f"Wait for HALTED: {_working(scope)} orders are still working.",
            "No end in seconds? Cancel at the venues.",
        ]
    people = "two people: one asks, another approves" if parse(scope.name)[0] in TWO_PEOPLE else "one person"
    return [
        "Find the cause: compare build, config and flags with the peers. Do not roll others back.",
        f"Tell the head of the desk what it cost; positions stay until hedged. Reopening takes {people}.",
    ]


def _working(scope: Scope) -> int:
    return sum(g.working for g in scope.gates)


def _acts(scope: Scope, record: HaltRecord) -> str:
    if not latched(record):
        return _button("halt", scope, f"Halt {who(scope.name)} …")
    if scope.request is not None:
        return _button("approve", scope, "Approve as second person …") + _button(
            "resume", scope, "Ask anew …", plain=True
        )
    label = "Ask to reopen …" if parse(scope.name)[0] in TWO_PEOPLE else "Reopen …"
    return _button("resume", scope, label)


def _button(verb: str, scope: Scope, label: str, plain: bool = False) -> str:
    record = scope.record
    halt_id, epoch = (record.halt_id, record.epoch) if record else ("", 0)
    key = {"halt": "h", "resume": "r", "approve": "a"}[verb]
    look = "plain" if plain else verb
    return (
        f'<button class="{look}" id="act-{verb}" data-verb="{verb}" data-scope="{escape(scope.name)}" '
        f'data-halt="{escape(halt_id)}" data-epoch="{epoch}" aria-keyshortcuts="{key}">{label}'
        f"{'' if plain else f'<kbd>{key}</kbd>'}</button>"
    )


def _link(name: str) -> str:
    return (
        f'<a class="plain" id="evidence" href="/evidence/{escape(name)}" target="_blank">Evidence<kbd>e</kbd></a>'
        '<a class="plain" id="runbook" href="/runbook#server-halted" target="_blank">Runbook</a>'
    )


# --- figures --------------------------------------------------------------------------------------------------------


def _result(loss_usd: float) -> str:
    """A loss is positive in the records; people read a result."""
    return f"−{usd(loss_usd)}" if loss_usd > 0 else f"+{usd(-loss_usd)}"


def _money(scope: Scope, record: HaltRecord) -> str:
    money, confirmed = record.money, record.state == "HALTED"
    per_s = f"{usd(money.loss_usd_per_s)}/s" if money.loss_usd_per_s >= 0.5 else "not losing"
    label = "Was losing, when stopped" if confirmed else "Each second of waiting costs"
    waiting = ""
    if not confirmed and record.state != "RESUMING" and money.loss_usd_per_s >= 0.5:
        waiting = (
            f'<small>since then about USD <span data-cost="{money.loss_usd_per_s:.2f}" '
            f'data-since="{record.ts_decided // MS_NS}"></span></small>'
        )
    live = ""
    if scope.live:
        rate = scope.live.loss_usd_per_s
        now = f"losing {usd(rate)}/s" if rate >= 0.5 else "not losing"
        live = f"<small>this router's day now: {_result(scope.live.loss_usd)}, {now}</small>"
    lost = usd(money.loss_usd) if money.loss_usd >= 0.5 else "USD 0"
    return (
        f'<section class="money"><div><h2>Lost by then</h2><p class="big">{lost}</p>{live}</div>'
        f'<div><h2>{label}</h2><p class="big">{per_s}</p>{waiting}</div>'
        f'<div><h2>Traded wrongly</h2><p class="big">{usd(money.gross_usd)}</p></div></section>'
    )


def _gates(scope: Scope, record: HaltRecord) -> str:
    if not latched(record):
        return ""
    gates = scope.gates
    said, done = sum(g.blocked_ts > 0 for g in gates), sum(g.status == "confirmed" for g in gates)
    n = len(gates)
    reach = (
        f'<ol class="reach"><li class="yes"><b>■ Dispatched</b><span>{clock(record.ts_decided)}</span></li>'
        f"{_reach('Acknowledged', said, n)}{_reach('Effective', done, n)}</ol>"
    )
    rows = "".join(_gate(g, record) for g in gates)
    head = "<tr><th>Gate</th><th>Says</th><th>Blocked</th><th>Confirmed</th><th>Working</th></tr>"
    table = f"<table>{head}{rows}</table>" if rows else "<p>No gate has shown itself for this halt.</p>"
    return f'<section class="gates"><h2>Did the gates obey</h2>{reach}{table}</section>'


def _reach(word: str, count: int, n: int) -> str:
    whole = n > 0 and count == n
    mark = "■" if whole else "□"
    return f'<li class="{"yes" if whole else "no"}"><b>{mark} {word}</b><span>{count} of {n}</span></li>'


def _gate(gate: GateLine, record: HaltRecord) -> str:
    says = "NOT BELIEVED" if gate.distrusted else (gate.status or "no answer").upper()
    kind = "bad" if gate.distrusted or not gate.status else ""
    stuck = f'<tr class="stuck"><td colspan="5">Not cancelled: {escape(", ".join(gate.orders))}</td></tr>'
    return (
        f'<tr class="{kind}"><td>{escape(gate.server)}</td><td>{says}</td><td>{_after(gate.blocked_ts, record)}</td>'
        f"<td>{_after(gate.confirmed_ts, record)}</td><td>{gate.working if gate.status else '?'}</td></tr>"
        f"{stuck if gate.orders else ''}"
    )


def _after(ts: int, record: HaltRecord) -> str:
    """When, as a time of day: the record's own time moves on with each transition."""
    return clock(ts) if ts else "–"


def _causes(record: HaltRecord) -> str:
    if not record.cause:
        return ""
    rows = "".join(_cause(c) for c in record.cause)
    first = record.cause[0].first_event
    order = f"<code>{escape(first.cl_ord_id)}</code> · " if first.cl_ord_id else ""
    return (
        '<section class="causes"><h2>Value beside limit</h2>'
        f'<div class="bars">{rows}</div><p class="first"><b>First bad event</b> {order}{clock(first.ts)} UTC'
        f" · {escape(first.topic)}/{first.partition} at {first.offset}</p></section>"
    )


def _cause(cause: Cause) -> str:
    if cause.limit <= 0:
        return f'<div class="bar"><b>{escape(cause.detector)}</b><span class="says">by order of a person</span></div>'
    ratio = cause.score / cause.limit
    width = 100 * min(max(ratio, 0.0), BAR_LIMITS) / BAR_LIMITS
    beyond = f"{number(round(ratio, 1))} × limit"
    normal = f" · normal {number(cause.baseline)}" if cause.baseline else ""
    return (
        f'<div class="bar"><b>{escape(cause.detector)}</b>'
        f'<span class="track" role="img" aria-label="{beyond}"><span class="fill" style="width:{width:.0f}%"></span>'
        '<span class="mark"></span></span>'
        f'<span class="says"><strong>{number(cause.score)}</strong> limit {number(cause.limit)}{normal} · {beyond}</span>'
        "</div>"
    )
