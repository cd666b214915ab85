"""``knightwatch status | halt | resume | approve``: the operator's desk.

Each command says what it did only after it has seen the effect on ``halts``; if there is none in time, the exit code is
not 0 and the message says what to do.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from knightwatch.commands.desk_text import effect_text, status_text
from knightwatch.commands.options import Bootstrap, Config, Json, Key, Prefix
from knightwatch.config import load

if TYPE_CHECKING:
    from halts.config import Config as Loaded
    from knightwatch.desk_client import DeskClient
    from schemas.records import Command, HaltRecord

Scope = Annotated[str, typer.Argument(help="server:NAME, strategy:NAME, account:NAME, symbol:NAME or firm.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in words; goes to the audit.")]
By = Annotated[str, typer.Option("--by", help="Your name; the login name otherwise.")]
Force = Annotated[
    bool, typer.Option("--force", help="Even if no gate answers for the server: the firm is halted then.")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the effect.")]

WAIT_S: Final = 5.0
GATES_S: Final = 2.0
"""Longest wait for the gates' answers once a halt stands."""


def register(app: typer.Typer) -> None:
    """Add the operator's commands."""
    for command in (status, halt, resume, approve):
        app.command(command.__name__)(command)


def status(bootstrap: Bootstrap = None, prefix: Prefix = None, config: Config = None, as_json: Json = False) -> None:
    """The state of every scope, and whether the desk is alive. Needs Kafka, and no worker."""
    from knightwatch.sign_on import connect

    with connect(load(config, bootstrap=bootstrap, prefix=prefix)) as client:
        found = _status(client)
    _print(found, as_json, status_text)


def halt(
    scope: Scope,
    reason: Reason,
    by: By = "",
    direct: Annotated[
        bool, typer.Option("--direct", help="Write the halt to `halts` yourself: for when no desk is alive.")
    ] = False,
    force: Force = False,
    key: Key = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    timeout: Timeout = WAIT_S,
    as_json: Json = False,
) -> None:
    """Halt SCOPE: nothing is sent any more, working orders are cancelled. Stays so until an authorised resume."""
    from knightwatch.sign_on import connect, sign_on

    loaded = _checked(scope, reason, load(config, bootstrap=bootstrap, prefix=prefix))
    who = sign_on(loaded, key, by)
    with connect(loaded, who) as client:
        _must_answer(client, scope, force, as_json)
        started = time.time_ns()
        if direct:
            record: HaltRecord | None = client.halt_directly(scope, reason, who.name)
            command = None
        else:
            command = client.say("halt", scope, reason, who.name)
            record = _await(client, command, ("HALTING", "HALTED"), timeout)
        found = _effect(client, scope, command, record, started, timeout)
    _finish(found, as_json, f"{scope} was not halted within {timeout:g} s. Use --direct to write the halt yourself")


def resume(
    scope: Scope,
    reason: Reason,
    by: By = "",
    break_glass: Annotated[
        bool, typer.Option("--break-glass", help="Alone and at once, where two are needed. Told as such everywhere.")
    ] = False,
    key: Key = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    timeout: Timeout = WAIT_S,
    as_json: Json = False,
) -> None:
    """Ask for halted SCOPE to reopen, in stages: first orders that reduce a position. Firm and servers need a second
    person, who approves. It does not send anything, nor undo what was cancelled."""
    from knightwatch.sign_on import connect, sign_on

    loaded = _checked(scope, reason, load(config, bootstrap=bootstrap, prefix=prefix))
    who = sign_on(loaded, key, by)
    with connect(loaded, who) as client:
        _must_be_halted(client, scope)
        started = time.time_ns()
        command = client.say("resume", scope, reason, who.name, emergency=break_glass)
        record = _await(client, command, ("RESUMING", "ACTIVE"), timeout)
        found = _effect(client, scope, command, record, started, 0.0)
    _finish(found, as_json, f"{scope} was not reopened within {timeout:g} s")


def approve(
    request: Annotated[str, typer.Argument(help="The scope whose resume you agree to, or the id of the request.")],
    reason: Reason,
    by: By = "",
    key: Key = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    timeout: Timeout = WAIT_S,
    as_json: Json = False,
) -> None:
    """Agree, as a second person, to a resume that was asked for."""
    from knightwatch.sign_on import connect, sign_on

    loaded = load(config, bootstrap=bootstrap, prefix=prefix)
    who = sign_on(loaded, key, by)
    with connect(loaded, who) as client:
        asked = client.commands.get(request) or client.open_request(request)
        if asked is None or asked.verb != "resume":
            _fail(f"there is no resume to approve under {request!r}; 'knightwatch status' lists those that are open")
        _checked(asked.scope, reason, loaded)
        _must_be_halted(client, asked.scope)
        started = time.time_ns()
        command = client.say("approve", asked.scope, reason, who.name, approves=asked.command_id)
        record = _await(client, command, ("RESUMING", "ACTIVE"), timeout)
        found = _effect(client, asked.scope, command, record, started, 0.0)
    _finish(found, as_json, f"{asked.scope} was not reopened within {timeout:g} s")


# --- what they share --------------------------------------------------------------------------------------------------


def _fail(message: str) -> NoReturn:
    typer.echo(f"knightwatch: {message}", err=True)
    raise typer.Exit(1)


