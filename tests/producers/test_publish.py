"""Publisher and files: order kept, values packed, nothing half-written."""

from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from halts.config import KafkaConfig
from producers import files, scenarios
from producers.publish import BACKLOG_MAX, Publisher
from replay.open import open_log
from schemas.codec import decode
from schemas.records import encode
from schemas.topics import NODES, ORDERFLOW
from streams.admin import create_topics


def read_all(bootstrap: str, topic: str) -> dict[int, list[tuple[bytes, bytes]]]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    parts = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    ends, out = consumer.end_offsets(parts), {p.partition: [] for p in parts}
    while any(consumer.position(p) < ends[p] for p in parts):
        for part, found in consumer.poll(timeout_ms=500).items():
            out[part.partition] += [(r.key, r.value) for r in found]
    consumer.close()
    return out


@pytest.mark.parametrize(("codec", "single"), [("sbe", False), ("json", False), ("sbe", True)])
def test_each_server_keeps_its_order_on_one_partition(kafka: str, topic_prefix: str, codec: str, single: bool) -> None:
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    scenario = scenarios.build("calm", 3, minutes=0.05)
    sent = []
    with Publisher(kafka, prefix=topic_prefix, codec=codec, one_per_value=single) as publisher:  # type: ignore[arg-type]
        for chunk in scenario.simulate().run():
            publisher.publish(chunk.events)
            sent.append(chunk.events)
            for record in chunk.control:
                publisher.control(record)
        publisher.flush()
        assert (publisher.unsent, publisher.failed, publisher.dropped) == (0, 0, 0)
    events, found = np.concatenate(sent), read_all(kafka, topic_prefix + ORDERFLOW.name)
    values = sum(len(v) for v in found.values())
    assert values == len(events) if single else values < len(events) / 2
    for partition, records in found.items():
        batch = decode("orderflow", partition, [v for _, v in records], list(range(len(records)))).batch
        for server in np.unique(batch.events["server"]):
            mine = events[events["server"] == server]
            assert (batch.events[batch.events["server"] == server] == mine).all()
        assert {k for k, _ in records} == {bytes(s) for s in np.unique(batch.events["server"])}
    nodes = read_all(kafka, topic_prefix + NODES.name)
    assert {k for v in nodes.values() for k, _ in v} == {s.encode() for s in scenario.servers}


@pytest.mark.parametrize("ending", ["ndjson", "ndjson.gz", "parquet"])
def test_files_hold_what_was_simulated(tmp_path: Path, ending: str) -> None:
    scenario, path = scenarios.build("power-peg", 2, minutes=0.25), tmp_path / f"day.{ending}"
    labels = files.write(scenario, path)
    log = open_log(path)
    got = np.concatenate([b.events for source in log.sources() for b in source.batches()])
    want = np.concatenate([chunk.events for chunk in scenario])
    assert len(got) == len(want) == labels.events
    order = np.lexsort((want["seq"], want["server"]))
    assert (np.sort(got, order=["server", "seq"]) == want[order]).all()
    assert (tmp_path / f"day.{ending}.labels.json").exists()
    beside = [f"day.{ending}.nodes.ndjson"] if ending == "parquet" else []
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"day.{ending}", f"day.{ending}.labels.json", *beside]
    said = [record for chunk in scenario for record in chunk.control]
    assert sorted(map(encode, said)) == sorted(encode(node.record) for node in log.nodes())


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(events: int, share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write(scenarios.build("calm", 2, minutes=0.1), tmp_path / "day.ndjson", stop)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"expected \.ndjson"):
        files.write(scenarios.build("calm"), tmp_path / "day.csv")


def test_what_waits_and_what_is_lost_is_known_by_server(kafka: str, topic_prefix: str) -> None:
    """A broker that takes nothing: values wait, then the oldest goes, each counted in events of its server."""
    with Publisher(kafka, prefix=topic_prefix, linger_ms=0) as publisher:
        assert publisher.waiting() == {}
        send = publisher._producer.send
        publisher._producer.send = refuses  # type: ignore[method-assign]
        events = np.concatenate([c.events for c in scenarios.build("calm", 1, 2, minutes=0.05)])
        publisher.publish(events)
        waiting = publisher.waiting()
        assert sum(waiting.values()) == len(events)
        assert set(waiting) == {"R1", "R2"}
        for _ in range(BACKLOG_MAX):  # node records push the order events out
            publisher._put(NODES, b"R1", b"{}")
        assert publisher.waiting() == {"R1": 0}
        assert publisher.errors == {(server, "dropped"): n for server, n in waiting.items()}
        publisher._lost(b"R1", 5, KafkaTimeoutError("gone"))
        assert publisher.errors["R1", "refused"] == 5
        publisher._backlog.clear()
        publisher._producer.send = send  # type: ignore[method-assign]


def refuses(*_: object, **__: object) -> object:
    raise KafkaTimeoutError("buffers are full")


def test_closed_while_the_broker_takes_nothing(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be delivered within the second is given up: no error for the router, no thread that sends on."""
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    publisher = Publisher(kafka, prefix=topic_prefix)

    def away(timeout: float | None = None) -> None:
        raise KafkaTimeoutError("Timeout waiting for future")

    monkeypatch.setattr(publisher._producer, "flush", away)
    publisher.close()
    publisher._producer._sender.join(10.0)
    assert not publisher._producer._sender.is_alive()
