"""A file into a real Kafka: the coordinates and bytes that a plain producer makes, and the spacing of the day."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from replay.feed import feed
from replay.ndjson import NdjsonLog
from replay.recorded import RecordedLog
from schemas.events import concat
from schemas.topics import ALL, ORDERFLOW, partition_count, topic_name
from streams.recorder import Recorder, RecorderSettings
from tests.replay.conftest import T0, declared_dict, event_dicts, node_dict
from tests.replay.test_ndjson import read, write


def topics(admin: KafkaAdminClient, prefix: str) -> str:
    admin.create_topics([NewTopic(topic_name(t, prefix), partition_count(t), 1) for t in ALL])
    return prefix


def everything(kafka: str, prefix: str, name: str) -> list[tuple[int, int, Any, Any]]:
    """(partition, offset, key, value) of a topic."""
    with KafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        places = [TopicPartition(prefix + name, p) for p in consumer.partitions_for_topic(prefix + name) or ()]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        consumer.seek_to_beginning(*places)
        found: list[tuple[int, int, Any, Any]] = []
        deadline = time.monotonic() + 20
        while len(found) < sum(ends.values()) and time.monotonic() < deadline:
            for records in consumer.poll(200).values():
                found += [(r.partition, r.offset, r.key, r.value) for r in records]
    return sorted(found)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    nodes = [declared_dict("R0", T0), node_dict("R1", T0)]
    return write(tmp_path / "log.ndjson", [*nodes, *event_dicts(300, servers=6)])


def test_as_a_plain_producer_would(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str, path: Path) -> None:
    ours, plain = topics(kafka_admin, topic_prefix), topics(kafka_admin, topic_prefix + "plain-")
    sent: list[int] = []
    assert feed(NdjsonLog(path), kafka, ours, progress=sent.append) == 302
    assert sum(sent) == 302
    producer = KafkaProducer(bootstrap_servers=kafka)
    for line in path.read_bytes().splitlines():
        record = json.loads(line)
        topic = "orderflow" if "kind" in record else "declared" if "release" in record else "nodes"
        producer.send(plain + topic, value=line, key=record["server"].encode())
    producer.close()
    for topic in ("orderflow", "nodes", "declared"):
        assert everything(kafka, ours, topic) == everything(kafka, plain, topic)


def test_file_and_recorded_topic_have_the_same_coordinates(
    kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str, path: Path, tmp_path: Path
) -> None:
    prefix = topics(kafka_admin, topic_prefix)
    feed(NdjsonLog(path), kafka, prefix)
    Recorder(RecorderSettings(tmp_path / "rec", kafka, prefix)).run(lambda: False, until_idle_s=0.3)
    recorded = RecordedLog(tmp_path / "rec")
    batches = {source.partition: concat(list(source.batches())) for source in recorded.sources()}
    expected = read(NdjsonLog(path))
    assert batches.keys() == expected.keys()
    for partition, batch in batches.items():
        assert (batch.events == expected[partition].events).all()
        assert (batch.offsets == expected[partition].offsets).all()
    again = topics(kafka_admin, topic_prefix + "again-")
    feed(recorded, kafka, again)
    assert everything(kafka, again, ORDERFLOW.name) == everything(kafka, prefix, ORDERFLOW.name)


def test_spacing(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str, tmp_path: Path) -> None:
    prefix = topics(kafka_admin, topic_prefix)
    dicts = event_dicts(3, servers=1)
    for event, at_s in zip(dicts, (0, 4, 10), strict=True):
        event["ts"] = T0 + at_s * 10**9
    begun = time.monotonic()
    feed(NdjsonLog(write(tmp_path / "a.ndjson", dicts)), kafka, prefix, speed=10)
    assert 1.0 <= time.monotonic() - begun < 6.0
    with pytest.raises(ValueError, match="speed -1"):
        feed(NdjsonLog(tmp_path / "a.ndjson"), kafka, prefix, speed=-1)
