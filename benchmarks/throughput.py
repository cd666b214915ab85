"""Events a second from a real Kafka, beside the peers: our worker with every detector on, they with one windowed sum.

    python -m benchmarks.throughput [--json] [--save] [--codec sbe|json] [--events N] [--runs N] [--peers A,B] [--workers 2]

One event per record, one topic of 8 partitions, filled beforehand, one broker. Each side in its own process, one run of
each in turn (A B A B ...), medians. A side's sums must be those that numpy finds before its time counts.

The clock. Peers: their own, from the first record taken to the last one counted. Ours: from outside, by ``/metrics``
(events that stage 1 has taken in), from the first look that finds some to the first that finds all; looks are 30 ms
apart near both ends and each is taken at its worse side, so that ours is never too good. CPU is that of the process over
the same span; memory is the most that was resident.
"""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from benchmarks.lab import cluster, flow
from benchmarks.lab.result import Benchmark, BenchmarkError, say, spread
from benchmarks.lab.versus import Filled, Run, our_run, peer_run
from benchmarks.peers.faust_side import FaustSide
from benchmarks.peers.floor_side import FloorSide
from benchmarks.peers.kafka_streams_side import KafkaStreamsSide
from benchmarks.peers.quix_side import QuixSide
from benchmarks.peers.side import Missing, Prepared, Side
from schemas.topics import PARTITIONS_DEFAULT

