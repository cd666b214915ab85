"""The embedded broker does what a Kafka does, through both clients, and topics of a test stay its own."""

import asyncio

import aiokafka
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError


def test_a_record_goes_through(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str) -> None:
    topic = topic_prefix + "roundtrip"
    kafka_admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    producer = KafkaProducer(bootstrap_servers=kafka)
    offsets = [producer.send(topic, key=b"R1", value=b"%d" % i, partition=1).get(timeout=60).offset for i in range(3)]
    producer.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        group_id=topic_prefix + "g",
        auto_offset_reset="earliest",
        consumer_timeout_ms=60_000,
    )
    values = [next(consumer).value for _ in range(3)]
    consumer.close()
    assert offsets == [0, 1, 2]
    assert values == [b"0", b"1", b"2"]


def test_aiokafka_and_a_consumer_group(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str) -> None:
    topic = topic_prefix + "async"
    kafka_admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])

    async def through() -> list[bytes]:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True) as producer:
            for i in range(100):
                await producer.send(topic, b"%d" % i)
        group = topic_prefix + "g"
        async with aiokafka.AIOKafkaConsumer(
            topic, bootstrap_servers=kafka, group_id=group, auto_offset_reset="earliest"
        ) as consumer:
            return [(await asyncio.wait_for(consumer.getone(), 60)).value or b"" for _ in range(100)]

    assert asyncio.run(through()) == [b"%d" % i for i in range(100)]


def test_a_misspelt_topic_is_not_made_by_using_it(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka, max_block_ms=1500)
    with pytest.raises(KafkaError):
        producer.send(topic_prefix + "mistake", b"x").get(timeout=30)
    producer.close()
    assert topic_prefix + "mistake" not in kafka_admin.list_topics()
