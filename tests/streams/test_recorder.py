"""The recorder on a real broker: what went in comes out again, after kills too."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from knightwatch.follow import wait_until
from replay.log import LogError
from replay.recorded import RecordedLog
from schemas.codec import encode_json, encode_sbe
from schemas.events import concat
from schemas.recording import MANIFEST
from schemas.topics import ALL, ORDERFLOW, partition_count, topic_name
from streams.recorder import Recorder, RecorderSettings
from streams.recorder_files import RecorderError
from tests.replay.conftest import event_dicts, node_dict

Orders = Callable[..., Any]


@pytest.fixture
def prefix(kafka: str, kafka_admin: KafkaAdminClient, topic_prefix: str) -> str:
    """With the sender's time stamps, so that a test can tell that they come back."""
    configs = {t: {**t.config(), "message.timestamp.type": "CreateTime"} for t in ALL}
    kafka_admin.create_topics(
        [NewTopic(topic_name(t, topic_prefix), partition_count(t, 2), 1, topic_configs=configs[t]) for t in ALL]
    )
    return topic_prefix


@pytest.fixture
def producer(kafka: str) -> Any:
    made = KafkaProducer(bootstrap_servers=kafka, acks="all")
    yield made
    made.close()


def send(producer: Any, topic: str, values: list[bytes | None], partition: int = 0, **more: Any) -> None:
    for future in [producer.send(topic, value=v, key=b"R1", partition=partition, **more) for v in values]:
        future.get(60)


def record(kafka: str, prefix: str, directory: Path, **more: Any) -> Any:
    settings = RecorderSettings(directory, kafka, prefix, build="b", config_sha256="c", **more)
    return Recorder(settings).run(lambda: False, until_idle_s=0.5)


@pytest.fixture
def orders_of() -> Orders:
    from schemas.codec import from_dicts

    return lambda n, seed=7: from_dicts(event_dicts(n, 1, seed))


def read(log: RecordedLog) -> dict[int, Any]:
    return {source.partition: concat(list(source.batches(50))) for source in log.sources()}


def test_everything_comes_back(kafka: str, prefix: str, producer: Any, orders_of: Orders, tmp_path: Path) -> None:
    events = orders_of(40)
    flow = topic_name(ORDERFLOW, prefix)
    values: list[bytes | None] = [
        encode_sbe(events[:3]),
        encode_sbe(events[3:4]),
        encode_json(events[4:7]),
        b"{oops",
        None,
    ]
    half_bad = json.loads(encode_json(events[7:10]))
    half_bad[1]["qty"] = -1
    values += [json.dumps(half_bad).encode(), encode_sbe(events[10:40]) + b"\x01"]
    send(producer, flow, values, headers=[("trace", b"\x00\xff")], timestamp_ms=1_343_827_800_123)
    send(producer, flow, [encode_sbe(events[20:21])], partition=1)
    send(producer, prefix + "nodes", [json.dumps(node_dict("R1", 5 + events["ts"][0].item())).encode()])
    send(producer, prefix + "verdicts", [b'{"a":1}', None])
    totals = record(kafka, prefix, tmp_path / "rec")
    assert (totals.records, totals.orderflow_records) == (11, 8)

    log = RecordedLog(tmp_path / "rec")
    assert log.findings.warnings == []
    batches = read(log)
    assert batches[1].events == events[20:21]
    assert (batches[0].events[:9] == events[[0, 1, 2, 3, 4, 5, 6, 7, 9]]).all()
    assert batches[0].offsets[:9].tolist() == [0, 0, 0, 1, 2, 2, 2, 5, 5]
    assert batches[0].items[:9].tolist() == [0, 1, 2, 0, 0, 1, 2, 0, 2]
    messages = [m for m in log.messages() if m.topic == "orderflow" and m.partition == 0]
    assert [m.value for m in messages] == values
    assert {(m.key, m.headers, m.timestamp_ms) for m in messages} == {
        (b"R1", (("trace", b"\x00\xff"),), 1_343_827_800_123)
    }
    assert [(r.offset, r.value) for r in log.records("verdicts")] == [(0, b'{"a":1}'), (1, None)]
    assert [n.record.server for n in log.nodes()] == ["R1"]
    assert sum(log.findings.refused.values()) >= 4


def test_resumes_where_it_ended(kafka: str, prefix: str, producer: Any, orders_of: Orders, tmp_path: Path) -> None:
    events = orders_of(30)
    flow = topic_name(ORDERFLOW, prefix)
    send(producer, flow, [encode_sbe(events[i : i + 1]) for i in range(20)])
    record(kafka, prefix, tmp_path, roll_rows=5)
    # what a kill between renaming and entering leaves behind
    (tmp_path / "orderflow" / "0-00000000000000000020.parquet").write_bytes(b"x")
    (tmp_path / "orderflow" / "0-00000000000000000020.parquet.tmp").write_bytes(b"x")
    send(producer, flow, [encode_sbe(events[i : i + 1]) for i in range(20, 30)])
    assert record(kafka, prefix, tmp_path).records == 10
    log = RecordedLog(tmp_path)
    assert log.findings.warnings == []
    assert len(log.manifest.sessions) == 2
    assert all(s.ended_ns > s.started_ns for s in log.manifest.sessions)
    (batch,) = read(log).values()
    assert (batch.events == events).all()
    assert batch.offsets.tolist() == list(range(30))


