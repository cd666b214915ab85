"""``knightwatch worker``: one Faust worker in the foreground."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from knightwatch.commands.options import Bootstrap, Config, Prefix
from knightwatch.config import kafka_options, load

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from halts.config import Config as Loaded


def register(app: typer.Typer) -> None:
    """Add ``worker``."""
    app.command("worker")(worker)


def worker(
    bootstrap: Bootstrap = None,
    config: Config = None,
    prefix: Prefix = None,
    metrics_port: int | None = typer.Option(None, help="Serve Prometheus metrics on this port; 0 takes any free one."),
    data: Path | None = typer.Option(None, help="Folder for Faust's own files."),
    desk_key: Path | None = typer.Option(
        None, help="Private key (PEM) with which the desk signs halts; else KNIGHTWATCH_DESK_KEY_FILE. None: unsigned."
    ),
    loglevel: str = typer.Option("info", help="debug, info, warning or error."),
) -> None:
    """Run one worker until Ctrl-C or SIGTERM. Run as many as there is load: they share the partitions.

    Creates topics that are missing. Waits for the broker as long as it takes.
    """
    import asyncio
    import signal

    from detectors.warm import warm
    from knightwatch import private_key
    from knightwatch.approved import must_be_approved
    from streams import worker as runner
    from streams.admin import create_topics
    from streams.engines import desk_factory, stage1_factory
    from streams.halts_log import read_halts
    from streams.memory import give_back_large_blocks
    from streams.settings import Settings

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    give_back_large_blocks()

    loaded = load(config, bootstrap=bootstrap, prefix=prefix)
    key = believed(private_key.desk_key(desk_key), loaded)
    factory = desk_factory(loaded.desk, key, loaded.gate.desk_keys)

    def prepare(settings: Settings) -> None:
        warm()  # before the first event, not in mid-session: loading takes a second, compiling anew most of a minute
        create_topics(settings.config.kafka, kafka=settings.kafka)
        standing = read_halts(settings.bootstrap, settings.prefix, factory.trust, **settings.kafka)
        must_be_approved(settings.config, asyncio.run(standing))

    settings = Settings(config=loaded, kafka=kafka_options(loaded), metrics_port=metrics_port, data=data)
    code = runner.run(
        settings,
        stage1_factory=stage1_factory(settings.config.stage1),
        desk_factory=factory,
        prepare=prepare,
        loglevel=loglevel,
    )
    if code:
        raise typer.Exit(code)


def believed(key: "Ed25519PrivateKey | None", config: "Loaded") -> "Ed25519PrivateKey | None":
    """``key``, if gates with this configuration believe what it signs; ValueError otherwise: they would stay closed."""
    from halts.signing import public_text

    known = config.gate.desk_keys
    if not known or (key is not None and public_text(key.public_key()) in known):
        return key
    found = f"a desk key whose public part is {public_text(key.public_key())}" if key is not None else "no desk key"
    raise ValueError(
        f"gate.desk_keys: found {found}, expected one of the {len(known)} listed there, or every gate stays closed; "
        "give --desk-key or KNIGHTWATCH_DESK_KEY_FILE, or add the key to gate.desk_keys"
    )
