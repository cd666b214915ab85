"""``knightwatch desk``: the halt desk in a browser; ``knightwatch desk-key``: a key for one of its operators."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from knightwatch.commands.options import Bootstrap, Config, Prefix
from knightwatch.config import kafka_options, load

if TYPE_CHECKING:
    from halts.config import Config as Loaded
    from knightwatch.desk_client import DeskClient

Folder = Annotated[Path | None, typer.Option("--operators", help="Folder with the operators' encrypted keys.")]
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def register(app: typer.Typer) -> None:
    """Add ``desk`` and ``desk-key``."""
    app.command("desk")(desk)
    app.command("desk-key")(desk_key)


def desk(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen at.")] = 8470,
    operators: Folder = None,
    view: Annotated[
        str, typer.Option(help="Who may look: 'open' (everybody who reaches it) or 'operators'. Acting needs a log-in.")
    ] = "open",
    session_minutes: Annotated[float, typer.Option(min=1, help="A log-in ends after so long without an action.")] = 60,
    runbook: Annotated[Path | None, typer.Option(help="Markdown file shown at /runbook.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate: serve HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key of the certificate.")] = None,
) -> None:
    """Serve the halt desk as a live page, until Ctrl-C or SIGTERM."""
    from halts.config import trust_of

    try:
        from knightwatch.web.feed import Feed
        from knightwatch.web.operators import Operators
        from knightwatch.web.server import RUNBOOK, Server, Settings, serve
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; the desk needs: pip install 'knightwatch[desk]'") from error
    if view not in ("open", "operators"):
        raise ValueError(f"--view {view}: expected 'open' or 'operators'")
    if (tls_cert is None) != (tls_key is None):
        raise ValueError("one of --tls-cert and --tls-key is given; expected both, or neither")
    found = load(config, bootstrap=bootstrap, prefix=prefix)
    registered = Operators(operators, {name: o.public_key for name, o in found.desk.operators.items()})
    settings = Settings(
        host=host,
        port=port,
        view_open=view == "open",
        session_minutes=session_minutes,
        runbook=runbook or RUNBOOK,
        certificate=tls_cert,
        private_key=tls_key,
    )
    scheme = "http" if tls_cert is None else "https"
    typer.echo(f"the halt desk is at {scheme}://{host}:{port}/ and reads {found.kafka.bootstrap}; Ctrl-C ends it")
    if not registered.names():
        typer.echo("nobody can log in: no operators are known (see 'knightwatch desk-key --help'); viewing only")
    if host not in LOOPBACK and tls_cert is None:
        typer.echo("passphrases would cross the network in the clear: give --tls-cert and --tls-key, or a TLS proxy")
    with Feed(
        found.kafka.bootstrap,
        found.kafka.prefix,
        fail_closed_after_ms=found.gate.fail_closed_after_ms,
        clock_skew_ms_max=found.gate.clock_skew_ms_max,
        trust=trust_of(found),
        kafka=kafka_options(found),
    ) as feed:
        where = f"{found.kafka.bootstrap} {found.kafka.prefix}".strip()
        serve(Server(settings, feed, registered, connector(found), where))


def connector(config: "Loaded") -> "Callable[[Any], DeskClient]":
    """Makes the connection over which an operator's commands go out, signed with the operator's key."""
    from knightwatch.sign_on import connect

    return partial(connect, config)


def desk_key(
    name: Annotated[str, typer.Argument(help="The operator's name.")],
    operators: Annotated[Path, typer.Option("--operators", help="Folder to write NAME.pem to.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key to keep there (PEM); a new one otherwise.")
    ] = None,
    passphrase_stdin: Annotated[bool, typer.Option(help="Read the passphrase from standard input.")] = False,
) -> None:
    """Put an operator's key into the desk's folder, encrypted by a passphrase; print the public key for the workers."""
    from halts.signing import read_private
    from knightwatch.web.operators import write_key

    private = read_private(key.read_bytes()) if key is not None else None
    if passphrase_stdin:
        passphrase = sys.stdin.readline().rstrip("\r\n")
    else:
        passphrase = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True)
    typer.echo(write_key(operators, name, passphrase, private))
