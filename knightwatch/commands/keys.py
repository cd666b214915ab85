"""``knightwatch keys new | show | list | check``: the keys with which operators sign their commands."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from knightwatch.commands.options import Config, Json
from knightwatch.config import load

Name = Annotated[str, typer.Argument(help="Name of the operator, as it stands in the configuration.")]
File = Annotated[
    Path | None, typer.Option("--file", help="The private key's file; by name in the key folder otherwise.")
]


def register(app: typer.Typer) -> None:
    """Add ``keys``."""
    keys = typer.Typer(no_args_is_help=True, help="The keys with which operators sign their commands.")
    for name, command in (("new", new), ("show", show), ("list", list_), ("check", check)):
        keys.command(name)(command)
    app.add_typer(keys, name="keys")


def new(name: Name, file: File = None, as_json: Json = False) -> None:
    """Make a private key in a file that only you can read, and print what goes into the configuration."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from knightwatch import private_key

    key = Ed25519PrivateKey.generate()
    path = file or private_key.path_of(name)
    try:
        private_key.write_file(path, key)
    except FileExistsError as error:
        raise ValueError(f"{path} exists; keys are not overwritten: move it away, or give --file") from error
    _print(_described(name, path, key), as_json)


def show(name: Name, file: File = None, as_json: Json = False) -> None:
    """Print the public key of a private key that is here."""
    from knightwatch import private_key

    path = file or private_key.path_of(name)
    _print(_described(name, path, private_key.read_file(path)), as_json)


def list_(config: Config = None, as_json: Json = False) -> None:
    """The operators of a configuration: key, roles, what they own, and whether the private key is here."""
    from halts.signing import key_id, read_public
    from knightwatch import private_key

    found: list[dict[str, Any]] = [
        {
            "name": name,
            "key_id": key_id(read_public(operator.public_key)),
            "roles": list(operator.roles),
            "owns": list(operator.owns),
            "here": private_key.path_of(name).exists(),
        }
        for name, operator in load(config).desk.operators.items()
    ]
    if as_json:
        typer.echo(json.dumps({"operators": found}))
        return
    for o in found:
        owns = f"; owns {', '.join(o['owns'])}" if o["owns"] else ""
        typer.echo(f"{o['name']:12} {o['key_id']}  {', '.join(o['roles'])}{owns}{'; key is here' if o['here'] else ''}")
    if not found:
        typer.echo("no operators are configured: commands are not signed, --by is believed")


def check(name: Name, file: File = None, config: Config = None, as_json: Json = False) -> None:
    """Sign something with the private key, and verify it as the desk would. Exit code 0 only if it would be accepted."""
    from halts.keys import Ring
    from halts.signing import key_id, sign
    from knightwatch import private_key
    from schemas.records import Command

    desk = load(config).desk
    path = file or private_key.path_of(name)
    key = private_key.read_file(path)
    operator = desk.operators.get(name)
    if operator is None:
        raise ValueError(f"{name} is no operator of this configuration; add what 'knightwatch keys show {name}' prints")
    role = operator.roles[0] if operator.roles else "halt"
    said = Command("check", 0, "resume", "firm", "check", name, emergency=True)
    if role != "break_glass":
        said = Command("check", 0, role, "firm", "check", name)
    problem = Ring(desk.operators, desk.audience).problem(sign(said, key, desk.audience))
    if problem is not None:
        raise ValueError(f"{path}: {problem}")
    roles = list(operator.roles)
    found = {
        "name": name,
        "key_id": key_id(key.public_key()),
        "accepted": True,
        "roles": roles,
        "audience": desk.audience,
    }
    typer.echo(json.dumps(found) if as_json else f"accepted: {name}, key {found['key_id']}, may {', '.join(roles)}")


def _described(name: str, path: Path, key: Any) -> dict[str, str]:
    from halts.signing import key_id, public_text

    public = key.public_key()
    return {"name": name, "file": str(path), "key_id": key_id(public), "public_key": public_text(public)}


def _print(found: dict[str, str], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"# private key in {found['file']}, key id {found['key_id']}")
    typer.echo(f'[desk.operators.{found["name"]}]\npublic_key = "{found["public_key"]}"')
    typer.echo('roles = ["halt"]                  # and drill, resume, approve, config, break_glass as it fits')
