"""``knightwatch drill SCOPE``: halt a scope as an exercise, measure, restore, and keep the record."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from knightwatch.commands.options import Bootstrap, Config, Json, Key, Prefix
from knightwatch.config import load

if TYPE_CHECKING:
    from knightwatch.desk_client import DeskClient
    from schemas.records import Command

WAIT_S: Final = 8.0
"""Longest wait for the end of the drill: the desk ends it by itself (``desk.drill_ms_max``)."""


def register(app: typer.Typer) -> None:
    """Add ``drill``."""
    app.command("drill")(drill)


def drill(
    scope: Annotated[
        str, typer.Argument(help="server:NAME, strategy:NAME, account:NAME, symbol:NAME or firm; it must be ACTIVE.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why, in words; goes to the audit.")] = "drill",
    by: Annotated[str, typer.Option("--by", help="Your name; the login name otherwise.")] = "",
    key: Key = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the end.")] = WAIT_S,
    as_json: Json = False,
) -> None:
    """Halt SCOPE as an exercise, through the whole real path, and measure: to halted, to blocked, to confirmed.

    For a moment SCOPE really is stopped: its orders are blocked and what works in it is cancelled. The desk restores
    it when every gate has confirmed, or after desk.drill_ms_max. It widens to nothing. What is found stays in the audit.
    Exits 1 when a gate did not confirm, and when the desk refuses (nobody answers for SCOPE; SCOPE is not ACTIVE).
    """
    from knightwatch.sign_on import connect, sign_on
    from schemas.scopes import parse

    parse(scope)
    if not reason.strip():
        raise ValueError("--reason is empty; expected why, in words")
    loaded = load(config, bootstrap=bootstrap, prefix=prefix)
    who = sign_on(loaded, key, by)
    with connect(loaded, who) as client:
        found = hold(client, scope, reason, who.name, timeout)
    typer.echo(json.dumps(found) if as_json else text(found))
    if found["passed"]:
        return
    typer.echo(f"knightwatch: {_why_not(found, timeout)}", err=True)
    raise typer.Exit(1)


def hold(client: "DeskClient", scope: str, reason: str, by: str, timeout_s: float) -> dict[str, Any]:
    """Hold the drill and tell what came of it. Times in ms since the command, gates' by their own clocks."""
    started_ns = time.time_ns()
    command = client.say("drill", scope, reason, by)
    seen: dict[str, float] = {}

    def over() -> bool:
        for line in _transitions(client, command):
            seen.setdefault(line["record"]["state"], (time.time_ns() - started_ns) / 1e6)
        return "ACTIVE" in seen or client.verdict(command)[0] == "refused"

    client.follow(over, timeout_s)
    lines = _transitions(client, command)
    last = lines[-1] if lines else None
    gates = _gates(client, last["record"]["halt_id"], started_ns) if last else []
    confirmed = [gate["confirmed_ms"] for gate in gates]
    outcome, why = client.verdict(command)
    return {
        "scope": scope,
        "passed": "HALTED" in seen and "ACTIVE" in seen,
        "state": last["record"]["state"] if last else "",
        "by": by,
        "reason": reason,
        "command_id": command.command_id,
        "halt_id": last["record"]["halt_id"] if last else "",
        "desk": outcome,
        "why": why,
        "result": last["reason"] if last and "ACTIVE" in seen else "",
        "halted_ms": _ms(seen.get("HALTING")),
        "blocked_ms": max((gate["blocked_ms"] for gate in gates), default=None),
        "confirmed_ms": max(confirmed) if confirmed and None not in confirmed else None,
        "restored_ms": _ms(seen.get("ACTIVE")),
        "gates": gates,
    }


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _transitions(client: "DeskClient", command: "Command") -> list[dict[str, Any]]:
    """Bodies of the audit's transitions that this drill made."""
    return [
        line.body
        for line in client.audit
        if line.kind == "transition"
        and any(c["evidence"].get("command_id") == command.command_id for c in line.body["record"]["cause"])
    ]


def _gates(client: "DeskClient", halt_id: str, started_ns: int) -> list[dict[str, Any]]:
    """What each gate answered, and when."""
    found: dict[str, dict[str, Any]] = {}
    for ack in client.acks:
        if ack.halt_id != halt_id:
            continue
        after_ms = round((ack.ts - started_ns) / 1e6, 1)
        gate = found.setdefault(
            ack.server, {"server": ack.server, "status": "", "blocked_ms": after_ms, "confirmed_ms": None, "working": 0}
        )
        gate["status"], gate["working"] = ack.status, ack.working
        if ack.status == "confirmed":
            gate["confirmed_ms"] = after_ms
    return [found[server] for server in sorted(found)]


def _why_not(found: dict[str, Any], timeout_s: float) -> str:
    if found["desk"] == "refused":
        return f"the desk refused: {found['why']}"
    if not found["halt_id"]:
        return f"no desk took the drill within {timeout_s:g} s: run 'knightwatch status'"
    if found["result"]:
        return f"the drill of {found['scope']} failed ({found['result']}): see docs/runbook.md#gate-unconfirmed"
    if found["state"] == "ACTIVE":
        return f"the drill of {found['scope']} was restored before every gate had confirmed"
    return f"{found['scope']} is {found['state']} after {timeout_s:g} s: run 'knightwatch status'"


def text(found: dict[str, Any]) -> str:
    """The result for people."""
    if not found["halt_id"]:
        return f"{found['scope']}: not drilled"
    lines = [
        f"{found['scope']}: {'PASSED' if found['passed'] else 'FAILED'}, now {found['state']}, "
        f"halt {found['halt_id']}; {found['result']}"
    ]
    steps = [(name, found[f"{name}_ms"]) for name in ("halted", "blocked", "confirmed", "restored")]
    lines.append("  " + ", ".join(f"{name} {'-' if ms is None else f'{ms:.0f} ms'}" for name, ms in steps))
    lines += [
        f"  gate {gate['server']}: {gate['status']}, blocked after {gate['blocked_ms']:.0f} ms"
        + (f", confirmed after {gate['confirmed_ms']:.0f} ms" if gate["confirmed_ms"] is not None else "")
        + (f", {gate['working']} working" if gate["working"] else "")
        for gate in found["gates"]
    ]
    return "\n".join(lines)
