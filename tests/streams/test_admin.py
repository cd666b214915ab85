"""Topics on a real broker: made as the table has them, every difference told, and a broker that is not there."""

import subprocess
import sys
import time

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from halts.config import KafkaConfig
from knightwatch.broker_host import free_ports
from schemas.topics import ALL, HALTS, INTERNAL, ORDERFLOW, partition_count, topic_name
from streams.admin import TopicsError, create_topics, verify_topics

NAMES = [topic.name for topic in (*ALL, *INTERNAL)]


def test_created_once_and_as_they_must_be(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str) -> None:
    config = KafkaConfig(bootstrap=kafka, prefix=topic_prefix, partitions=3)
    assert [d.found for d in verify_topics(config)] == ["missing"] * len(NAMES)
    assert create_topics(config) == [topic_prefix + name for name in NAMES]
    assert create_topics(config) == []
    assert verify_topics(config) == []
    described = kafka_admin.describe_topics([topic_prefix + name for name in NAMES])
    found = {t["name"].removeprefix(topic_prefix): len(t["partitions"]) for t in described}
    assert found == {t.name: partition_count(t, 3) for t in (*ALL, *INTERNAL)}


def test_every_difference_says_found_expected_and_what_to_do(
    kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str
) -> None:
    config = KafkaConfig(bootstrap=kafka, prefix=topic_prefix)
    flow, halts = topic_name(ORDERFLOW, topic_prefix), topic_name(HALTS, topic_prefix)
    wrong = {**ORDERFLOW.config(), "retention.ms": "1000"}
    kafka_admin.create_topics([NewTopic(flow, 2, 1, topic_configs=wrong), NewTopic(halts, 1, 1)])
    with pytest.raises(TopicsError, match=rf"topic {flow}: partitions is 2, expected 8; set kafka\.partitions"):
        create_topics(config)
    found = {(d.topic, d.what): (d.found, d.expected) for d in verify_topics(config)}
    assert found[flow, "partitions"] == ("2", "8")
    assert found[flow, "retention.ms"] == ("1000", "604800000")
    assert found[halts, "cleanup.policy"] == ("delete", "compact")
    assert found[halts, "message.timestamp.type"] == ("CreateTime", "LogAppendTime")
    assert {topic for topic, _ in found} == {flow, halts}, "the others were created in passing"
    remedy = next(str(d) for d in verify_topics(config) if d.what == "retention.ms")
    assert remedy.endswith(f"--entity-name {flow} --add-config retention.ms=604800000")


def test_a_setting_of_the_broker_that_happens_to_be_right_is_no_difference(
    kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str
) -> None:
    """Seven days of retention is Kafka's own default: nobody set it on the topic, and it is right."""
    config = KafkaConfig(bootstrap=kafka, prefix=topic_prefix)
    create_topics(config)
    flow = topic_name(ORDERFLOW, topic_prefix)
    kafka_admin.reset_configs([ConfigResource(ConfigResourceType.TOPIC, flow, {"retention.ms": None})])
    assert verify_topics(config) == []


def test_a_router_whose_clock_is_wrong_is_heard_all_the_same(kafka: str, topic_prefix: str) -> None:
    """By the sender's clock Kafka would refuse what is an hour ahead, and the idempotent producer with it."""
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    now_ms = time.time_ns() // 1_000_000
    producer = KafkaProducer(bootstrap_servers=kafka)
    for hours in (5, -24 * 365 * 14, 0):
        sent = producer.send(topic_name(ORDERFLOW, topic_prefix), b"{}", timestamp_ms=now_ms + hours * 3_600_000)
        assert abs(sent.get(timeout=20).timestamp - now_ms) < 60_000, "the broker's clock is what counts"
    producer.close()


def test_no_broker_there_is_told_in_time() -> None:
    port = free_ports(1)[0]
    begun = time.monotonic()
    with pytest.raises(TopicsError, match=rf"no Kafka at 127\.0\.0\.1:{port} within 2 s .*--bootstrap HOST:PORT"):
        verify_topics(KafkaConfig(bootstrap=f"127.0.0.1:{port}"), timeout_s=2.0)
    assert time.monotonic() - begun < 30


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "knightwatch", "topics", *words], capture_output=True, text=True)


def test_the_command(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str) -> None:
    words = ("--bootstrap", kafka, "--prefix", topic_prefix, "--json")
    done = command(*words, "--partitions", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert msgspec.json.decode(done.stdout)["created"] == [topic_prefix + name for name in NAMES]
    done = command(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "partitions is 2, expected 8" in done.stderr
    done = command("--bootstrap", f"127.0.0.1:{free_ports(1)[0]}", "--timeout-s", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("knightwatch: no Kafka at")
    assert "Traceback" not in done.stderr
