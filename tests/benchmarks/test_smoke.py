"""Each benchmark runs, small, and prints the document that it promises. Nothing here looks at how fast it was.

Peers that need a download are run only when they are cached already.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.peers import kafka_streams_side, quix_side

SMOKE = {
    "engine": (("--events", "20000", "--rounds", "1"), {"events", "events_per_s", "by_detector_ns"}),
    "gate": ((), {"n", "ns_per_decision_open", "ns_per_decision_halted"}),
    "linearity": (
        ("--events", "20000", "--rounds", "1"),
        {"ns_per_event_by_part", "ns_per_event_by_length", "growth"},
    ),
    "knight_day": (
        ("--minutes", "0.2", "--rounds", "1"),
        {"events", "bytes", "digest", "rounds", "best", "median", "replay_by_read"},
    ),
    "quality": (
        ("--seeds", "1", "--scenarios", "one-lot-burst", "calm", "--minutes", "0.2", "--processes", "1"),
        {"incidents", "benign", "router_days", "false_halts", "calm"},
    ),
    "bursts": (("--seeds", "1", "--kinds", "server", "--processes", "1"), {"runs", "false_halts"}),
    "calm": (
        ("--fresh", "--router-days", "0.01", "--minutes", "0.5", "--processes", "1"),
        {"runs", "router_days", "false_halts", "false_halts_per_router_day_95"},
    ),
}
ON_KAFKA = {
    "publish": (("--events", "4000", "--runs", "1", "--low-n", "20"), {"events_per_s", "by_call", "low_rate_ms"}),
    "memory": (
        ("--orders", "2000", "--minutes", "0.05", "--rate", "400"),
        {"orders", "rss_mb_live", "rss_mb_end", "slope_mb_per_hour"},
    ),
    "latency": (
        ("--rate", "200", "--n", "2", "--low-n", "0", "--warm", "1"),
        {"rate", "n", "p50_ms", "p99_ms", "max_ms", "stages", "samples_ms"},
    ),
}


def run(name: str, *arguments: str) -> dict[str, Any]:
    """The document of one benchmark, which must end well."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", sorted(SMOKE))
def test_it_runs_and_prints_its_document(name: str) -> None:
    arguments, keys = SMOKE[name]
    assert keys <= run(name, *arguments).keys()


@pytest.mark.parametrize("name", sorted(ON_KAFKA))
def test_it_runs_on_a_real_kafka(name: str, kafka: str) -> None:
    arguments, keys = ON_KAFKA[name]
    found = run(name, "--bootstrap", kafka, *arguments)
    assert keys <= found.keys()
    assert {"machine", "commit", "settings"} <= found.keys()
    if name == "latency":
        assert found["missed"] == 0
        assert found["stages"]["halt_on_kafka"]["p50_ms"] <= found["p50_ms"] + 1  # the gate hears of it afterwards


def test_throughput_beside_the_peers(kafka: str) -> None:
    """Ours, stock Faust and a bare loop. Sums are checked inside."""
    _throughput(kafka, "faust", "floor_aiokafka")


@pytest.mark.java
def test_throughput_beside_kafka_streams(kafka: str) -> None:
    if not kafka_streams_side.cached():
        pytest.skip("the jars of Kafka Streams are not cached; python -m benchmarks.throughput downloads them")
    _throughput(kafka, "kafka_streams")


def test_throughput_beside_quix(kafka: str) -> None:
    if not quix_side.cached():
        pytest.skip("Quix Streams is not installed; python -m benchmarks.throughput installs it")
    _throughput(kafka, "quix")


def _throughput(kafka: str, *peers: str) -> None:
    arguments = ("--bootstrap", kafka, "--events", "80000", "--runs", "1", "--peers", ",".join(peers))
    found = run("throughput", *arguments, "--faust-events", "2000", "--quix-events", "2000")
    assert {"events", "codec", "ours", "peers", "ratio"} <= found.keys()
    assert found["missing"] == {}
    assert all(found["peers"][name] > 0 for name in peers)


def test_a_peer_that_is_not_known_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks.throughput", "--peers", "flink"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no peer flink; expected some of kafka_streams" in done.stderr
