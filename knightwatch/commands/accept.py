"""``knightwatch accept``: a live FIX drop copy session to Kafka."""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from knightwatch.commands.import_ import count_lines
from knightwatch.commands.options import Bootstrap, Config, Json, Prefix

if TYPE_CHECKING:
    from producers.fix_acceptor.intake import Intake
    from producers.publish import Publisher


def register(app: typer.Typer) -> None:
    """Add ``accept``."""
    app.command("accept")(accept)


def accept(
    kind: str = typer.Argument(metavar="FORMAT", help="fix."),
    settings: Path | None = typer.Option(None, help="Sessions and all else as a TOML file (docs/import.md)."),
    sessions: list[str] = typer.Option(
        [],
        "--session",
        help="SENDER=SERVER: a counterpart's SenderCompID, and the router that its orders are; again for each.",
    ),
    fix_version: str = typer.Option("FIX.4.4", help="Of the sessions given with --session: FIX.4.2 or FIX.4.4."),
    comp_id: str | None = typer.Option(None, help="What counterparts call us (TargetCompID); KNIGHTWATCH otherwise."),
    port: int | None = typer.Option(None, help="Listen here; 9878 otherwise."),
    store: Path | None = typer.Option(None, help="Folder for sequence numbers, journal and log; fix-store otherwise."),
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    config: Config = None,
    metrics_port: int | None = typer.Option(None, help="Serve Prometheus metrics on this port; 0 takes any free one."),
    as_json: Json = False,
) -> None:
    """Accept FIX sessions and publish what they copy until Ctrl-C or SIGTERM; ends with the account of it."""
    if kind != "fix":
        raise ValueError(f"format {kind!r}; expected fix")
    try:
        from producers.fix_acceptor.session import Acceptor
    except ImportError as error:
        raise ValueError(
            f"a FIX session needs QuickFIX, which is not installed ({error}): pip install 'knightwatch[fix]'"
        ) from error
    from knightwatch.config import kafka_options, load
    from producers.fix_acceptor import settings as fix
    from producers.fix_acceptor.intake import KAFKA, Intake
    from producers.publish import Publisher

    where = str(store) if store else None
    made = fix.load(settings, sessions, fix_version, comp_id=comp_id, port=port, store=where)
    loaded = load(config, bootstrap=bootstrap, prefix=prefix)
    kafka = {**kafka_options(loaded), **KAFKA}
    with (
        Publisher(loaded.kafka.bootstrap, prefix=loaded.kafka.prefix, kafka=kafka) as publisher,
        _until_told() as stop,
        Intake(made, publisher) as intake,
    ):
        _talk()
        _serve(metrics_port, intake, publisher)

        def give_up(error: OSError) -> NoReturn:
            intake.close()
            say(intake)
            typer.echo(f"knightwatch: a message could not be kept, the counterpart will resend it: {error}", err=True)
            sys.stdout.flush()
            os._exit(1)

        def say(intake: Intake) -> None:
            typer.echo(json.dumps(account(intake)) if as_json else text_of(account(intake)))

        acceptor = Acceptor(made, intake, give_up)
        for session in made.session:
            key = fix.session_key(session.version, made.name_us(session), session.sender)
            typer.echo(f"port {made.port}: waiting for {key}, router {session.server}", err=True)
        acceptor.run(stop)
        intake.close()
        say(intake)
        if intake.failure is not None:
            raise intake.failure
    if not intake.whole:
        raise OSError(f"Kafka did not take everything; {made.store} keeps it: start again with the same --store")


def account(intake: "Intake") -> dict[str, Any]:
    """What was taken and what was not, as plain JSON."""
    found = intake.findings.document()
    first = [
        {"session": r["file"], "msg_seq_num": r["line"], "reason": r["reason"], "text": r["text"]}
        for r in found.pop("refused_first")
    ]
    found["messages"] = found.pop("lines")
    return {
        "format": "fix",
        "restored": intake.restored,
        **found,
        "by_server": intake.published(),
        "refused_first": first,
    }


def text_of(document: dict[str, Any]) -> str:
    """The account for people."""
    lines = [
        f"{document['events']:,} events of {len(document['by_server'])} routers from {document['messages']:,} messages"
    ]
    if document["restored"]:
        lines.append(f"{document['restored']:,} of them were in the journal from before")
    lines += count_lines(document)
    lines += [
        f"  {r['session']} MsgSeqNum {r['msg_seq_num']}: {r['reason']}: {r['text']}" for r in document["refused_first"]
    ]
    return "\n".join(lines)


def _talk() -> None:
    """Log-ons and the like to stderr. A log never raises, as the callbacks of QuickFIX must not."""
    log = logging.getLogger("producers.fix_acceptor")
    log.setLevel(logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)


def _serve(port: int | None, intake: "Intake", publisher: "Publisher") -> None:
    if port is None:
        return
    from producers.fix_acceptor.metrics import AcceptorCollector
    from producers.metrics import serve

    taken = serve(AcceptorCollector(intake, publisher), port)
    typer.echo(f"metrics at http://127.0.0.1:{taken}/metrics", err=True)


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
