"""The broker of a benchmark, and topics filled before the clock starts."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import UnknownTopicOrPartitionError
from numpy.typing import NDArray

from benchmarks.lab.result import BenchmarkError, say
from halts.config import KafkaConfig
from knightwatch.broker import EmbeddedKafka
from knightwatch.broker_host import BrokerError
from knightwatch.jars import JarError
from schemas.codec import encode_json_each, encode_sbe_each
from schemas.topics import ALL, INTERNAL, ORDERFLOW, PARTITIONS_DEFAULT, topic_name
from streams.admin import create_topics

BATCH_BYTES: Final = 65_536
"""Size of a producer's batch in a filled topic (Kafka's default is 16 KB, our publisher's is 256 KB)."""
_PART: Final = 50_000
_WAITING_MAX: Final = 64


@contextmanager
def broker(bootstrap: str | None) -> Iterator[str]:
    """``host:port`` of the broker named, or of an embedded one that lives as long as the block. From one that was named
    the topics of this process (see ``fresh``) are deleted at the end."""
    if bootstrap:
        try:
            yield bootstrap
        finally:
            _delete(bootstrap, fresh(""))
        return
    try:
        with EmbeddedKafka(heap_mb=512) as kafka:
            yield kafka.bootstrap
    except (BrokerError, JarError) as error:
        raise BenchmarkError(f"no broker: {error}") from error


def fresh(name: str) -> str:
    """A prefix for topics that no other process' topics have."""
    return f"bench{os.getpid()}-{name}"


def appended(bootstrap: str, topic: str) -> Iterator[Any]:
    """Every record on partition 0 of a topic, up to its present end; the timestamps are the broker's."""
    part = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level="read_committed")
    try:
        consumer.assign([part])
        end = consumer.end_offsets([part])[part]
        consumer.seek_to_beginning(part)
        while consumer.position(part) < end:
            for records in consumer.poll(timeout_ms=500).values():
                yield from records
    finally:
        consumer.close()


def _delete(bootstrap: str, prefix: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.delete_topics([name for name in admin.list_topics() if name.startswith(prefix)])
    finally:
        admin.close()


def make_topics(bootstrap: str, prefix: str) -> str:
    """All topics of a worker under ``prefix``; the name of its order flow."""
    create_topics(KafkaConfig(bootstrap=bootstrap, prefix=prefix))
    return topic_name(ORDERFLOW, prefix)


def make_plain_topic(bootstrap: str, name: str, partitions: int = PARTITIONS_DEFAULT) -> None:
    """A topic for a peer, with the same settings as order flow."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=ORDERFLOW.config())])
    finally:
        admin.close()


def forget_run(bootstrap: str, prefix: str) -> None:
    """Delete what a worker wrote, and make it anew, so that the next one starts from nothing. The order flow stays."""
    names = {topic_name(topic, prefix) for topic in (*ALL, *INTERNAL) if topic is not ORDERFLOW}
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.delete_topics(sorted(names & set(admin.list_topics())))
    except UnknownTopicOrPartitionError:
        pass
    finally:
        admin.close()
    create_topics(KafkaConfig(bootstrap=bootstrap, prefix=prefix))


def partition_of(server: bytes, partitions: int = PARTITIONS_DEFAULT) -> int:
    """As Kafka's default partitioner places the key."""
    return int((murmur2(server) & 0x7FFFFFFF) % partitions)


def fill(bootstrap: str, topic: str, events: NDArray[Any], codec: str, batch_bytes: int = BATCH_BYTES) -> None:
    """Put one event per record on ``topic``, keyed by server, in order; lz4, batches of ``batch_bytes``."""
    say(f"filling {topic} with {len(events):,} events ({codec}, one each record) ...")
    asyncio.run(_fill(bootstrap, topic, events, codec, batch_bytes))


async def _fill(bootstrap: str, topic: str, events: NDArray[Any], codec: str, batch_bytes: int) -> None:
    encode = encode_sbe_each if codec == "sbe" else encode_json_each
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, compression_type="lz4", max_batch_size=batch_bytes
    )
    await producer.start()
    try:
        places = {bytes(name): partition_of(bytes(name)) for name in set(events["server"].tolist())}
        open_batches: dict[int, Any] = {}
        waiting: list[Any] = []
        for start in range(0, len(events), _PART):
            part = events[start : start + _PART]
            for key, value in zip(part["server"].tolist(), encode(part), strict=True):
                place = places[key]
                batch = open_batches.get(place)
                if batch is None or batch.append(key=key, value=value, timestamp=None) is None:
                    if batch is not None:
                        batch.close()
                        waiting.append(await producer.send_batch(batch, topic, partition=place))
                    batch = open_batches[place] = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
                if len(waiting) >= _WAITING_MAX:
                    await asyncio.gather(*waiting)
                    waiting.clear()
        for place, batch in open_batches.items():
            batch.close()
            waiting.append(await producer.send_batch(batch, topic, partition=place))
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
