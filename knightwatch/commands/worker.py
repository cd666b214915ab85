"""``knightwatch worker``: one Faust worker in the foreground."""

from pathlib import Path

import typer

from knightwatch.commands.options import Bootstrap, Config, Prefix
from knightwatch.config import kafka_options, load


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

    from knightwatch import private_key
    from knightwatch.approved import must_be_approved
    from streams import worker as runner
    from streams.admin import create_topics
    from streams.engines import desk_factory, stage1_factory
    from streams.halts_log import read_halts
    from streams.settings import Settings

    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def prepare(settings: Settings) -> None:
        create_topics(settings.config.kafka, kafka=settings.kafka)
        must_be_approved(
            settings.config, asyncio.run(read_halts(settings.bootstrap, settings.prefix, **settings.kafka))
        )

    loaded = load(config, bootstrap=bootstrap, prefix=prefix)
    settings = Settings(config=loaded, kafka=kafka_options(loaded), metrics_port=metrics_port, data=data)
    code = runner.run(
        settings,
        stage1_factory=stage1_factory(settings.config.stage1),
        desk_factory=desk_factory(settings.config.desk, private_key.desk_key(desk_key)),
        prepare=prepare,
        loglevel=loglevel,
    )
    if code:
        raise typer.Exit(code)
