"""What an event costs stage 1, early and late in a day, in a short log and in a long one.

    python -m benchmarks.linearity [--json] [--save] [--events N] [--parts N] [--rounds N]

Engine only, calm flow (the same kind of work throughout), one engine a server. The log is cut into parts of equal length:
the cost of each part says whether history makes events dearer; the whole at 1/4, 1/2 and 1/1 of its length says whether
the cost grows faster than the log. CPU time, the least of several rounds (the rest is noise from elsewhere).
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from benchmarks.lab import flow
from benchmarks.lab.result import Benchmark, BenchmarkError
from detectors.bank import Stage1
from detectors.config import Stage1Config
from schemas.events import Batch, batch_of
from schemas.topics import ORDERFLOW

BATCH: Final = 4_096
INTENSITY: Final = 20.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--events", type=int, default=1_600_000)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """``{"events", "ns_per_event_by_part", "ns_per_event_by_length", "growth"}``; growth: last part over the median of
    the parts, 1.0 when history costs nothing."""
    if given.events < given.parts * 100:
        raise BenchmarkError(f"{given.events} events in {given.parts} parts; expected at least 100 in each")
    events = flow.calm(given.events, given.seed, intensity=INTENSITY)
    batches = [batch_of(events[events["server"] == name]) for name in np.unique(events["server"])]
    _parts([batch[: max(1, len(batch) // given.parts)] for batch in batches], 1)  # compiles
    rounds = np.array([_parts(batches, given.parts) for _ in range(given.rounds)])
    each = rounds.min(axis=0) * given.parts / given.events * 1e9
    lengths = {}
    for share in (4, 2, 1):
        short = [batch[: len(batch) // share] for batch in batches]
        n = sum(map(len, short))
        lengths[n] = round(min(_parts(short, 1)[0] for _ in range(given.rounds)) / n * 1e9, 1)
    return {
        "events": given.events,
        "ns_per_event_by_part": [round(float(ns), 1) for ns in each],
        "ns_per_event_by_length": lengths,
        "growth": round(float(each[-1] / np.median(each)), 3),
        "settings": {"batch": BATCH, "scenario": "calm", "intensity": INTENSITY},
    }


def _parts(batches: list[Batch], parts: int) -> list[float]:
    """CPU seconds of each part, all servers together."""
    engines = [Stage1(Stage1Config(), ORDERFLOW.name, i) for i in range(len(batches))]
    took: list[float] = []
    for part in range(parts):
        began = time.process_time()
        for engine, batch in zip(engines, batches, strict=True):
            start, end = (len(batch) * k // parts for k in (part, part + 1))
            for at in range(start, end, BATCH):
                engine.step(batch[at : min(at + BATCH, end)])
        took.append(time.process_time() - began)
    return took


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    parts = found["ns_per_event_by_part"]
    lines = [f"{found['events']:,} events, cost of one in each of {len(parts)} parts of the log (ns):"]
    lines += ["  " + "  ".join(f"{ns:,.0f}" for ns in parts), f"last part over the median: {found['growth']:g}"]
    lines += [
        f"whole log of {int(n):>10,} events: {ns:,.0f} ns each" for n, ns in found["ns_per_event_by_length"].items()
    ]
    return lines


BENCHMARK: Final = Benchmark("linearity", "Cost against length of the log.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
