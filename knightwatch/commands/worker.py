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
    loglevel: str = typer.Option("info", help="debug, info, warning or error."),
) -> None:
    """Run one worker until Ctrl-C or SIGTERM. Run as many as there is load: they share the partitions.

    Creates topics that are missing. Waits for the broker as long as it takes.
    """
    import signal

    from streams import worker as runner
    from streams.admin import create_topics
    from streams.engines import desk_factory, stage1_factory
    from streams.settings import Settings

    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def prepare(settings: Settings) -> None:
        create_topics(settings.config.kafka, kafka=settings.kafka)

    loaded = load(config, bootstrap=bootstrap, prefix=prefix)
    settings = Settings(config=loaded, kafka=kafka_options(loaded), metrics_port=metrics_port, data=data)
    code = runner.run(
        settings,
        stage1_factory=stage1_factory(settings.config.stage1),
        desk_factory=desk_factory(settings.config.desk),
        prepare=prepare,
        loglevel=loglevel,
    )
    if code:
        raise typer.Exit(code)