SIDES: Final[dict[str, Side]] = {
    side.name: side
    for side in (
        KafkaStreamsSide(), QuixSide(), FaustSide(), FloorSide("aiokafka"), FloorSide("kafka-python", 300_000),
    )
}  # fmt: skip
TARGETS: Final[dict[str, dict[str, float]]] = {
    "sbe": {"kafka_streams": 1.5, "quix": 8, "faust": 25},
    "json": {"kafka_streams": 1.0},
}
OURS: Final = "ours"
OURS_TWO: Final = "ours_2_workers"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--codec", choices=("sbe", "json"), default="sbe")
    parser.add_argument("--events", type=int, default=2_000_000, help="records on the topic")
    parser.add_argument("--runs", type=int, default=3, help="runs of each side, interleaved")
    parser.add_argument("--peers", default=",".join(SIDES), help=f"of {', '.join(SIDES)}; empty: none")
    for name, side in SIDES.items():
        if side.prefix_max is not None:
            option = f"--{name.replace('_', '-')}-events"
            parser.add_argument(
                option, type=int, default=side.prefix_max, help=f"so many of the first events for {name}"
            )
    parser.add_argument("--workers", type=int, default=1, help="2: our side is also run with two workers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bootstrap", default=None, help="a broker as HOST:PORT; otherwise an embedded one")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The document of design section 11, and how it came about."""
    names = [name for name in given.peers.split(",") if name]
    unknown = sorted(set(names) - set(SIDES))
    if unknown:
        raise BenchmarkError(f"no peer {', '.join(unknown)}; expected some of {', '.join(SIDES)}")
    ready, missing = _prepared(names)
    with ExitStack() as stack:
        bootstrap = stack.enter_context(cluster.broker(given.bootstrap))
        topics = _filled(bootstrap, given, ready)
        runs: dict[str, list[Run]] = {}
        turn = [OURS, *ready, *([OURS_TWO] if given.workers == 2 else [])]
        for i in range(given.runs):
            for name in turn:
                if name in missing:
                    continue
                try:
                    run = _run(name, bootstrap, topics[name])
                except BenchmarkError as error:
                    if name in (OURS, OURS_TWO):
                        raise
                    missing[name] = str(error)
                    say(f"  {name}: {error}")
                    continue
                runs.setdefault(name, []).append(run)
                say(f"  run {i + 1}, {name}: {run.per_s:,.0f} events/s, {run.cpu_s_per_million:.2f} CPU s a million")
    return _document(given, runs, ready, missing, topics)


def _prepared(names: Sequence[str]) -> tuple[dict[str, Prepared], dict[str, str]]:
    ready: dict[str, Prepared] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            ready[name] = SIDES[name].prepare()
        except Missing as error:
            missing[name] = str(error)
            say(f"{name} is left out: {error}")
    return ready, missing


def _filled(bootstrap: str, given: argparse.Namespace, ready: Mapping[str, Prepared]) -> dict[str, Filled]:
    """The topic for everybody, and shorter ones with its first events for those that are slow."""
    events = flow.power_peg(given.events, given.seed)
    prefix = cluster.fresh("flow-")
    topic = cluster.make_topics(bootstrap, prefix)
    cluster.fill(bootstrap, topic, events, given.codec)
    whole = Filled(topic, prefix, given.codec, events)
    short: dict[int, Filled] = {}
    found = {OURS: whole, OURS_TWO: whole}
    for name in ready:
        most = getattr(given, f"{name}_events", None)
        if most is None or most >= len(events):
            found[name] = whole
            continue
        if most not in short:
            first = cluster.fresh(f"first-{most}")
            cluster.make_plain_topic(bootstrap, first)
            cluster.fill(bootstrap, first, events[:most], given.codec)
            short[most] = Filled(first, "", given.codec, events[:most])
        found[name] = short[most]
    return found


def _run(name: str, bootstrap: str, filled: Filled) -> Run:
    if name in (OURS, OURS_TWO):
        return our_run(bootstrap, filled, 1 if name == OURS else 2)
    return peer_run(SIDES[name], bootstrap, filled)


def _summary(runs: Sequence[Run]) -> dict[str, Any]:
    per_s = spread([run.per_s for run in runs])
    return {
        "events": runs[0].events,
        "events_per_s": {name: round(value) for name, value in per_s.items()},
        "cpu_s_per_million": round(spread([run.cpu_s_per_million for run in runs])["median"], 3),
        "peak_rss_mb": round(max(run.peak_rss_mb for run in runs), 1),
        "runs_events_per_s": [round(run.per_s) for run in runs],
    }


def _document(
    given: argparse.Namespace, runs: Mapping[str, Sequence[Run]], ready: Mapping[str, Prepared],
    missing: Mapping[str, str], topics: Mapping[str, Filled],
) -> dict[str, Any]:  # fmt: skip
    sides = {name: _summary(of) for name, of in runs.items()}
    ours = sides[OURS]["events_per_s"]["median"]
    peers = {name: sides[name]["events_per_s"]["median"] if name in sides else None for name in (*ready, *missing)}
    return {
        "events": given.events,
        "codec": given.codec,
        "ours": ours,
        "peers": peers,
        "ratio": {name: round(ours / rate, 2) if rate else None for name, rate in peers.items()},
        "targets": TARGETS[given.codec],
        "scaling": {"1": ours, "2": sides[OURS_TWO]["events_per_s"]["median"]} if OURS_TWO in sides else None,
        "sides": {name: {**found, "topic_events": len(topics[name].events)} for name, found in sides.items()},
        "missing": dict(missing),
        "verdicts": dict(runs[OURS][0].verdicts or {}),
        "settings": {
            "partitions": PARTITIONS_DEFAULT,
            "events_per_record": 1,
            "producer_batch_bytes": cluster.BATCH_BYTES,
            "compression": "lz4",
            "scenario": "power-peg",
            "sides": {name: {**found.versions, **found.settings} for name, found in ready.items()},
            OURS: "knightwatch worker, defaults: every detector, desk, snapshots, metrics",
            "clock": "peers: own clock, first record to last; ours: /metrics from outside, worse side of each look",
        },
    }


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    lines = [f"{found['codec']}, {found['events']:,} events on the topic, one each record, medians"]
    lines += [f"{'':22} {'events/s':>12} {'min':>10} {'max':>10} {'CPU s/M':>8} {'RSS MB':>7} {'ours is':>8}"]
    for name, side in found["sides"].items():
        rate = side["events_per_s"]
        ratio = found["ratio"].get(name)
        lines.append(
            f"{name:22} {rate['median']:12,} {rate['min']:10,} {rate['max']:10,} {side['cpu_s_per_million']:8.2f} "
            f"{side['peak_rss_mb']:7,.0f} {'' if ratio is None else f'{ratio:g} x':>8}"
        )
    lines += [f"{name:22} not measured: {why.splitlines()[0]}" for name, why in found["missing"].items()]
    for name, target in found["targets"].items():
        ratio = found["ratio"].get(name)
        verdict = "not measured" if ratio is None else "reached" if ratio >= target else "MISSED"
        lines.append(f"target {target:g} x {name}: {verdict}")
    return lines


BENCHMARK: Final = Benchmark(
    "throughput", "Events a second from Kafka, beside the peers.", arguments, measure, table,
    lambda given: f"throughput-{given.codec}",
)  # fmt: skip

if __name__ == "__main__":
    BENCHMARK.main()
