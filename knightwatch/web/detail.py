"""The card of one scope: what is halted, why, what to do. HTML made once for all viewers of the scope."""

from collections import Counter
from typing import Final

from halts.gate_state import latched
from knightwatch.web.story import GateLine, Picture, Scope
from knightwatch.web.words import MEANS, after, clock, escape, lead, number, tag, usd, when, who
from schemas.records import Cause, HaltRecord
from schemas.scopes import parse
from schemas.units import MS_NS

TWO_PEOPLE: Final = ("firm", "server")
BAR_ROOM: Final = 1.25
"""A bar ends at so many times the larger of value and limit."""
ALSO_SHOWN: Final = 4
GATES_LISTED: Final = 6
"""With more gates than that, only those that have not confirmed are listed."""


def card(picture: Picture, name: str) -> str:
    """The card of scope ``name``; that of the whole firm if there is no such scope."""
    scope = picture.scopes.get(name)
    if scope is None:
        return overview(picture)
    record = scope.record
    if record is None or record.state == "ACTIVE":
        return _open(scope)
    first, _ = lead(record.text)  # the rest of the sentence stands below, as figures and steps
    return (
        f'<article class="card {record.state.lower()}" data-scope="{escape(name)}">'
        f"<header>{tag(record.state)}<h1>{who(name)}</h1>"
        f'<p class="since">{_since(scope, record)}</p></header>'
        f'<p class="why" id="why">{escape(first)}</p>{_also(picture, scope)}'
        f"{_do(scope, record)}{_money(scope, record)}{_gates(scope, record)}{_causes(record)}</article>"
    )


def overview(picture: Picture) -> str:
    """All scopes ACTIVE: that, and how each router is."""
    routers = [s for s in (picture.scopes[name] for name in picture.order) if s.router]
    if not picture.scopes:
        title, line = "Nothing is halted", "No router has shown itself yet, and nothing was ever halted here."
    else:
        gates = sum(s.router is not None and s.router.gate == "ACTIVE" and not s.silent for s in routers)
        silent = sum(s.silent for s in routers)
        title = "Nothing is halted"
        line = (
            f"{len(routers)} routers, {gates} with an open gate" + (f", <b>{silent} silent</b>" if silent else "") + "."
        )
    builds = Counter(s.router.build for s in routers if s.router)
    usual = builds.most_common(1)[0][0] if builds else ""
    tiles = "".join(_tile(s, usual) for s in routers)
    grid = f'<div class="tiles">{tiles}</div>' if tiles else ""
    return (
        f'<article class="card active calm"><header>{tag("ACTIVE")}<h1>{title}</h1></header>'
        f'<p class="why">{line}</p>{grid}</article>'
    )


def _tile(scope: Scope, usual: str) -> str:
    """usual: the build that most routers run."""
    router = scope.router
    assert router is not None, "tiles are of routers"
    gate = "SILENT" if scope.silent else (router.gate or "no gate reported")
    odd = "" if gate == "ACTIVE" else ' class="odd"'
    build = escape(router.build)
    if router.build != usual:
        build = f'<span class="odd">◆ {build}, unlike most</span>'
    money = f"<span>{_result(scope.live.loss_usd)}</span>" if scope.live else "<span>no flow</span>"
    return (
        f'<button class="tile" id="tile-{escape(router.server)}" data-pick="{escape(scope.name)}">'
        f"<b>{escape(router.server)}</b><span{odd}>gate {escape(gate.lower())}</span>{money}"
        f"<small>{build}</small></button>"
    )


def _open(scope: Scope) -> str:
    record, name = scope.record, escape(scope.name)
    text = escape(record.text) if record else "It was never halted, and nothing is blocked on it."
    facts = []
    if scope.router:
        gate = "silent" if scope.silent else (scope.router.gate or "not reported").lower()
        facts = [("Gate", escape(gate)), ("Build", escape(scope.router.build))]
    if scope.live:
        facts += [("Result today", _result(scope.live.loss_usd)), ("Traded", usd(scope.live.gross_usd))]
    shown = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts)
    return (
        f'<article class="card active calm" data-scope="{name}"><header>{tag("ACTIVE")}<h1>{who(scope.name)}</h1>'
        f'</header><p class="why">{text}</p><dl class="facts">{shown}</dl><nav class="acts">'
        f"{_button('halt', scope, 'Halt ' + who(scope.name) + ' …')}{_link(scope.name)}</nav></article>"
    )


def _also(picture: Picture, scope: Scope) -> str:
    """What else blocks, to be chosen at once."""
    others = [
        s for s in (picture.scopes[n] for n in picture.order) if s.record and latched(s.record) and s is not scope
    ]
    if not others:
        return ""
    names = "".join(
        f'<button class="small" id="also-{escape(s.name)}" data-pick="{escape(s.name)}">'
        f"{tag(s.state)} {who(s.name)}</button>"
        for s in others[:ALSO_SHOWN]
    )
    more = f"<span>and {len(others) - ALSO_SHOWN} more</span>" if len(others) > ALSO_SHOWN else ""
    return f'<div class="also"><span>Also</span>{names}{more}</div>'


