"""A Faust transport on aiokafka that reads many records and hands them over as one message.

Stock Faust pays some 100 us of event loop per record. Here a stream of a batched topic gets a ``RecordBatch`` per
fetch and partition; agents, rebalancing, tables and every other topic stay as Faust has them. Batched topics must be
declared with ``acks=False`` (``batched_topic`` does), because their commits go by ``Consumer.mark_safe`` alone.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import aiokafka
import faust
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import get_logger

from streams import fetch
from streams.batches import BatchSchema, Limits, RecordBatch
from streams.commits import Safe, SafeOffsets
from streams.threads import Answering

logger = get_logger(__name__)

FETCH_WAIT_MS_MAX = 20
"""How long the broker may hold a fetch. While it holds one for an idle partition, no other partition of that broker can
be fetched, so this is the latency it adds when little flows (Faust: 1500). Halving it doubles what an idle worker costs
the broker (10 ms: a fifth of a core)."""


class ConsumerThread(Answering, driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's thread around an aiokafka consumer, with our fetch, our assignor and our commit."""

    async def on_start(self) -> None:
        await super().on_start()
        fetch.check(self._consumer)
        fetch.tune(self._consumer, self.transport.batched.keys())

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        """As Faust's, but always with Faust's assignor: it keeps topics of equal partition count together, which
        aiokafka's round robin, Faust's choice for an app without tables, does not."""
        conf = self.app.conf
        self._assignor = self.app.assignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=transport.fetch_wait_ms_max,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> Mapping[TP, list[Any]]:
        if not self.consumer.flow_active:
            return {}
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        with consumer._fetcher._subscriptions.fetch_context():
            active = self.assignment() if active_partitions is None else active_partitions
            return await fetch.fetch(consumer, active, self.transport.batched, timeout or 0.0)

    def partition_count(self, topic: str) -> int | None:
        """How many partitions the broker says ``topic`` has; None while it has not said."""
        return len(self._ensure_consumer().partitions_for_topic(topic) or ()) or None

    async def commit_safe(self, offsets: Mapping[tuple[str, int], Safe]) -> bool:
        """Commit offsets with their notes. False: the group has moved on, and somebody else reads them again."""
        return bool(await self.call_thread(self._commit_safe, offsets))

    async def _commit_safe(self, offsets: Mapping[tuple[str, int], Safe]) -> bool:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        mine = {
            TopicPartition(*tp): OffsetAndMetadata(safe.offset, safe.note)
            for tp, safe in offsets.items()
            if tp in assigned
        }
        try:
            await consumer.commit(mine)
        except (CommitFailedError, IllegalStateError) as error:
            logger.info("Commit of %s not taken, another worker reads from the one before: %s", mine, error)
            return False
        return len(mine) == len(offsets)

    async def committed_notes(self, tps: Iterable[TP]) -> dict[tuple[str, int], Safe]:
        """Offset and note that the broker holds; partitions without a commit are left out."""
        fetch_offsets = self._ensure_consumer()._coordinator.fetch_committed_offsets
        found = await self.call_thread(fetch_offsets, [TopicPartition(*tp) for tp in tps])
        return {(tp.topic, tp.partition): Safe(at.offset, at.metadata) for tp, at in found.items() if at.offset >= 0}


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer that owns the commits of batched topics."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.safe = SafeOffsets()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def mark_safe(self, tp: tuple[str, int], offset: int, note: str = "") -> None:
        """Everything of ``tp`` before ``offset`` is durable: the next commit may say so."""
        if tp[0] not in self.transport.batched:
            raise ValueError(f"{tp} is not of a batched topic ({', '.join(self.transport.batched)}): Faust commits it")
        if tp in self.assignment():
            self.safe.mark(tp, offset, note)

    def mark_all_safe(self, positions: Mapping[tuple[str, int], int], note: str) -> None:
        """``mark_safe`` for several partitions."""
        for tp, offset in positions.items():
            self.mark_safe(tp, offset, note)

    def partition_count(self, topic: str) -> int | None:
        """As the thread's."""
        found: int | None = self._thread.partition_count(topic)
        return found

    async def committed_notes(self, tps: Iterable[TP]) -> dict[tuple[str, int], Safe]:
        """What the broker holds for these partitions; those without a commit are left out."""
        found: dict[tuple[str, int], Safe] = await self._thread.committed_notes(tps)
        return found

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what is safe of batched topics, then what Faust would of the others."""
        due = self.safe.due(topics)
        taken = bool(due) and await self._thread.commit_safe(due)
        if taken:
            self.safe.confirm(due)
        others = await super().force_commit(topics, start_new_transaction=start_new_transaction)
        return taken or bool(others)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, RecordBatch):
            return super()._to_message(tp, record)
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.end - 1,
            record.records[-1].timestamp / 1000 if record.records else None,
            0,
            None,
            None,
            record,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def on_buffer_full(self, tp: TP) -> None:
        """Faust takes a partition out of the fetch when its stream lags, and sleeps 1 s when none is left. The queue
        of a batched topic is a few batches long; waiting for room in it holds the fetch back well enough."""
        if tp.topic not in self.transport.batched:
            super().on_buffer_full(tp)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        self.safe.forget(revoked)


class Producer(driver.Producer):  # type: ignore[misc]
    """Faust's producer, idempotent: a retry neither doubles nor reorders what a partition holds."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class Transport(driver.Transport):  # type: ignore[misc]
    """``Transport(app.conf.broker_consumer, app, batched={topic: Limits()})``; see ``BatchedApp``."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    Producer: ClassVar[type[Producer]] = Producer

    def __init__(
        self, url: Any, app: Any, *, batched: Mapping[str, Limits], fetch_wait_ms_max: int = FETCH_WAIT_MS_MAX
    ) -> None:
        super().__init__(url, app)
        self.batched = dict(batched)
        self.fetch_wait_ms_max = fetch_wait_ms_max


def batched_topic(app: Any, name: str, *, queue_batches_max: int = 2) -> Any:
    """A Faust topic whose stream yields ``RecordBatch``. The queue holds ``queue_batches_max``: that and one fetch
    per partition is all that can pile up in memory."""
    return faust.Topic(app, topics=[name], schema=BatchSchema(), acks=False, maxsize=queue_batches_max)


class BatchedApp(faust.App):  # type: ignore[misc]
    """A Faust app that reads ``batched`` topics many records at a time. Takes all that ``faust.App`` takes."""

    def __init__(
        self, app_id: str, *, batched: Mapping[str, Limits], fetch_wait_ms_max: int = FETCH_WAIT_MS_MAX, **options: Any
    ) -> None:
        self._batched = dict(batched)
        self._fetch_wait_ms_max = fetch_wait_ms_max
        super().__init__(app_id, **options)

    def _new_transport(self) -> Transport:
        return Transport(
            self.conf.broker_consumer, self, batched=self._batched, fetch_wait_ms_max=self._fetch_wait_ms_max
        )

    _new_producer_transport = _new_transport
