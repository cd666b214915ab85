"""Stage 1 alone: events a second on one core, and where the time goes.

    python -m benchmarks.engine [--json] [--save] [--events N] [--seed N] [--rounds N]

Order flow of the power-peg scenario (healthy fleet, then a stale router), engine only, no Kafka, no decoding. Each
detector's cost is what the fastest run is faster without it, in the same process, in turn (A B A B ...). The rate is
the median.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.lab.result import Benchmark
from detectors import server
from detectors.bank import Stage1
from detectors.catalog import CATALOG
from detectors.config import Stage1Config
from producers import scenarios
from schemas.events import EVENT, Batch, batch_of
from schemas.topics import ORDERFLOW

CONFIG = Stage1Config()


def flow(events: int, seed: int) -> list[Batch]:
    """One batch a server, as its partition would hold it."""
    parts: list[NDArray[Any]] = []
    n = 0
    for chunk in scenarios.build("power-peg", seed):
        parts.append(chunk.events)
        n += len(chunk.events)
        if n >= events:
            break
    whole = np.concatenate(parts, dtype=EVENT)[:events]  # numpy drops the padding of a dtype unless told
    return [batch_of(whole[whole["server"] == name]) for name in np.unique(whole["server"])]


def run(batches: list[Batch], size: int) -> float:
    """Seconds of CPU for all batches, cut into pieces of ``size``."""
    engines = [Stage1(CONFIG, ORDERFLOW.name, i) for i in range(len(batches))]
    begun = time.process_time()
    for engine, batch in zip(engines, batches, strict=True):
        for start in range(0, len(batch), size):
            engine.step(batch[start : start + size])
    return time.process_time() - begun


def without() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Each detector's name, and the catalogue without it."""
    for i, make in enumerate(CATALOG):
        yield make(CONFIG).name, CATALOG[:i] + CATALOG[i + 1 :]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The document of design section 11."""
    batches = flow(given.events, given.seed)
    n = sum(len(b) for b in batches)
    cases: dict[str, tuple[Any, ...]] = {"": CATALOG, **dict(without())}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(given.rounds):
        for name, catalog in cases.items():
            server.CATALOG = catalog  # type: ignore[attr-defined]
            seconds[name].append(run(batches, 8_192))
    server.CATALOG = CATALOG  # type: ignore[attr-defined]
    all_full = seconds.pop("")
    full, least = statistics.median(all_full), min(all_full)
    by_size = {size: round(min(run(batches, size) for _ in range(2)) / n * 1e9) for size in (16, 64, 256, 1_024, 8_192)}
    return {
        "events": n,
        "events_per_s": round(n / full),
        "ns_per_event": round(full / n * 1e9),
        "by_detector_ns": {name: round((least - min(s)) / n * 1e9) for name, s in seconds.items()},
        "ns_per_event_by_batch": by_size,
        "rounds": given.rounds,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    lines = [f"{found['events']:,} events: {found['events_per_s']:,} a second, {found['ns_per_event']} ns an event"]
    lines += [f"  {name:14} {ns:5} ns" for name, ns in found["by_detector_ns"].items()]
    for size, ns in found["ns_per_event_by_batch"].items():
        lines.append(f"  batches of {size:5} {ns:6} ns an event, {ns * int(size) / 1000:8.0f} us a batch")
    return lines


BENCHMARK: Final = Benchmark("engine", "Stage 1 alone: events a second on one core.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
