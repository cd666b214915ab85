"""How fast one process publishes order flow, and what that costs at a low rate.

    python -m benchmarks.publish [--json] [--save] [--events N] [--runs N] [--codec sbe|json]

The flow is made beforehand and handed to ``producers.publish.Publisher`` in calls of 1 to 5,000 events of eight servers
(10 ms of a simulator at 200 thousand/s are 2,000). The clock runs from the first call until the broker has everything.
Each run is counted on the broker: a value lost or doubled fails it. Latency: one event at a time, 100 a second, from the
call to another process's point of view (Kafka's append time, whole ms, corrected for nothing), with and without linger.
"""

import argparse
import random
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from numpy.typing import NDArray

from benchmarks.lab import cluster, flow
from benchmarks.lab.incident import event
from benchmarks.lab.result import Benchmark, BenchmarkError, quantile, say, spread
from producers.publish import LINGER_MS, Codec, Publisher
from schemas.codec import decode
from schemas.events import Kind
from schemas.topics import ORDERFLOW
from schemas.units import MS_NS

CALLS: Final = (1, 20, 200, 2_000, 5_000)
TARGET_PER_S: Final = 200_000
SLOW_EVENTS_MAX: Final = {1: 40_000, 20: 400_000}
LOW_RATE: Final = 100.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--events", type=int, default=800_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--codec", choices=("sbe", "json"), default="sbe")
    parser.add_argument("--low-n", type=int, default=200, help="events for the latency at a low rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bootstrap", default=None, help="a broker as HOST:PORT; otherwise an embedded one")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """``{"events", "codec", "events_per_s", "by_call": {events in a call: …}, "low_rate_ms": {…}}``."""
    events = flow.power_peg(given.events, given.seed)
    found: dict[int, list[dict[str, float]]] = {size: [] for size in CALLS}
    with cluster.broker(given.bootstrap) as bootstrap:
        for i in range(given.runs):
            for size in CALLS:
                part = events[: min(len(events), SLOW_EVENTS_MAX.get(size, len(events)))]
                found[size].append(_one(bootstrap, part, size, given.codec))
                say(f"  run {i + 1}, {size:,} events a call: {found[size][-1]['events_per_s']:,.0f} events/s")
        low = {f"linger_{ms:g}_ms": _low(bootstrap, ms, given.low_n, given.codec) for ms in (0.0, LINGER_MS)}
    by_call = {str(size): _summary(runs) for size, runs in found.items()}
    return {
        "events": given.events,
        "codec": given.codec,
        "events_per_s": by_call["2000"]["events_per_s"]["median"],
        "by_call": by_call,
        "low_rate_ms": low,
        "target_per_s": TARGET_PER_S,
        "settings": {
            "linger_ms": LINGER_MS,
            "low_rate": LOW_RATE,
            "compression": "lz4",
            "acks": "all",
            "idempotent": True,
        },
    }


def _summary(runs: list[dict[str, float]]) -> dict[str, Any]:
    rates = spread([run["events_per_s"] for run in runs])
    return {
        "events_per_s": {name: round(rate) for name, rate in rates.items()},
        "cpu_us_per_event": round(spread([run["cpu_us_per_event"] for run in runs])["median"], 2),
        "events_per_value": round(spread([run["events_per_value"] for run in runs])["median"], 1),
    }


def _one(bootstrap: str, events: NDArray[Any], size: int, codec: Codec) -> dict[str, float]:
    prefix = cluster.fresh(f"publish-{uuid.uuid4().hex[:8]}-")
    topic = cluster.make_topics(bootstrap, prefix)
    with Publisher(bootstrap, prefix=prefix, codec=codec) as publisher:
        began, began_cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(events), size):
            publisher.publish(events[start : start + size])
        publisher.flush(120)
        took, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        values, lost = publisher.values, publisher.failed + publisher.dropped
    there = _values(bootstrap, topic)
    if lost or there != values:
        raise BenchmarkError(f"{there:,} values are on the broker, {values:,} were sent and {lost} lost: no figure")
    return {
        "events_per_s": len(events) / took,
        "cpu_us_per_event": cpu / len(events) * 1e6,
        "events_per_value": len(events) / values,
    }


def _values(bootstrap: str, topic: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        parts = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        return int(sum(consumer.end_offsets(parts).values()))
    finally:
        consumer.close()


def _low(bootstrap: str, linger_ms: float, n: int, codec: Codec) -> dict[str, float]:
    """From the call to Kafka's append time, at 100 events a second at random moments."""
    prefix = cluster.fresh(f"low-{uuid.uuid4().hex[:8]}-")
    topic = cluster.make_topics(bootstrap, prefix)
    called: list[int] = []
    rng = random.Random(5)
    with Publisher(bootstrap, prefix=prefix, codec=codec, linger_ms=linger_ms) as publisher:
        for seq in range(n):
            time.sleep(rng.expovariate(LOW_RATE))
            called.append(time.time_ns())
            publisher.publish(event("R1", seq + 1, Kind.order, called[-1], cl_ord_id=f"C{seq}", qty=1))
        publisher.flush()
    part = TopicPartition(topic, cluster.partition_of(b"R1"))
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    took: list[float] = []
    try:
        consumer.assign([part])
        consumer.seek_to_beginning(part)
        while len(took) < n:
            for record in consumer.poll(timeout_ms=5_000).get(part) or _nothing(topic, len(took), n):
                for seq in decode(ORDERFLOW.name, part.partition, [record.value], [record.offset]).batch.events["seq"]:
                    took.append(record.timestamp - called[int(seq) - 1] / MS_NS)
    finally:
        consumer.close()
    return {"p50_ms": round(quantile(took, 0.5), 2), "p99_ms": round(quantile(took, 0.99), 2)}


def _nothing(topic: str, got: int, n: int) -> list[Any]:
    raise BenchmarkError(f"{topic} holds {got} of {n} events")


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    lines = [f"{found['codec']}: events a call, events/s (median, min, max), CPU us an event, events a value"]
    for size, row in found["by_call"].items():
        rate = row["events_per_s"]
        lines.append(
            f"{int(size):7,} {rate['median']:12,} {rate['min']:12,} {rate['max']:12,} {row['cpu_us_per_event']:8.2f} "
            f"{row['events_per_value']:8.1f}"
        )
    for name, row in found["low_rate_ms"].items():
        lines.append(
            f"100 events/s, {name.replace('_', ' ')}: on Kafka after p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms"
        )
    kept = found["events_per_s"] >= found["target_per_s"]
    lines.append(f"target {found['target_per_s']:,} events/s (2,000 a call): {'reached' if kept else 'MISSED'}")
    return lines


BENCHMARK: Final = Benchmark(
    "publish", "Events a second that one process publishes.", arguments, measure, table,
    lambda given: "publish" if given.codec == "sbe" else f"publish-{given.codec}",
)  # fmt: skip

if __name__ == "__main__":
    BENCHMARK.main()