def _since(scope: Scope, record: HaltRecord) -> str:
    by = "" if record.by == "desk" else f" · by {escape(record.by)}"
    action = record.action.replace("_", " ")
    kind = f" · {action}" if latched(record) else ""
    cut = f" and {number(record.orders_per_s_max)} orders/s" if record.orders_per_s_max else ""
    return f"{MEANS[record.state]}{cut} · {when(scope.since_ts, 'for')}{kind}{by} · epoch {record.epoch}"


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
            "If it does not come within seconds: cancel at the venues, then stop the process.",
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
    if record.state == "HALTING":
        return ""  # the runbook: not before HALTED
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
    money, confirmed = record.money, record.state in ("HALTED", "RESUMING")
    per_s = f"{usd(money.loss_usd_per_s)}/s" if money.loss_usd_per_s >= 0.5 else "not losing"
    label = "Was losing, when stopped" if confirmed else "Each second of waiting costs"
    waiting = ""
    if not confirmed and money.loss_usd_per_s >= 0.5:
        waiting = (
            f'<small>since then about USD <span data-cost="{money.loss_usd_per_s:.2f}" '
            f'data-since="{record.ts_decided // MS_NS}"></span></small>'
        )
    live = ""
    if scope.live:
        live = f"<small>this router's result today: {_result(scope.live.loss_usd)}</small>"
    lost = usd(money.loss_usd) if money.loss_usd >= 0.5 else "USD 0"
    return (
        f'<section class="money"><div><h2>Lost when it was decided</h2><p class="big">{lost}</p>{live}</div>'
        f'<div><h2>{label}</h2><p class="big">{per_s}</p>{waiting}</div>'
        f'<div><h2>Traded by then, gross</h2><p class="big">{usd(money.gross_usd)}</p></div></section>'
    )


def _gates(scope: Scope, record: HaltRecord) -> str:
    if not latched(record):
        return ""
    gates = scope.gates
    said, done = sum(g.blocked_ts > 0 for g in gates), sum(g.status == "confirmed" for g in gates)
    n = len(gates)
    ordered = clock(scope.ordered_ts or record.ts_decided)
    reach = (
        f'<ol class="reach"><li class="yes"><b>■ Dispatched</b><span>{ordered}</span></li>'
        f"{_reach('Acknowledged', said, n)}{_reach('Effective', done, n)}</ol>"
    )
    loose = [g for g in gates if g.status != "confirmed" or g.distrusted or g.orders]
    listed = gates if n <= GATES_LISTED else loose[:GATES_LISTED]
    rows = "".join(_gate(g, scope.ordered_ts) for g in listed)
    head = "<tr><th>Gate</th><th>Says</th><th>Blocked after</th><th>Confirmed after</th><th>Working</th></tr>"
    table = f"<table>{head}{rows}</table>" if rows else ""
    if not gates:
        table = "<p>No gate has shown itself for this halt.</p>"
    elif len(listed) < n:
        table += _rest([g for g in gates if g not in listed], scope.ordered_ts)
    return f'<section class="gates"><h2>Did the gates obey</h2>{reach}{table}</section>'


def _rest(gates: list[GateLine], ordered_ts: int) -> str:
    """The gates that are not listed: none of them needs anybody, or there are too many to name."""
    slowest = after(max(g.confirmed_ts for g in gates), ordered_ts)
    done = sum(g.status == "confirmed" for g in gates)
    more = f", {len(gates) - done} more have not" if done < len(gates) else ""
    return f"<p class='rest'>{done} others confirmed, the slowest after {slowest}{more}.</p>"


def _reach(word: str, count: int, n: int) -> str:
    whole = n > 0 and count == n
    mark = "■" if whole else "□"
    return f'<li class="{"yes" if whole else "no"}"><b>{mark} {word}</b><span>{count} of {n}</span></li>'


def _gate(gate: GateLine, ordered_ts: int) -> str:
    says = "NOT BELIEVED" if gate.distrusted else (gate.status or "no answer").upper()
    kind = "bad" if gate.distrusted or not gate.status else ""
    stuck = f'<tr class="stuck"><td colspan="5">Not cancelled: {escape(", ".join(gate.orders))}</td></tr>'
    return (
        f'<tr class="{kind}"><td>{escape(gate.server)}</td><td>{says}</td><td>{after(gate.blocked_ts, ordered_ts)}</td>'
        f"<td>{after(gate.confirmed_ts, ordered_ts)}</td><td>{gate.working if gate.status else '?'}</td></tr>"
        f"{stuck if gate.orders else ''}"
    )


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
    end = BAR_ROOM * max(ratio, 1.0)
    value, limit = 100 * max(ratio, 0.0) / end, 100 / end
    beyond = f"{number(round(ratio, 1))} × limit"
    normal = f" · normal {number(cause.baseline)}" if cause.baseline else ""
    values = f"<strong>{number(cause.score)}</strong> beside limit <strong>{number(cause.limit)}</strong>"
    return (
        f'<div class="bar"><b>{escape(cause.detector)}</b>'
        f'<span class="track" role="img" aria-label="{beyond}"><span class="fill" style="width:{value:.1f}%"></span>'
        f'<span class="over" style="left:{limit:.1f}%;width:{max(value - limit, 0):.1f}%"></span>'
        f'<span class="mark" style="left:{limit:.1f}%"></span></span>'
        f'<span class="says">{values}{normal} · {beyond}</span></div>'
    )
