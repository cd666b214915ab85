"""The embedded broker when things go wrong: killed, orphaned, its port or folder taken, told nonsense."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from knightwatch import broker_host
from knightwatch.broker import EmbeddedKafka
from knightwatch.broker_host import BrokerError

real = pytest.mark.kafka


def gone(pid: int, within_s: float = 60.0) -> bool:
    end = time.monotonic() + within_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def values(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=60_000
    )
    try:
        return [next(consumer).value for _ in range(count)]
    finally:
        consumer.close()


@real
def test_killed_and_started_again_it_has_its_port_its_data_and_its_lock(tmp_path: Path) -> None:
    data = tmp_path / "named"
    with EmbeddedKafka(data=data) as kafka:
        bootstrap, port, cluster, pid = kafka.bootstrap, kafka.port, kafka.cluster_id, kafka.pid
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        admin.create_topics([NewTopic("kept", 1, 1)])
        admin.close()
        producer = KafkaProducer(bootstrap_servers=bootstrap)
        producer.send("kept", b"before").get(timeout=60)
        producer.close()

        with pytest.raises(BrokerError, match="in use by another broker"):
            EmbeddedKafka(data=data).start()
        with pytest.raises(BrokerError, match=rf"port {port} cannot be used .*give another"):
            EmbeddedKafka(port=port).start()

        kafka.kill()
        assert pid is not None
        assert gone(pid)
        assert not kafka.running
        kafka.start()
        assert (kafka.bootstrap, kafka.cluster_id) == (bootstrap, cluster)
        assert values(bootstrap, "kept", 1) == [b"before"]
        second = kafka.pid
        assert second not in (None, pid)
    assert second is not None
    assert gone(second)
    with pytest.raises(BrokerError, match=f"belongs to cluster {cluster}; expected another"):
        EmbeddedKafka(data=data, cluster_id="another").start()
    with EmbeddedKafka(data=data) as again:
        assert again.cluster_id == cluster
        assert values(again.bootstrap, "kept", 1) == [b"before"]


@real
def test_a_listener_with_passwords_as_extra_properties() -> None:
    """SCRAM users made at format time, the kind of set-up that later security needs; also proves it on this Java."""
    login = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="in-a-test";'
    extra = {
        "listeners": "SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": "SASL_PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": login,
    }
    client = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "admin",
        "sasl_plain_password": "in-a-test",
    }
    user = ["--add-scram", "SCRAM-SHA-512=[name=admin,password=in-a-test]"]
    with EmbeddedKafka(extra_properties=extra, format_arguments=user, client=client) as kafka:
        admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap, **client)
        assert admin.list_topics() == []
        admin.close()


@real
def test_what_kafka_says_of_a_bad_setting_is_shown_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(BrokerError, match=r"(?s)Kafka could not format.*num\.io\.threads"),
        EmbeddedKafka(extra_properties={"num.io.threads": "many"}),
    ):
        pass
    with (
        pytest.raises(BrokerError, match=r"(?s)Kafka ended at start with exit code.*Unrecognized"),
        EmbeddedKafka(java_options=["-XX:NoSuchFlag"]),
    ):
        pass
    assert not list(tmp_path.iterdir())


ORPHAN = """
import sys, time
from knightwatch.broker import EmbeddedKafka
kafka = EmbeddedKafka()
kafka.start()
print(kafka.pid, kafka.data, flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
"""


@real
@pytest.mark.parametrize("how", ["wait", "forget"])
def test_nobody_closes_it_and_it_goes_all_the_same(how: str, tmp_path: Path) -> None:
    """Its owner is killed, and the next start sweeps the folder; or its owner just ends."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    owner = subprocess.Popen([sys.executable, "-c", ORPHAN, how], env=environment, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid, folder = owner.stdout.readline().split()
    if how == "wait":
        owner.kill()
    assert owner.wait(90) == (-signal.SIGKILL if how == "wait" else 0)
    owner.stdout.close()
    assert gone(int(pid))
    if how == "wait":
        end = time.monotonic() + 60
        swept: list[Path] = []
        while not swept and time.monotonic() < end:  # the lock falls with the last thread
            time.sleep(0.05)
            swept = broker_host.sweep(tmp_path)
        assert swept == [Path(folder)]
    assert not list(tmp_path.iterdir())


@real
def test_the_command_runs_in_the_foreground_and_ends_well_when_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "knightwatch", "broker", "--port", "0", "--data", str(tmp_path / "d"), "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    where = json.loads(running.stdout.readline())
    admin = KafkaAdminClient(bootstrap_servers=where["bootstrap"])
    assert admin.describe_cluster()["cluster_id"] == where["cluster_id"]
    admin.close()
    running.terminate()
    rest, errors = running.communicate(timeout=60)
    assert (running.returncode, rest, errors) == (0, "", "")
    assert gone(where["pid"])
    assert (tmp_path / "d" / "server.log").is_file()


def test_a_port_that_is_none() -> None:
    with pytest.raises(BrokerError, match="port 70000 is not a TCP port"):
        EmbeddedKafka(port=70000)


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BrokerError, match=r"holds thesis\.tex; expected an empty folder"):
        EmbeddedKafka(data=tmp_path).start()
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match="cannot be the data folder"):
        EmbeddedKafka(data=tmp_path / "file").start()


def test_too_little_memory() -> None:
    with pytest.raises(BrokerError, match=r"\d+ MB of memory are free; the broker needs about 100000220 MB"):
        EmbeddedKafka(heap_mb=100_000_000).start()


def test_a_container_s_limit_is_seen(tmp_path: Path) -> None:
    for name, text in (("max", "536870912"), ("current", "268435456"), ("stat", "anon 1\ninactive_file 67108864\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert broker_host.cgroup_free_mb(tmp_path) == 512 - 256 + 64
    (tmp_path / "memory.max").write_text("max\n")
    assert broker_host.cgroup_free_mb(tmp_path) is None
    assert broker_host.cgroup_free_mb(tmp_path / "absent") is None


def test_sweeping_takes_only_what_is_ours_and_abandoned(tmp_path: Path) -> None:
    held, left, making, other = (
        tmp_path / n for n in ("knightwatch-kafka-a", "knightwatch-kafka-b", "knightwatch-kafka-c", "x")
    )
    for folder in (held, left, making, other):
        folder.mkdir()
    (left / broker_host.LOCK).write_text("")
    (left / "log").mkdir()
    (tmp_path / "knightwatch-kafka-link").symlink_to(other)
    lock = broker_host.lock_folder(held)
    assert broker_host.sweep(tmp_path) == [left]
    lock.close()
    assert broker_host.sweep(tmp_path) == [held]
    os.utime(making, (0, 0))
    assert broker_host.sweep(tmp_path) == [making]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["knightwatch-kafka-link", "x"]
