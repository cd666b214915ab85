"""The evidence of one halt, from ``audit``: what was seen, who did what when, and how to prove that nothing was changed."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.records import AuditRecord, decode
from schemas.units import MS_NS

SHOWN: Final = ("transition", "cause", "command", "refused", "break_glass", "request", "ack", "no_ack", "after_halt_flow",
                "adopted", "overtaken", "repeated", "ack_ignored")  # fmt: skip


class Line(Struct, frozen=True):
    """One value of ``audit`` as it stands on Kafka. ``ts_ms``: when the broker appended it, UTC."""

    offset: int
    ts_ms: int
    value: bytes


class Entry(Struct, frozen=True):
    """One line of the timeline. ``ts``: when it happened by its own stamp (ns UTC), else when it was appended.
    ``sha256``: of the record's bytes, which the next record of the chain carries as ``prev``."""

    ts: int
    offset: int
    n: int
    kind: str
    scope: str
    who: str
    what: str
    sha256: str
    record: dict[str, Any]


class Person(Struct, frozen=True):
    """What somebody did about the halt."""

    name: str
    did: tuple[str, ...]
    key_ids: tuple[str, ...]


class GateTimes(Struct, frozen=True):
    """How fast a gate obeyed, from the halt: ms, None if it did not."""

    server: str
    status: str
    blocked_ms: float | None
    confirmed_ms: float | None


class Pack(Struct, frozen=True):
    """Everything about one halt. ``chain``: the audit records that were verified, and what is wrong with them."""

    halt_id: str
    scope: str
    text: str
    began: int
    ended: int
    state: str
    first_bad: dict[str, Any]
    causes: tuple[dict[str, Any], ...]
    money: dict[str, float]
    people: tuple[Person, ...]
    gates: tuple[GateTimes, ...]
    stuck_orders: tuple[str, ...]
    related: tuple[str, ...]
    """Other halts that the same first event led to."""
    timeline: tuple[Entry, ...]
    config: dict[str, Any] = {}
    builds: tuple[dict[str, Any], ...] = ()
    chain: dict[str, Any] = {}
    v: int = 1


def evidence(halt_id: str, lines: Iterable[Line]) -> Pack | None:
    """The pack of a halt; None if ``audit`` has no transition of it. Config, builds and chain are the caller's to add."""
    read = [(line, record) for line in lines if (record := _read(line.value)) is not None]
    moves = [r.body["record"] for _, r in read if r.kind == "transition" and r.body["record"]["halt_id"] == halt_id]
    if not moves:
        return None
    scope = str(moves[0]["scope"])
    mine = [(line, r) for line, r in read if _is_about(r, halt_id, scope)]
    mine = _within(mine, halt_id)
    timeline = tuple(_entry(line, record) for line, record in mine)
    closing = [m for m in moves if m["state"] in ("HALTING", "HALTED")] or moves
    return Pack(
        halt_id=halt_id,
        scope=scope,
        text=str(closing[0]["text"]),
        began=int(closing[0]["ts_decided"]),
        ended=next((int(m["ts_decided"]) for m in moves if m["state"] == "ACTIVE"), 0),
        state=str(moves[-1]["state"]),
        first_bad=_first_bad(closing[0]),
        causes=_causes(mine),
        money=dict(moves[-1]["money"]),
        people=_people(mine),
        gates=_gates(mine),
        stuck_orders=_stuck(mine),
        related=_related(read, halt_id, closing[0]),
        timeline=timeline,
        config=_config(read, timeline[0].n),
    )


def halts_in(lines: Iterable[Line]) -> dict[str, str]:
    """Halt id -> scope of every halt in ``audit``, oldest first."""
    found: dict[str, str] = {}
    for line in lines:
        record = _read(line.value)
        if record is not None and record.kind == "transition" and record.body["record"]["state"] == "HALTING":
            found.setdefault(str(record.body["record"]["halt_id"]), str(record.body["record"]["scope"]))
    return found


def _read(value: bytes) -> AuditRecord | None:
    try:
        return decode(value, AuditRecord)
    except msgspec.DecodeError:
        return None


def _is_about(record: AuditRecord, halt_id: str, scope: str) -> bool:
    """Does it name the halt, or the scope while nothing says that it means another halt of it?"""
    if record.kind not in SHOWN:
        return False
    body = record.body
    inner = body.get("record") or body.get("ack") or body.get("command") or body.get("request") or body
    named = inner.get("halt_id")
    if named:
        return bool(named == halt_id)
    return bool(inner.get("scope", body.get("scope")) == scope)


def _within(mine: Sequence[tuple[Line, AuditRecord]], halt_id: str) -> list[tuple[Line, AuditRecord]]:
    """From the first record that names the halt (with the command before it) to the last transition of it."""
    at = [
        i for i, (_, r) in enumerate(mine) if r.kind == "transition" and r.body["record"]["halt_id"] == halt_id
    ]  # fmt: skip
    first, last = at[0], at[-1]
    cause = mine[first][1].body["input"]
    while first > 0 and mine[first - 1][1].body.get("input") == cause:
        first -= 1
    ended = mine[last][1].body["record"]["state"] == "ACTIVE"
    return list(mine[first : last + 1 if ended else len(mine)])


def _entry(line: Line, record: AuditRecord) -> Entry:
    ts, scope, who, what = _told(record)
    return Entry(
        ts=ts or line.ts_ms * MS_NS,
        offset=line.offset,
        n=record.n,
        kind=record.kind,
        scope=scope,
        who=who,
        what=what,
        sha256=sha256(line.value).hexdigest(),
        record=msgspec.to_builtins(record),
    )


