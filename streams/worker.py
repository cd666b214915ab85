"""Running one worker in the foreground."""

import asyncio
import faulthandler
import importlib.util
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import mode.loop
from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError

from halts.gate_security import refusal_hint
from schemas import collector
from streams.app import build_app
from streams.desk import DeskFactory
from streams.metrics import Meter
from streams.settings import Settings
from streams.stage1 import Stage1Factory

logger = logging.getLogger(__name__)

STOP_S_MAX: Final = 30.0
"""For storing states and leaving the group: both have their own limits well below it."""
EXIT_OVERDUE: Final = 70
"""Exit code of a worker that did not stop by itself (EX_SOFTWARE)."""
SWITCH_S: Final = 0.0005
"""After how long a thread that wants to run Python gets to (Python: 5 ms). The thread that fetches and the one that
scores wait for each other several times on the way to a halt: at 10 thousand events a second it is 8 ms sooner."""
RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
"""Waits between attempts to reach the broker; the last one is repeated."""


def run(
    settings: Settings,
    *,
    stage1_factory: Stage1Factory | None = None,
    desk_factory: DeskFactory | None = None,
    prepare: Callable[[Settings], None] | None = None,
    loglevel: str = "info",
) -> int:
    """Run one worker until SIGTERM, Ctrl-C or a failure; returns the exit code (0: asked to stop).

    Waits for the broker as long as it takes. ``prepare`` is called when it answers (to create the topics).
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    _log_to_stderr(loglevel)
    mode.loop.use("uvloop" if importlib.util.find_spec("uvloop") else "aio")
    try:
        wait_for_broker(settings.bootstrap, kafka=settings.kafka)
    except KeyboardInterrupt:
        return 0
    if prepare is not None:
        prepare(settings)
    meter = Meter(config=settings.config)
    if settings.metrics_port is not None:
        logger.info("metrics at http://127.0.0.1:%s/metrics", meter.serve(settings.metrics_port))
    app = build_app(settings, stage1_factory=stage1_factory, desk_factory=desk_factory, meter=meter)
    app.finalize()
    worker = app.Worker(loglevel=loglevel, quiet=True, override_logging=False)
    worker.on_worker_shutdown = must_end
    collector.calm()
    sys.setswitchinterval(SWITCH_S)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    raise AssertionError("a Faust worker ends by SystemExit")


def must_end(within_s: float = STOP_S_MAX, leave: Callable[[int], Any] = os._exit) -> None:
    """The process ends within this time, whatever stopping waits for. A worker that hangs is worse than one that is dead:
    nobody starts another."""

    def overdue() -> None:
        logger.critical(
            "The worker has not stopped within %g s: ending the process. What was not stored is made again from the log.",
            within_s,
        )
        faulthandler.dump_traceback()
        leave(EXIT_OVERDUE)

    timer = threading.Timer(within_s, overdue)
    timer.daemon = True
    timer.start()


class Calm(logging.Filter):
    """Lets one message of a kind through every ``quiet_s``. aiokafka says 2,000 times a second no broker is there."""

    def __init__(self, quiet_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._quiet_s = quiet_s
        self._clock = clock
        self._next: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let it through. A kind is a place in the code: the text before anything is filled in."""
        if not record.name.startswith(("aiokafka", "faust", "mode")) or record.exc_info:
            return True
        kind, now = (record.name, str(record.msg)), self._clock()
        if now < self._next.get(kind, 0.0):
            return False
        self._next[kind] = now + self._quiet_s
        return True


def _log_to_stderr(loglevel: str) -> None:
    logging.basicConfig(level=loglevel.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(Calm())
    if loglevel.lower() != "debug":
        for chatty in ("faust", "mode", "aiokafka", "kafka"):
            logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def wait_for_broker(
    bootstrap: str, say: Callable[[str], None] = logger.warning, kafka: Mapping[str, Any] | None = None
) -> None:
    """Return when a broker answers; says every time that none did, and when it tries again."""
    attempt = 0
    while True:
        problem = asyncio.run(_problem(bootstrap, kafka or {}))
        if problem is None:
            return
        wait_s = RETRY_S[min(attempt, len(RETRY_S) - 1)]
        attempt += 1
        say(
            f"no Kafka at {bootstrap} ({problem}): trying again in {wait_s:g} s. `knightwatch broker` starts one;"
            f" --bootstrap HOST:PORT names another; {refusal_hint(kafka)}."
        )
        time.sleep(wait_s)


async def _problem(bootstrap: str, kafka: Mapping[str, Any]) -> str | None:
    """Why no broker can be reached, None when one answers."""
    quiet = logging.getLogger("aiokafka")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=5000, **kafka)
    try:
        await client.bootstrap()
    except (KafkaError, OSError) as error:
        return str(error) or type(error).__name__
    finally:
        await client.close()
        quiet.setLevel(level)
    return None
