"""One run of one side: what it did, checked against the oracle before its time counts."""

import json
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from kafka import KafkaConsumer, TopicPartition
from numpy.typing import NDArray

from benchmarks.lab import flow
from benchmarks.lab.cluster import appended, forget_run
from benchmarks.lab.result import BenchmarkError, say
from benchmarks.lab.watch import Watched, Worker, until
from benchmarks.peers.side import Side, Work
from schemas.records import Breach, FeatureRow, decode_verdict
from schemas.topics import VERDICTS, topic_name

SIDE_S_MAX: Final = 300.0
READY_S_MAX: Final = 240.0
POLL_S: Final = 0.25
POLL_NEAR_S: Final = 0.03


@dataclass(frozen=True)
class Run:
    """What one run of a side took. verdicts: breaches by detector (ours only)."""

    events: int
    seconds: float
    cpu_s: float
    peak_rss_mb: float
    verdicts: Mapping[str, int] | None = None

    @property
    def per_s(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        return self.cpu_s / self.events * 1e6


@dataclass(frozen=True)
class Filled:
    """A topic and what is on it. ``prefix``: of a topic that a worker can read."""

    topic: str
    prefix: str
    codec: str
    events: NDArray[Any]


def peer_run(side: Side, bootstrap: str, filled: Filled) -> Run:
    """Start the side, wait for its document, compare its sums. BenchmarkError when it fails or is wrong."""
    with tempfile.TemporaryDirectory(prefix="knightwatch-peer-") as temporary:
        folder = Path(temporary)
        out, run = folder / "out.json", f"{side.name.replace('_', '-')}-{uuid.uuid4().hex[:8]}"
        work = Work(bootstrap, filled.topic, len(filled.events), filled.codec, run, folder, out)
        with Watched(side.command(work), folder / "log") as child:
            code = child.wait(SIDE_S_MAX)
            if code != 0 or not out.is_file():
                what = f"was not done within {SIDE_S_MAX:g} s" if code is None else f"ended with exit code {code}"
                raise BenchmarkError(f"{side.name} {what}. It said:\n{child.tail()}")
            found, peak = json.loads(out.read_text(encoding="utf-8")), child.peak_rss_mb
    _check(side, found, filled.events)
    return Run(found["events"], found["seconds"], found["cpu_s"], peak)


def _check(side: Side, found: Mapping[str, Any], events: NDArray[Any]) -> None:
    if side.floor:
        names = events["server"].tolist()
        expected: Any = {name.decode(): names.count(name) for name in set(names)}
        got: Any = found["counts"]
    else:
        expected = flow.windowed(events)
        got = {server: {int(at): n for at, n in windows.items()} for server, windows in found["sums"].items()}
    if got != expected:
        wrong = sorted(name for name in expected.keys() | got.keys() if got.get(name) != expected.get(name))
        raise BenchmarkError(f"{side.name} counted wrong for {', '.join(wrong)}: its time does not count")


def our_run(bootstrap: str, filled: Filled, workers: int = 1) -> Run:
    """A real worker (or several) over the topic, from nothing.

    The clock runs from the first look at ``/metrics`` that finds events processed (before the request was sent) to the
    first that finds all of them (after its answer came); what had been processed at the first look does not count.
    """
    forget_run(bootstrap, filled.prefix)
    config = f'[kafka]\napp_id = "bench-{uuid.uuid4().hex[:8]}"\n'
    expected = len(filled.events)
    with tempfile.TemporaryDirectory(prefix="knightwatch-bench-") as temporary:
        started = [Worker(bootstrap, filled.prefix, Path(temporary), f"worker{i}", config) for i in range(workers)]
        try:
            run = _timed(started, expected)
            _settle(bootstrap, filled)
        finally:
            for worker in started:
                worker.close()
    verdicts = _check_rows(bootstrap, filled)
    return Run(run.events, run.seconds, run.cpu_s, run.peak_rss_mb, verdicts)


def _timed(workers: Sequence[Worker], expected: int) -> Run:
    looked = time.perf_counter()
    done: list[int] = []

    def all_at_work() -> bool:
        nonlocal looked, done
        looked = time.perf_counter()
        done = [worker.processed() for worker in workers]
        return all(done)

    until(all_at_work, READY_S_MAX, POLL_NEAR_S, "event processed", *workers)
    began, before, cpu = looked, sum(done), sum(worker.cpu_s() for worker in workers)
    end = time.monotonic() + SIDE_S_MAX
    while True:
        now = sum(worker.processed() for worker in workers)
        took = time.perf_counter() - began
        if now >= expected:
            break
        for worker in workers:
            worker.check()
        if time.monotonic() > end:
            raise BenchmarkError(f"{now:,} of {expected:,} events after {SIDE_S_MAX:g} s. {workers[0].tail()}")
        left_s = (expected - now) * took / max(now - before, 1)
        time.sleep(POLL_NEAR_S if left_s < 2 * POLL_S else POLL_S)
    used = sum(worker.cpu_s() for worker in workers) - cpu
    if expected - before < expected // 2:
        say(f"only {expected - before:,} of {expected:,} events were left when the clock started: take more events")
    if before >= expected:
        raise BenchmarkError("everything was done at the first look; take more events (--events)")
    return Run(expected - before, took, used, sum(worker.peak_rss_mb for worker in workers))


def _verdicts(bootstrap: str, prefix: str) -> list[FeatureRow | Breach]:
    found: list[FeatureRow | Breach] = []
    for record in appended(bootstrap, topic_name(VERDICTS, prefix)):
        try:
            verdict = decode_verdict(record.value)
        except msgspec.DecodeError:
            continue  # a control record of ours, as ticks
        if isinstance(verdict, FeatureRow | Breach):
            found.append(verdict)
    return found


def _totals(verdicts: Sequence[FeatureRow | Breach], names: Sequence[str]) -> dict[str, dict[str, int]]:
    out: dict[str, dict[str, int]] = {}
    seen: set[tuple[str, int, int, int]] = set()
    for row in verdicts:
        if isinstance(row, FeatureRow):
            key = (row.server, row.ts, row.source.offset, row.source.item)
            if key not in seen:  # a rebalance may say a row again
                seen.add(key)
                mine = out.setdefault(row.server, dict.fromkeys(names, 0))
                for name in names:
                    mine[name] += round(row.values.get(name, 0))
    return out


def _settle(bootstrap: str, filled: Filled, timeout_s: float = 30.0) -> None:
    """Wait until the last rows stand on ``verdicts``: they are sent after the step that was counted."""
    end = time.monotonic() + timeout_s
    part = TopicPartition(topic_name(VERDICTS, filled.prefix), 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    last, since = -1, time.monotonic()
    try:
        while time.monotonic() < end and time.monotonic() - since < 1.5:
            now = consumer.end_offsets([part])[part]
            if now > last + 50:  # ticks go on for ever
                last, since = now, time.monotonic()
            time.sleep(0.2)
    finally:
        consumer.close()


def _check_rows(bootstrap: str, filled: Filled) -> dict[str, int]:
    """Feature rows must add up, per server and kind, to what numpy counts; returns breaches by detector."""
    expected = flow.counted(filled.events)
    verdicts = _verdicts(bootstrap, filled.prefix)
    got = _totals(verdicts, list(next(iter(expected.values()))))
    for server, values in expected.items():
        if got.get(server) != values:
            raise BenchmarkError(
                f"our rows of {server} add up to {got.get(server)}; expected {values}: our time does not count"
            )
    breaches = [v.detector for v in verdicts if isinstance(v, Breach)]
    return {name: breaches.count(name) for name in sorted(set(breaches))}