def test_killed_in_the_middle(kafka: str, prefix: str, producer: Any, orders_of: Orders, tmp_path: Path) -> None:
    """-9 while it writes: the next start reads on from the last finished file, and nothing is lost or doubled."""
    events = orders_of(4_000)
    flow = topic_name(ORDERFLOW, prefix)
    script = f"""
        from pathlib import Path
        from streams.recorder import Recorder, RecorderSettings
        Recorder(RecorderSettings(Path({str(tmp_path)!r}), {kafka!r}, {prefix!r}, roll_rows=400)).run(lambda: False)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])

    def finished() -> int:
        assert child.poll() is None, "the recorder ended by itself"
        return len(list(tmp_path.glob("orderflow/*.parquet")))

    try:
        # how long it takes to start is the machine's business: its first manifest is the sign of life
        assert wait_until(lambda: finished() >= 0 and (tmp_path / MANIFEST).exists(), 60)
        sent = 0
        while finished() < 2 and sent < len(events):
            send(producer, flow, [encode_sbe(events[i : i + 1]) for i in range(sent, sent + 100)])
            sent += 100
        assert wait_until(lambda: finished() >= 2, 60)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    RecordedLog(tmp_path)  # valid as it stands
    record(kafka, prefix, tmp_path)
    (batch,) = read(RecordedLog(tmp_path)).values()
    assert batch.offsets.tolist() == list(range(sent))
    assert (batch.events == events[:sent]).all()


def test_dropped_by_the_broker_is_a_noted_gap(
    kafka: str, kafka_admin: KafkaAdminClient, prefix: str, producer: Any, orders_of: Orders, tmp_path: Path
) -> None:
    from kafka import TopicPartition

    events = orders_of(10)
    flow = topic_name(ORDERFLOW, prefix)
    send(producer, flow, [encode_sbe(events[i : i + 1]) for i in range(4)])
    record(kafka, prefix, tmp_path)
    send(producer, flow, [encode_sbe(events[i : i + 1]) for i in range(4, 10)])
    kafka_admin.delete_records({TopicPartition(flow, 0): 7})
    record(kafka, prefix, tmp_path)
    log = RecordedLog(tmp_path)
    assert [(g.first_offset, g.last_offset) for g in log.manifest.gaps] == [(4, 6)]
    assert any("offsets 4 to 6 missing" in warning for warning in log.findings.warnings)
    assert next(iter(read(log).values())).offsets.tolist() == [0, 1, 2, 3, 7, 8, 9]


def test_two_recorders_do_not_share_a_directory(kafka: str, prefix: str, tmp_path: Path) -> None:
    first = Recorder(RecorderSettings(tmp_path, kafka, prefix))
    with pytest.raises(RecorderError, match="another recorder writes here"):
        Recorder(RecorderSettings(tmp_path, kafka, prefix))
    first.run(lambda: True)


def test_refuses_what_is_not_its_directory(kafka: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(RecorderError, match=r"holds 'photo.jpg' but no manifest.json"):
        Recorder(RecorderSettings(tmp_path, kafka, prefix))


def test_no_topics(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.recorder.PARTITIONS_WAIT_S", 0.0)
    with pytest.raises(RecorderError, match=r"no topic nowhere-orderflow, .*knightwatch topics"):
        Recorder(RecorderSettings(tmp_path, kafka, "nowhere-"))


def test_no_broker(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match=r"127\.0\.0\.1:1: no Kafka broker answers"):
        Recorder(RecorderSettings(tmp_path, "127.0.0.1:1"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("missing", "named in manifest.json but missing"),
        ("cut", "manifest.json says"),
        ("changed", "SHA-256 is"),
        ("manifest", "Record anew"),
        ("format", "format is 'other', expected 'knightwatch-recording/1'"),
        ("overlap", "One of the two is not of this recording"),
    ],
)
def test_harmed_recordings_are_named(
    kafka: str, prefix: str, producer: Any, orders_of: Orders, tmp_path: Path, harm: str, message: str
) -> None:
    send(producer, topic_name(ORDERFLOW, prefix), [encode_sbe(orders_of(5))])
    record(kafka, prefix, tmp_path)
    (path,) = tmp_path.glob("orderflow/*.parquet")
    manifest = msgspec.json.decode((tmp_path / MANIFEST).read_bytes())
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(data[:-9])
    elif harm == "changed":
        path.write_bytes(data[:99] + bytes([data[99] ^ 1]) + data[100:])
    elif harm == "manifest":
        (tmp_path / MANIFEST).write_bytes(b"{")
    elif harm == "format":
        (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(manifest | {"format": "other"}))
    else:
        manifest["files"].append(manifest["files"][0])
        (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(LogError, match=message):
        RecordedLog(tmp_path)
