"""The Faust application of one worker. Nothing happens at import: ``build_app`` puts it together."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import faust
from aiokafka.errors import KafkaError
from mode import get_logger

from schemas.topics import ACKS, COMMANDS, DECLARED, NODES, ORDERFLOW, VERDICTS
from streams import agents
from streams.desk import DeskFactory, DeskHolder
from streams.metrics import Meter
from streams.nodes import KINDS, Forwarder
from streams.outbox import Outbox
from streams.settings import Settings
from streams.stage1 import Stage1Factory, Stage1Partitions
from streams.transport import BatchedApp, batched_topic
from streams.watching import Watcher

logger = get_logger(__name__)

INPUTS: Final = (ORDERFLOW, NODES, DECLARED, VERDICTS, ACKS, COMMANDS)
"""What a worker reads, all of it in batches."""
TEND_S: Final = 0.25


def build_app(
    settings: Settings,
    *,
    stage1_factory: Stage1Factory | None = None,
    desk_factory: DeskFactory | None = None,
    meter: Meter | None = None,
) -> BatchedApp:
    """The app, ready for ``app.Worker(...)``. The factories default to the real engines with ``settings.config``."""
    app = _app(settings)
    meter = meter or Meter()
    if stage1_factory is None or desk_factory is None:
        from streams import engines  # not needed, and slow to import, when both are given

        stage1_factory = stage1_factory or engines.stage1_factory(settings.config.stage1)
        desk_factory = desk_factory or engines.desk_factory(settings.config.desk)
    stage1 = Stage1Partitions(app, settings, stage1_factory, meter)
    desk = DeskHolder(app, settings, desk_factory, meter)
    forwarders = {
        kind.topic.name: Forwarder(
            kind, Outbox(app, settings.prefix), lambda tp, at: app.consumer.mark_safe(tp, at), meter
        )
        for kind in KINDS
    }
    topics = {topic.name: batched_topic(app, settings.topic(topic)) for topic in INPUTS}
    agents.declare(app, topics, stage1, desk, forwarders)
    _connect(app, settings, stage1, desk, forwarders, meter)
    return app


def _app(settings: Settings) -> BatchedApp:
    batched = {settings.topic(topic): settings.other_limits for topic in INPUTS}
    batched[settings.topic(ORDERFLOW)] = settings.flow_limits
    return BatchedApp(
        settings.group,
        batched=batched,
        fetch_wait_ms_max=settings.fetch_wait_ms_max,
        broker=[f"kafka://{address}" for address in settings.bootstrap.split(",")],
        broker_credentials=_credentials(settings.kafka),
        datadir=str(settings.folder),
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        stream_wait_empty=False,
        worker_redirect_stdouts=False,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        broker_rebalance_timeout=3 * settings.session_timeout_s,
        broker_request_timeout=10 * settings.session_timeout_s,
        producer_linger=0,
        producer_max_batch_size=256 * 1024,
        producer_max_request_size=4 * 1024 * 1024,
        table_standby_replicas=0,
    )


def _credentials(kafka: Mapping[str, Any]) -> Any:
    """Client options in Faust's words; None when Kafka asks for nothing."""
    context = kafka.get("ssl_context")
    if "sasl_mechanism" in kafka:
        user, password = kafka["sasl_plain_username"], kafka["sasl_plain_password"]
        mechanism = kafka["sasl_mechanism"]
        return faust.SASLCredentials(username=user, password=password, mechanism=mechanism, ssl_context=context)
    return None if context is None else faust.SSLCredentials(context)


def _connect(
    app: BatchedApp, settings: Settings, stage1: Stage1Partitions, desk: DeskHolder, forwarders: Any, meter: Meter
) -> None:
    """Hook assignment, revocation and shutdown to the engines."""

    async def assigned(_: Any, assigned: Any, **__: Any) -> None:
        stage1.assigned(assigned)
        desk.assigned(assigned)

    async def give_away(*_: Any, **__: Any) -> None:
        work = asyncio.gather(stage1.revoked(), desk.revoked(), *(f.idle() for f in forwarders.values()))
        try:
            await asyncio.wait_for(work, settings.session_timeout_s * 0.8)
            await app.consumer.force_commit()
        except (TimeoutError, KafkaError) as error:
            logger.warning("States could not be stored in time (%r): they will be made again from the log.", error)

    def ends() -> dict[int, int]:
        mine = [tp for tp, _ in stage1.positions() if tp in app.consumer.assignment()]
        return {tp[1]: high for tp in mine if (high := app.consumer.highwater(tp)) is not None}

    def positions() -> dict[int, int]:
        return {tp[1]: at for tp, at in stage1.positions()}

    flow = settings.topic(ORDERFLOW)
    watcher = Watcher(Outbox(app, settings.prefix), positions, ends, lambda: app.consumer.partition_count(flow))

    async def tend() -> None:
        await watcher.tell()
        await stage1.tend()
        await desk.tend()
        reached = positions()
        for partition, high in ends().items():
            meter.lag(ORDERFLOW.name, partition, max(0, high - reached[partition]))

    app.timer(TEND_S)(tend)
    app.on_partitions_assigned.connect(assigned, weak=False)
    app.on_partitions_revoked.connect(give_away, weak=False)
    app.on_before_shutdown.connect(give_away, weak=False)