def _told(record: AuditRecord) -> tuple[int, str, str, str]:
    """When (0: unknown), which scope, who, and what in words."""
    body = record.body
    match record.kind:
        case "transition":
            r = body["record"]
            return r["ts_decided"], r["scope"], r["by"], f"{body['from']} → {r['state']}: {r['text']}"
        case "ack":
            a = body["ack"]
            left = f", {a['working']} orders still working" if a["working"] else ""
            return a["ts"], a["scope"], f"gate of {a['server']}", f"{a['status']}{left}"
        case "ack_ignored":
            a = body["ack"]
            return a["ts"], a["scope"], f"gate of {a['server']}", f"{a['status']} does not count: {body['why']}"
        case "command" | "repeated" | "refused" | "break_glass":
            c = body["command"]
            end = {"refused": f" REFUSED: {body.get('problem')}", "repeated": " came again, and did nothing",
                   "break_glass": " BREAK-GLASS: alone"}.get(record.kind, "")  # fmt: skip
            return c["ts"], c["scope"], c["by"], f"{c['verb']}: {c['reason'] or '(no reason given)'}{end}"
        case "request":
            r = body.get("request") or {}
            said = f"resume waits for a second person (asked: {r['reason']})" if r else f"request void: {body['why']}"
            return 0, body["scope"], r.get("by", ""), said
        case "no_ack":
            return 0, body["scope"], f"gate of {body['server']}", "said nothing in time: its word counts no more"
        case "after_halt_flow":
            return 0, body["scope"], f"gate of {body['server']}", "let orders pass after it had said blocked"
        case "cause":
            return 0, body["scope"], body["cause"]["detector"], "agrees with the halt"
        case "adopted":
            return 0, body["record"]["scope"], "desk", f"took over what stood on halts: {body['record']['state']}"
        case _:
            return 0, str(body.get("scope", "")), "desk", record.kind.replace("_", " ")


def _first_bad(record: Mapping[str, Any]) -> dict[str, Any]:
    """The first bad event, and which detector saw it."""
    causes = record["cause"]
    if not causes:
        return {}
    origin = next((c for c in causes if c["detector"] not in ("no_ack", "after_halt_flow", "widening")), causes[0])
    return {"detector": origin["detector"], **origin["first_event"]}


def _causes(mine: Iterable[tuple[Line, AuditRecord]]) -> tuple[dict[str, Any], ...]:
    found: dict[str, dict[str, Any]] = {}
    for _, record in mine:
        body = record.body
        transition = record.kind == "transition"
        for cause in body["record"]["cause"] if transition else [body["cause"]] if record.kind == "cause" else []:
            found.setdefault(cause["detector"], cause)
    return tuple(found.values())


def _people(mine: Iterable[tuple[Line, AuditRecord]]) -> tuple[Person, ...]:
    did: dict[str, list[str]] = {}
    keys: dict[str, set[str]] = {}
    for _, record in mine:
        if record.kind not in ("command", "refused"):
            continue
        c = record.body["command"]
        what = f"{c['verb']} ({'refused' if record.kind == 'refused' else c['reason'] or 'no reason'})"
        did.setdefault(c["by"], []).append(what)
        keys.setdefault(c["by"], set()).update([c["key_id"]] if c.get("key_id") else [])
    return tuple(Person(name, tuple(done), tuple(sorted(keys[name]))) for name, done in sorted(did.items()))


def _gates(mine: Iterable[tuple[Line, AuditRecord]]) -> tuple[GateTimes, ...]:
    found: dict[str, GateTimes] = {}
    for _, record in mine:
        if record.kind != "transition":
            continue
        for server, gate in record.body["gates"].items():
            found[server] = GateTimes(server, gate["status"], gate["blocked_ms"], gate["confirmed_ms"])
    return tuple(found[server] for server in sorted(found))


def _stuck(mine: Iterable[tuple[Line, AuditRecord]]) -> tuple[str, ...]:
    last: dict[str, list[str]] = {}
    for _, record in mine:
        if record.kind == "ack":
            last[record.body["ack"]["server"]] = record.body["ack"]["orders"]
    return tuple(order for server in sorted(last) for order in last[server])


def _related(read: Iterable[tuple[Line, AuditRecord]], halt_id: str, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Halts of other scopes with a first event in common: what this one was widened to, or from."""
    mine = {_place(c) for c in record["cause"]}
    found: dict[str, None] = {}
    for _, r in read:
        other = r.body["record"] if r.kind == "transition" else {}
        if other.get("halt_id", "") in ("", halt_id) or other["state"] not in ("HALTING", "HALTED"):
            continue
        if mine & {_place(c) for c in other["cause"]}:
            found[f"{other['halt_id']} ({other['scope']})"] = None
    return tuple(found)


def _place(cause: Mapping[str, Any]) -> tuple[Any, ...]:
    first = cause["first_event"]
    return (first["topic"], first["partition"], first["offset"], first["item"])


def _config(read: Iterable[tuple[Line, AuditRecord]], n: int) -> dict[str, Any]:
    """The configuration that was approved when the halt began."""
    last: dict[str, Any] = {}
    for _, record in read:
        if record.kind == "config" and record.n < n:
            last = {key: record.body[key] for key in ("version", "digest", "by", "values")}
    return last
