"""``knightwatch config show | diff | propose | approve``: the settings that count as controls, versioned and approved."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from knightwatch.commands.options import Bootstrap, Config, Json, Key, Prefix
from knightwatch.config import load

if TYPE_CHECKING:
    from knightwatch.desk_client import DeskClient
    from schemas.records import Command

Reason = Annotated[str, typer.Option("--reason", help="Why, in words; goes to the audit.")]
By = Annotated[str, typer.Option("--by", help="Your name; that of your key, or the login name, otherwise.")]
New = Annotated[Path, typer.Argument(help="Configuration file (TOML) with the settings that are wanted.")]

WAIT_S: Final = 5.0


def register(app: typer.Typer) -> None:
    """Add ``config``."""
    config = typer.Typer(no_args_is_help=True, help="The approved configuration: show, diff, propose, approve.")
    for command in (show, diff, propose, approve):
        config.command(command.__name__)(command)
    app.add_typer(config, name="config")


def show(bootstrap: Bootstrap = None, prefix: Prefix = None, config: Config = None, as_json: Json = False) -> None:
    """Which configuration is approved, every setting in it, and what is proposed."""
    with _looking(config, bootstrap, prefix) as client:
        found = _standing(client)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(_headline(found))
    for key, value in sorted(found["values"].items()):
        typer.echo(f"{key} = {json.dumps(value)}")


def diff(
    new: New, bootstrap: Bootstrap = None, prefix: Prefix = None, config: Config = None, as_json: Json = False
) -> None:
    """What a file would change in the approved configuration, and which changes loosen a control."""
    from msgspec import to_builtins

    from halts.changes import changes, settings_of

    with _looking(config, bootstrap, prefix) as client:
        found = _standing(client)
    differ = changes(found["values"], settings_of(load(new)))
    loosen = [change.key for change in differ if change.loosens]
    if as_json:
        typer.echo(json.dumps({"version": found["version"], "changes": to_builtins(differ), "loosens": loosen}))
        return
    typer.echo(_headline(found))
    for change in differ:
        mark = "LOOSENS" if change.loosens else "tightens"
        typer.echo(f"{mark:8} {change.key}: {json.dumps(change.old)} -> {json.dumps(change.new)}")
    typer.echo(f"{len(differ)} settings differ, {len(loosen)} loosen a control")


def propose(
    new: New,
    reason: Reason,
    by: By = "",
    key: Key = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Propose a file's settings as the next version. What only tightens counts at once; else another person approves."""
    from halts.changes import settings_of
    from knightwatch.sign_on import connect, sign_on
    from schemas.scopes import FIRM

    loaded, wanted = load(config, bootstrap=bootstrap, prefix=prefix), settings_of(load(new))
    who = sign_on(loaded, key, by)
    with connect(loaded, who) as client:
        version = client.config_version()
        command = client.say("config", FIRM, reason, who.name, epoch=version, halt_id="", values=wanted)
        done = _outcome(client, command, lambda: client.config_version() > version)
    _tell(done, as_json, f"waits for a second person: knightwatch config approve {command.command_id} --reason ...")


def approve(
    request: Annotated[str, typer.Argument(help="Id of the proposal ('knightwatch config show' prints it).")],
    reason: Reason,
    by: By = "",
    key: Key = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Agree, as a second person, to a proposed configuration. Look at 'config show' and 'config diff' first."""
    from knightwatch.sign_on import connect, sign_on
    from schemas.scopes import FIRM

    loaded = load(config, bootstrap=bootstrap, prefix=prefix)
    who = sign_on(loaded, key, by)
    with connect(loaded, who) as client:
        version = client.config_version()
        asked = client.commands.get(request)
        if asked is None or asked.verb != "config":
            raise ValueError(f"there is no proposal {request!r}; 'knightwatch config show' prints those that are open")
        command = client.say("approve", FIRM, reason, who.name, approves=request, epoch=version, halt_id="")
        done = _outcome(client, command, lambda: client.config_version() > version)
    _tell(done, as_json, "")


def _looking(config: Path | None, bootstrap: str | None, prefix: str | None) -> "DeskClient":
    from knightwatch.sign_on import connect

    return connect(load(config, bootstrap=bootstrap, prefix=prefix))


def _standing(client: "DeskClient") -> dict[str, Any]:
    """The approved configuration as the last heartbeat names it, with its settings from the proposal it began as."""
    from halts.changes import digest

    beat = client.state.beat
    version, name = (beat.config_version, beat.config_digest) if beat else (0, "")
    proposals = [c for c in client.commands.values() if c.verb == "config"]
    approved = next((c for c in reversed(proposals) if name and digest(c.values) == name), None)
    waiting = [c for c in proposals if c.epoch == version and c is not approved]
    return {
        "version": version,
        "digest": name,
        "by": approved.by if approved else "",
        "reason": approved.reason if approved else "",
        "values": approved.values if approved else {},
        "proposals": [{"id": c.command_id, "by": c.by, "reason": c.reason} for c in waiting],
    }


def _outcome(client: "DeskClient", command: "Command", in_force: Callable[[], bool]) -> dict[str, Any]:
    """What the desk made of ``command``."""
    client.follow(lambda: in_force() or client.verdict(command)[0] in ("refused", "requested"), WAIT_S)
    outcome, why = client.verdict(command)
    return {
        "command_id": command.command_id,
        "desk": "approved" if in_force() else outcome,
        "why": why,
        "version": client.config_version(),
    }


def _tell(done: dict[str, Any], as_json: bool, waits: str) -> None:
    if as_json:
        typer.echo(json.dumps(done))
    elif done["desk"] == "approved":
        typer.echo(f"version {done['version']} is approved; start the workers anew with that file, one after the other")
    elif done["desk"] == "requested":
        typer.echo(waits)
    if done["desk"] in ("approved", "requested"):
        return
    why = f"the desk refused: {done['why']}" if done["desk"] == "refused" else "the desk did not answer; is one alive?"
    raise ValueError(f"{why} ('knightwatch status' and 'knightwatch config show' say what stands)")


def _headline(found: dict[str, Any]) -> str:
    if not found["version"]:
        head = "no configuration was ever approved: a worker starts with any file"
    else:
        head = f"version {found['version']}, digest {found['digest']}, proposed by {found['by']}: {found['reason']}"
    waiting = [f"proposed by {p['by']} ({p['id']}): {p['reason']}" for p in found["proposals"]]
    return "\n".join([head, *waiting])
