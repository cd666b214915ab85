"""From the intended send time of the first bad order to the router's gate being closed, under load.

    python -m benchmarks.latency [--json] [--save] [--rate N] [--n N] [--low-rate N] [--low-n N] [--no-faust]

Embedded Kafka, a real worker with everything on, healthy flow at ``--rate`` from a process of its own (open loop), and in
this process routers with real ``HaltGate``s that go wrong one after the other: children beyond a full parent, one a
millisecond. Each incident is another server, hence a halt of its own; what
would widen one halt to the firm, and so close the gates of incidents to come, is switched off (``siblings_to_widen = 0``,
``ack_timeout_ms = 1900``), and scores of the healthy flow, a calm day that runs many times too fast, warn only
(``families_to_halt = 10``, *rate* to warn); everything else is at its default. The clock starts when the first bad order
*should* be sent and ends when the gate's own thread says that it is closed.

At ``--low-rate`` the same, and stock Faust beside it: an agent that sends each event on. Both are then taken by the time
at which Kafka appended the result (ours: the breach on ``verdicts``), from the intended send time of its cause.
"""

import argparse
import logging
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.lab import cluster
from benchmarks.lab.background import Background
from benchmarks.lab.incident import Incident, event
from benchmarks.lab.result import Benchmark, BenchmarkError, quantile, say
from benchmarks.lab.watch import Watched, Worker, until
from benchmarks.peers.faust_side import echo_command
from producers.publish import Publisher
from schemas.events import Kind
from schemas.records import Breach, HaltRecord, decode, decode_verdict
from schemas.topics import HALTS, VERDICTS, topic_name
from schemas.units import MS_NS

CONFIG: Final = """
[desk]
siblings_to_widen = 0
ack_timeout_ms = 1900
families_to_halt = 10
[desk.rules.rate]
statistical = "warn"
"""
FLOW_S: Final = 150.0
"""Before its flow is used up and begins anew, at other prices: longer than the incidents take."""
GATES_AT_ONCE: Final = 8
GAP_S: Final = (0.2, 0.5)
READY_S: Final = 240.0
WARM_S: Final = 20.0
"""Of flow before the first incident. The broker's own compiler (JIT) takes a third of a core until it is through."""
SETTLE_S: Final = 2.0
"""After new gates have opened: eight consumers that start at once are a load that no incident comes with."""
FAUST_WARM: Final = 20
TARGET: Final = {"p50_ms": 60, "p99_ms": 150}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--rate", type=float, default=10_000, help="healthy events a second")
    parser.add_argument("--n", type=int, default=120, help="incidents")
    parser.add_argument("--low-rate", type=float, default=100)
    parser.add_argument("--low-n", type=int, default=40)
    parser.add_argument("--no-faust", action="store_true", help="leave stock Faust out")
    parser.add_argument("--warm", type=float, default=WARM_S, help="seconds of flow before the first incident")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bootstrap", default=None, help="a broker as HOST:PORT; otherwise an embedded one")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The document of design section 11; stages, samples and the low rate besides."""
    rng = random.Random(given.seed)
    logging.getLogger("halts").setLevel(logging.ERROR)  # each halt would be said by each gate
    with cluster.broker(given.bootstrap) as bootstrap, tempfile.TemporaryDirectory(prefix="knightwatch-") as folder:
        high = _ours(bootstrap, cluster.fresh("high-"), given.rate, given.n, rng, Path(folder), given.warm)
        low = (
            _ours(bootstrap, cluster.fresh("low-"), given.low_rate, given.low_n, rng, Path(folder), 0.0)
            if given.low_n
            else None
        )
        faust = None
        if low is not None and not given.no_faust:
            faust = _faust(bootstrap, given.low_rate, given.low_n + FAUST_WARM, Path(folder))
    return {**high, "low": low, "faust_low": faust, "target": TARGET}


def _ours(
    bootstrap: str, prefix: str, rate: float, n: int, rng: random.Random, folder: Path, warm_s: float
) -> dict[str, Any]:
    cluster.make_topics(bootstrap, prefix)
    with ExitStack() as stack:
        worker = stack.enter_context(Worker(bootstrap, prefix, folder, prefix + "worker", CONFIG))
        background = Background(bootstrap, prefix, rate, FLOW_S, folder)
        stack.callback(background.close)
        background.start()
        until(lambda: worker.processed() > rate, READY_S, 0.1, "flow through the worker", worker)
        time.sleep(warm_s)
        publisher = stack.enter_context(Publisher(bootstrap, prefix=prefix))
        say(f"{rate:g} events/s: {n} incidents ...")
        done: list[Incident] = []
        took: list[float] = []
        while len(done) < n:
            size = min(GATES_AT_ONCE, n - len(done))
            names = [f"X{len(done) + i:05d}" for i in range(size)]
            with _routers(bootstrap, prefix, names, publisher) as routers:
                for router in routers:
                    time.sleep(rng.uniform(*GAP_S))
                    worker.check()
                    found = router.run(publisher)
                    if found is not None:
                        took.append(found)
                    done.append(router)
                for router in routers:
                    router.settle()
        said = background.stop()
    if not took:
        raise BenchmarkError(f"none of {n} incidents closed its gate. The worker said:\n{worker.tail()}")
    return {
        "rate": rate,
        "n": n,
        "missed": n - len(took),
        **_quantiles(took),
        "stages": _stages(bootstrap, prefix, done),
        "bad_orders": {
            "median": quantile([float(r.bad_sent) for r in done], 0.5),
            "max": max(r.bad_sent for r in done),
        },
        "background": {**said, "intended_per_s": rate},
        "samples_ms": [round(ms, 2) for ms in took],
    }