def _checked(scope: str, reason: str, loaded: "Loaded") -> "Loaded":
    """``loaded``, when scope and reason are fit to be sent. ValueError says what is not."""
    from schemas.scopes import parse

    parse(scope)
    if not reason.strip():
        raise ValueError("--reason is empty; expected why, in words")
    return loaded


def _must_answer(client: "DeskClient", scope: str, force: bool, as_json: bool) -> None:
    """A halt of a server for which no gate answers is asked about first: it would halt the firm."""
    kind, _, name = scope.partition(":")
    if kind != "server" or force:
        return
    known = client.servers()
    if known is None or name in known:
        return
    heard = f"heard lately: {', '.join(known)}" if known else "no router was heard lately"
    risk = f"no gate answers for {scope} ({heard}): without an answer the desk halts the FIRM"
    if as_json or not sys.stdin.isatty():
        _fail(f"{risk}. Name another server, or give --force")
    if not typer.confirm(f"{risk}. Halt it all the same?"):
        raise typer.Exit(1)


def _must_be_halted(client: "DeskClient", scope: str) -> None:
    found = client.record(scope)
    if found is None or found.state not in ("HALTING", "HALTED"):
        state = found.state if found else "ACTIVE"
        _fail(f"{scope} is {state}, not halted: there is nothing to resume")


def _await(client: "DeskClient", command: "Command", states: tuple[str, ...], timeout_s: float) -> "HaltRecord | None":
    """The record in which ``command`` shows on ``halts``; None if refused, waiting for approval, or out of time."""
    wants_halt = "HALTED" in states

    def shown() -> "HaltRecord | None":
        found = client.record(command.scope)
        if found is None or found.state not in states:
            return None
        return found if wants_halt or found.epoch > command.epoch else None

    ends = ("refused",) if wants_halt else ("refused", "requested")
    client.follow(lambda: shown() or client.verdict(command)[0] in ends, timeout_s)
    return shown()


def _effect(
    client: "DeskClient",
    scope: str,
    command: "Command | None",
    record: "HaltRecord | None",
    started_ns: int,
    gates_s: float,
) -> dict[str, Any]:
    """What came of it. gates_s: how long to wait for HALTED, so that the gates' answers are in it."""
    from msgspec import to_builtins

    seen_ns = time.time_ns()
    already = record is not None and command is not None and record.epoch <= command.epoch
    if record is not None and gates_s:
        halted = record

        def all_confirmed() -> bool:
            now = client.record(scope)
            return now is not None and now.halt_id == halted.halt_id and now.state == "HALTED"

        client.follow(all_confirmed, min(gates_s, GATES_S))
    stands = client.record(scope)
    outcome, why = client.verdict(command) if command else ("", "")
    age = client.heartbeat_age_ms()
    return {
        "scope": scope,
        "effective": record is not None or outcome == "requested",
        "already": already,
        "state": stands.state if stands else "ACTIVE",
        "halt_id": stands.halt_id if stands else "",
        "epoch": stands.epoch if stands else 0,
        "text": stands.text if stands else "",
        "by": stands.by if stands else "",
        "command_id": command.command_id if command else "",
        "desk": outcome,
        "why": why,
        "effect_ms": round((seen_ns - started_ns) / 1e6, 3) if record is not None and not already else None,
        "gates": to_builtins(client.answers(stands, started_ns)) if stands else [],
        "desk_heartbeat_age_ms": None if age is None else round(age, 1),
    }


def _finish(found: dict[str, Any], as_json: bool, otherwise: str) -> None:
    _print(found, as_json, effect_text)
    if found["effective"]:
        return
    if found["desk"] == "refused":
        _fail(f"the desk refused: {found['why']}")
    age = found["desk_heartbeat_age_ms"]
    heard = "the desk was never heard" if age is None else f"the desk was last heard {age / 1e3:.1f} s ago"
    _fail(f"{otherwise} ({heard}; gates close by themselves when it is silent)")


def _print(found: dict[str, Any], as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    typer.echo(json.dumps(found) if as_json else text(found))


def _status(client: "DeskClient") -> dict[str, Any]:
    from schemas.scopes import CANARY

    age, alive, beat = client.heartbeat_age_ms(), client.desk_alive(), client.state.beat
    reason = client.state.closed_reason() or ("" if alive else "no fresh heartbeat of the desk")
    scopes = []
    for record in sorted(client.state.records.values(), key=lambda r: (r.state == "ACTIVE", r.scope)):
        if record.scope == CANARY:
            continue
        asked = client.open_request(record.scope)
        scopes.append(
            {
                "scope": record.scope,
                "state": record.state,
                "action": record.action,
                "halt_id": record.halt_id,
                "epoch": record.epoch,
                "ts_event": record.ts_event,
                "ts_decided": record.ts_decided,
                "by": record.by,
                "detectors": [cause.detector for cause in record.cause],
                "text": record.text,
                "money": {"loss_usd": record.money.loss_usd, "loss_usd_per_s": record.money.loss_usd_per_s,
                          "gross_usd": record.money.gross_usd},
                "resume_asked": {"id": asked.command_id, "by": asked.by, "reason": asked.reason} if asked else None,
            }
        )  # fmt: skip
    return {
        "desk": {
            "alive": alive,
            "heartbeat_age_ms": None if age is None else round(age, 1),
            "generation": client.state.generation,
        },
        "gates": {"open": not reason, "reason": reason, "unwatched": list(beat.unwatched) if beat and alive else []},
        "scopes": scopes,
        "undecodable": client.state.undecodable,
    }
