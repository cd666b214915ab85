"""The audit as a timeline: one line of plain words for each record that a person would want to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from knightwatch.web.words import lead
from schemas.records import AuditRecord

GATE_SAYS: Final = {
    "blocked": "blocks new orders",
    "cancelling": "is cancelling, {working} working",
    "confirmed": "confirms: nothing is working",
    "refused": "refuses a record on halts",
}
NOT_BELIEVED: Final = {
    "no_ack": "did not answer in time: its scope widens",
    "after_halt_flow": "let orders pass after it said blocked: its scope widens",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``tone``: halt, warn, open, gate, person or note: what mark it gets. ``n``: number in the audit."""

    n: int
    stamp_ms: int
    tone: str
    scope: str
    text: str


def entry_of(record: AuditRecord, stamp_ms: int) -> Entry | None:
    """The line of an audit record; None for one that is of no use to people."""
    made = _WORDS.get(record.kind, _other)(record.kind, record.body)
    if made is None:
        return None
    tone, scope, text = made
    return Entry(record.n, stamp_ms, tone, scope, " ".join(text.split()))


Words = tuple[str, str, str]


def _part(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = body.get(key)
    return found if isinstance(found, dict) else {}


def _transition(kind: str, body: Mapping[str, Any]) -> Words:
    record = _part(body, "record")
    state = str(record.get("state", "?"))
    tone = {"HALTING": "halt", "HALTED": "halt", "WARNED": "warn"}.get(state, "open")
    first, _ = lead(str(record.get("text", "")))
    return tone, str(record.get("scope", "")), state if state == "HALTED" else f"{state}: {first}"


def _ack(kind: str, body: Mapping[str, Any]) -> Words:
    ack = _part(body, "ack")
    says = GATE_SAYS.get(str(ack.get("status")), "answers").format(working=ack.get("working", "?"))
    return "gate", str(ack.get("scope", "")), f"Gate {ack.get('server', '?')} {says}"


def _ignored(kind: str, body: Mapping[str, Any]) -> Words:
    ack = _part(body, "ack")
    return (
        "note",
        str(ack.get("scope", "")),
        f"Gate {ack.get('server', '?')}: answer not counted, {body.get('why', '')}",
    )


def _distrusted(kind: str, body: Mapping[str, Any]) -> Words:
    return "halt", str(body.get("scope", "")), f"Gate {body.get('server', '?')} {NOT_BELIEVED[kind]}"


def _request(kind: str, body: Mapping[str, Any]) -> Words:
    scope, request = str(body.get("scope", "")), body.get("request")
    if not isinstance(request, dict):
        return "note", scope, f"The request to reopen is void: {body.get('why') or 'answered'}"
    said = f"{request.get('by', '?')} asks to reopen: {request.get('reason', '')}"
    return "person", scope, f"{said}. Waits for a second person"


def _command(kind: str, body: Mapping[str, Any]) -> Words | None:
    command = _part(body, "command")
    verb, by = str(command.get("verb", "?")), command.get("by", "?")
    if verb == "resume":
        return None  # its request, or its transition, says more
    said = {"halt": "orders a halt", "drill": "orders a drill", "approve": "approves the request"}.get(verb, verb)
    return "person", str(command.get("scope", "")), f"{by} {said}: {command.get('reason') or 'no reason given'}"


def _refused(kind: str, body: Mapping[str, Any]) -> Words:
    command = _part(body, "command")
    who, verb = command.get("by", "?"), command.get("verb", "?")
    return "warn", str(command.get("scope", "")), f"REFUSED: {verb} by {who}. {body.get('problem', '')}"


def _cause(kind: str, body: Mapping[str, Any]) -> Words:
    return "note", str(body.get("scope", "")), f"Detector {_part(body, 'cause').get('detector', '?')} agrees"


def _adopted(kind: str, body: Mapping[str, Any]) -> Words:
    record = _part(body, "record")
    return "note", str(record.get("scope", "")), f"The desk took over what stood: {record.get('state', '?')}"


def _other(kind: str, body: Mapping[str, Any]) -> Words:
    return "note", str(body.get("scope", "")), kind.replace("_", " ")


_WORDS: Final = {
    "transition": _transition,
    "ack": _ack,
    "ack_ignored": _ignored,
    "no_ack": _distrusted,
    "after_halt_flow": _distrusted,
    "request": _request,
    "command": _command,
    "refused": _refused,
    "cause": _cause,
    "adopted": _adopted,
}