def _quantiles(samples: Sequence[float]) -> dict[str, float]:
    return {
        "p50_ms": round(quantile(samples, 0.5), 1),
        "p99_ms": round(quantile(samples, 0.99), 1),
        "max_ms": round(max(samples), 1),
    }


@contextmanager
def _routers(bootstrap: str, prefix: str, names: Sequence[str], publisher: Publisher) -> Iterator[list[Incident]]:
    """Routers whose gates are open and whose first, good orders are out."""
    made = [Incident(name, bootstrap, prefix) for name in names]
    try:
        for router in made:
            router.gate.start()
        for router in made:
            if not router.gate.wait_open(READY_S):
                raise BenchmarkError(f"the gate of {router.server} did not open: {router.gate.state().reason}")
            router.healthy(publisher)
        time.sleep(SETTLE_S)
        yield made
    finally:
        for router in made:
            router.gate.close()


def _stages(bootstrap: str, prefix: str, done: Sequence[Incident]) -> dict[str, Any]:
    """By Kafka's append time (whole ms), from the intended send time: when the breach and the halt were there."""
    intended = {router.server: router.intended_ns for router in done}
    breach: dict[str, float] = {}
    halt: dict[str, float] = {}
    for record in cluster.appended(bootstrap, topic_name(VERDICTS, prefix)):
        try:
            verdict = decode_verdict(record.value)
        except msgspec.DecodeError:
            continue
        if isinstance(verdict, Breach) and verdict.hard and verdict.server in intended:
            breach.setdefault(verdict.server, record.timestamp - intended[verdict.server] / MS_NS)
    for record in cluster.appended(bootstrap, topic_name(HALTS, prefix)):
        if record.key and record.key.startswith(b"server:X") and record.value:
            server = decode(record.value, HaltRecord).scope.removeprefix("server:")
            if server in intended:
                halt.setdefault(server, record.timestamp - intended[server] / MS_NS)
    return {
        name: _quantiles(list(found.values())) if found else None
        for name, found in (("breach_on_kafka", breach), ("halt_on_kafka", halt))
    }


def _faust(bootstrap: str, rate: float, n: int, folder: Path) -> dict[str, Any]:
    """The same events one by one, through an agent of stock Faust that sends each on; the first few warm it up."""
    prefix, target = cluster.fresh("faust-"), cluster.fresh("faust-out")
    source = cluster.make_topics(bootstrap, prefix)
    cluster.make_plain_topic(bootstrap, target, 1)
    with Watched(echo_command(bootstrap, source, target, folder), folder / "faust.log") as app:
        end = time.monotonic() + READY_S
        with Publisher(bootstrap, prefix=prefix, one_per_value=True) as publisher:
            while not any(True for _ in cluster.appended(bootstrap, target)):
                if app.exit_code is not None or time.monotonic() > end:
                    raise BenchmarkError(f"stock Faust sent nothing on. It said:\n{app.tail()}")
                publisher.publish(event("WARM", 1, Kind.order, time.time_ns(), cl_ord_id="W", qty=1))
                time.sleep(0.5)
            intended: dict[bytes, int] = {}
            begin = time.time_ns()
            for i in range(n):
                due = begin + round(i * 1e9 / rate)
                time.sleep(max(0.0, (due - time.time_ns()) / 1e9))
                server = f"X{i:05d}"
                intended[server.encode()] = due
                publisher.publish(event(server, 1, Kind.order, due, cl_ord_id="C", qty=1))
            publisher.flush()
            time.sleep(2.0)
    seen: dict[bytes, float] = {}
    for record in cluster.appended(bootstrap, target):
        if record.key in intended:
            seen.setdefault(record.key, record.timestamp - intended[record.key] / MS_NS)
    kept = [ms for key, ms in sorted(seen.items()) if int(key[1:]) >= FAUST_WARM]
    if not kept:
        raise BenchmarkError(f"stock Faust sent none of {n} events on. It said:\n{app.tail()}")
    return {
        "rate": rate,
        "n": len(kept),
        "result_on_kafka": _quantiles(kept),
        "samples_ms": [round(v, 1) for v in kept],
    }


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    lines = [f"{'ms':34} {'n':>5} {'p50':>8} {'p99':>8} {'max':>8}"]

    def line(name: str, n: int, values: Mapping[str, float] | None) -> None:
        if values is not None:
            lines.append(f"{name:34} {n:5} {values['p50_ms']:8.1f} {values['p99_ms']:8.1f} {values['max_ms']:8.1f}")

    for part in (found, found["low"]):
        if part is not None:
            line(f"{part['rate']:,.0f}/s: gate closed", part["n"] - part["missed"], part)
            for name, values in part["stages"].items():
                line(f"  {name.replace('_', ' ')}", part["n"], values)
    if found["faust_low"]:
        faust = found["faust_low"]
        line(f"{faust['rate']:,.0f}/s: stock Faust, result on kafka", faust["n"], faust["result_on_kafka"])
    kept = all(found[name] <= limit for name, limit in TARGET.items()) and not found["missed"]
    lines.append(f"target p50 {TARGET['p50_ms']} ms, p99 {TARGET['p99_ms']} ms: {'reached' if kept else 'MISSED'}")
    return lines


BENCHMARK: Final = Benchmark("latency", "First bad order to closed gate, open loop.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
