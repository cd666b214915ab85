"""A live run over a real Kafka, with a worker killed in the middle, recorded: parity says equal."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from halts.config import KafkaConfig
from knightwatch.follow import Follower, wait_until
from knightwatch.process import Child
from producers import scenarios
from producers.gateway import LiveGates, LiveRun
from producers.publish import Publisher
from replay.recorded import RecordedLog
from schemas.records import HaltRecord
from streams.admin import create_topics

SERVERS = scenarios.build("power-peg").servers


def command(folder: Path, *words: str) -> Child:
    return Child([sys.executable, "-m", "knightwatch", *words], folder / f"{words[0]}-{time.monotonic_ns()}.log")


@pytest.fixture(scope="module")
def recorded(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[HaltRecord]]]:
    """The recording, and the halts that were seen live."""
    folder = tmp_path_factory.mktemp("live")
    prefix = f"parity{time.monotonic_ns()}-"
    create_topics(KafkaConfig(bootstrap=kafka, prefix=prefix))
    to = ("--bootstrap", kafka, "--prefix", prefix)
    recorder = command(folder, "record", str(folder / "rec"), *to, "--roll-rows", "5000")
    workers = [command(folder, "worker", *to, "--data", str(folder / f"w{i}")) for i in range(2)]
    try:
        with (
            Follower(kafka, prefix) as follower,
            Publisher(kafka, prefix=prefix) as publisher,
            LiveGates(kafka, SERVERS, prefix=prefix) as gates,
        ):
            assert wait_until(lambda: all(g.is_open for g in gates.gates.values()), 120), "gates stay closed"
            scenario = scenarios.build("power-peg", 5, 8, 2, time.time_ns(), incident_s=14)
            run = LiveRun(scenario, publisher, gates)
            routers = threading.Thread(target=run.run, daemon=True)
            routers.start()
            time.sleep(5.0)
            workers[0].kill()  # whichever holds the desk or not, its partitions move
            assert wait_until(lambda: any(r.state == "HALTED" for r in follower.seen.halts), 120), "no halt"
            time.sleep(1.0)
            run.stop()
            routers.join(10)
            time.sleep(2.0)
            halts = list(follower.seen.halts)
        for child in (*workers, recorder):
            child.stop(20.0)
        yield folder / "rec", halts
    finally:
        for child in (*workers, recorder):
            child.stop(5.0)


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "knightwatch", *words], capture_output=True, text=True, timeout=120, check=False
    )


def test_parity_says_equal(recorded: tuple[Path, list[HaltRecord]]) -> None:
    done = cli("parity", str(recorded[0]), "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0, [p for p in document["parts"] if p["difference"]]
    assert document["equal"]
    compared = {part["name"]: part["compared"] for part in document["parts"]}
    assert sum(n for name, n in compared.items() if name.startswith("verdicts of")) > 300
    generations = [name for name in compared if name.startswith("halts of desk generation")]
    assert sum(compared[name] for name in generations) > 30


def test_offline_replay_along_the_timeline_gives_the_live_halts(recorded: tuple[Path, list[HaltRecord]]) -> None:
    path, live = recorded
    done = cli("replay", str(path), "--json")
    found = [msgspec.convert(h, HaltRecord) for h in json.loads(done.stdout)["halts"]]
    expected = {(h.scope, h.state, h.halt_id) for h in live}
    assert {(h.scope, h.state, h.halt_id) for h in found} == expected
    assert cli("replay", str(path), "--json").stdout.split('"halts"')[1] == done.stdout.split('"halts"')[1]


def test_a_changed_verdict_is_shown_with_its_event(recorded: tuple[Path, list[HaltRecord]], tmp_path: Path) -> None:
    """Another configuration is another engine: the first difference names the event."""
    config = tmp_path / "other.toml"
    config.write_text("[stage1]\nlateness_ms_max = 1\n[desk]\nack_timeout_ms = 1\n")
    done = cli("parity", str(recorded[0]), "--json", "--config", str(config))
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert not document["equal"]
    assert any("another configuration" in note for note in document["notes"])
    assert [p["difference"] for p in document["parts"] if p["difference"]]


def test_the_recording_is_whole(recorded: tuple[Path, list[HaltRecord]]) -> None:
    log = RecordedLog(recorded[0])
    assert log.findings.warnings == []
    assert {f.topic for f in log.manifest.files} >= {"orderflow", "nodes", "verdicts", "halts", "acks", "audit"}
    assert len([f for f in log.manifest.files if f.topic == "verdicts"]) >= 1
