"""Company for events: many share a value where the rate is high, nothing waits where it is low, order is kept."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition
from numpy.typing import NDArray

from halts.config import KafkaConfig
from producers.publish import Publisher, by_server
from schemas.codec import decode
from schemas.events import Kind, Side, empty_events
from schemas.topics import ORDERFLOW
from streams.admin import create_topics


def orders(servers: list[str], first_seq: int) -> NDArray[Any]:
    """One order of each server in the list, numbered from ``first_seq`` on."""
    events = empty_events(len(servers))
    events["kind"], events["side"], events["qty"], events["symbol"] = Kind.order, Side.B, 100, b"ACME"
    events["server"] = [name.encode() for name in servers]
    events["seq"] = np.arange(first_seq, first_seq + len(servers))
    events["ts"] = time.time_ns()
    events["cl_ord_id"] = [f"c{first_seq + i}".encode() for i in range(len(servers))]
    return events


def read(bootstrap: str, topic: str, n: int, timeout_s: float = 60.0) -> list[NDArray[Any]]:
    """The events of each value until ``n`` have come, in the order of each partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    parts = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    values: list[NDArray[Any]] = []
    end = time.monotonic() + timeout_s
    while sum(map(len, values)) < n and time.monotonic() < end:
        for found in consumer.poll(timeout_ms=200).values():
            values += [decode("orderflow", 0, [r.value], [r.offset]).batch.events for r in found]
    consumer.close()
    return values


@pytest.fixture
def topic(kafka: str, topic_prefix: str) -> str:
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    return topic_prefix + ORDERFLOW.name


def test_at_a_high_rate_events_share_values_and_keep_their_order(kafka: str, topic_prefix: str, topic: str) -> None:
    servers = ["R1", "R2", "R3"]
    with Publisher(kafka, prefix=topic_prefix, linger_ms=200) as publisher:
        for call in range(300):
            publisher.publish(orders(servers, call * 3))
        publisher.flush()
        assert (publisher.events, publisher.unsent, publisher.failed, publisher.dropped) == (900, 0, 0, 0)
        assert publisher.values < 300
    values = read(kafka, topic, 900)
    assert len(values) == publisher.values
    for server in servers:
        seqs = np.concatenate([v["seq"] for v in values if v["server"][0] == server.encode()])
        assert seqs.tolist() == list(range(servers.index(server), 900, 3))


def test_beyond_the_allowance_events_wait_and_go_without_a_further_call(
    kafka: str, topic_prefix: str, topic: str
) -> None:
    with Publisher(kafka, prefix=topic_prefix, linger_ms=2_000, at_once_per_s=1) as publisher:
        publisher.publish(orders(["R1"], 0))
        assert publisher.values == 1  # within the allowance
        publisher.publish(orders(["R1"], 1))
        publisher.publish(orders(["R1"], 2))
        assert publisher.values == 1
        values = read(kafka, topic, 3)
        assert [v["seq"].tolist() for v in values] == [[0], [1, 2]]


def test_a_low_rate_waits_for_nothing(kafka: str, topic_prefix: str, topic: str) -> None:
    with Publisher(kafka, prefix=topic_prefix, linger_ms=60_000) as publisher:
        for i in range(20):
            publisher.publish(orders(["R1"], i))
            assert publisher.values == i + 1


def test_no_linger_and_one_per_value_send_with_the_call(kafka: str, topic_prefix: str, topic: str) -> None:
    with Publisher(kafka, prefix=topic_prefix, linger_ms=0) as publisher:
        for i in range(5):
            publisher.publish(orders(["R1", "R1"], 2 * i))
            assert publisher.values == i + 1
    with Publisher(kafka, prefix=topic_prefix, one_per_value=True) as publisher:
        publisher.publish(orders(["R1", "R1"], 10))
        publisher.publish(orders(["R1", "R1"], 12))
        assert publisher.values == 4


def test_closing_sends_what_waits(kafka: str, topic_prefix: str, topic: str) -> None:
    with Publisher(kafka, prefix=topic_prefix, linger_ms=60_000, at_once_per_s=1e-3) as publisher:
        for i in range(4):
            publisher.publish(orders(["R1"], i))
        assert publisher.values == 1
    assert [v["seq"].tolist() for v in read(kafka, topic, 4)] == [[0], [1, 2, 3]]


@given(st.lists(st.sampled_from(["R1", "R2", "R10", "S"]), min_size=1, max_size=40))
def test_by_server_parts_without_loss_and_keeps_each_order(servers: list[str]) -> None:
    events = orders(servers, 0)
    parts = by_server(events)
    assert {name for name, _ in parts} == {s.encode() for s in servers}
    assert len(parts) == len(set(servers))
    for name, mine in parts:
        assert (mine == events[events["server"] == name]).all()
