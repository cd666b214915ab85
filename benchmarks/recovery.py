"""The kill storm: kill -9 of the desk, the other worker or the broker at random moments around a halt.

    python -m benchmarks.recovery [--json] [--save] [--kills N] [--seed N]

Embedded Kafka, two real workers whom a supervisor starts again at once, eight routers with real ``HaltGate``s and live
flow. Each round another router runs away (children beyond a full parent, one a millisecond, as Knight's did), and one
victim dies at a random moment between 0.3 s before its first bad order and 0.7 s after. Nobody resumes anything: what
was halted must stay halted through all later kills, and a gate that closed for it is looked at every 5 ms.

``lost_halts``: runaways that were not HALTED within 30 s, or did not stay so. ``duplicate_halts``: epochs of a scope
that stand twice or go back, and second halts of one runaway. ``max_gap_s``: from a kill to the halt that stands
confirmed, or the longest silence of the desk that followed it; after a kill of the broker from when it answers again,
its own start (``broker_start_s``) being Kafka's. Everything is at its default, but that many halted
routers do not halt the firm (``siblings_to_widen = 0``). A halt that widens all the same (a gate that a dead broker kept
from answering in time) is counted as ``widened``; the rounds then go on with a fleet, workers and topics of their own.
"""

import argparse
import logging
import random
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.lab import cluster, storm
from benchmarks.lab.incident import BAD_EVERY_NS, Incident, event
from benchmarks.lab.result import Benchmark, BenchmarkError, say
from halts.state import CLOSED
from knightwatch.broker import EmbeddedKafka
from knightwatch.broker_host import BrokerError
from knightwatch.follow import wait_until
from knightwatch.jars import JarError
from producers import scenarios
from producers.gateway import LiveGates, LiveRun
from producers.publish import Publisher
from schemas.events import Kind

BROKER: Final = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
"""The controller takes a broker that died for alive for so long (Kafka: 9 s) and lets it not come back before."""
CONFIG: Final = "[desk]\nsiblings_to_widen = 0\n"
VICTIMS: Final = ("desk", "worker", "broker")
MOMENT_S: Final = (-0.3, 0.7)
"""When the victim dies, from the first bad order."""
READY_S: Final = 90.0
HALTED_S: Final = 30.0
TARGET_S: Final = 10.0
SETTLE_S: Final = 0.5
LOOK_S: Final = 0.02
SLOW_S: Final = 20.0
"""A round that takes longer shows the ends of the workers' logs."""
GATES_KEPT: Final = 8
"""Gates of earlier runaways that are watched on."""
_PX: Final = 10 * 10**9


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--servers", type=int, default=8, help="healthy routers")
    parser.add_argument("--seed", type=int, default=1)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The document of design section 11, and every round."""
    for name in ("halts", "producers", "kafka", "knightwatch"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # each gate would tell of each kill
    rng = random.Random(given.seed)
    plan = [VICTIMS[i % len(VICTIMS)] for i in range(given.kills)]
    rng.shuffle(plan)
    done: list[dict[str, Any]] = []
    sessions: list[dict[str, Any]] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="knightwatch-") as folder,
            EmbeddedKafka(heap_mb=512, extra_properties=BROKER) as kafka,
        ):
            while len(done) < len(plan):
                place = Path(folder) / f"session{len(sessions)}"
                place.mkdir()
                with Session(kafka, cluster.fresh(f"storm{len(sessions)}-"), given.servers, place) as session:
                    while len(done) + len(session.rounds) < len(plan) and not session.firm_halted:
                        at = len(done) + len(session.rounds)
                        session.round(at, plan[at], rng.uniform(*MOMENT_S))
                    sessions.append(session.verdict())
                    done += session.rounds
    except (BrokerError, JarError) as error:
        raise BenchmarkError(f"no broker: {error}") from error
    return _document(done, sessions)


def _document(rounds: Sequence[Mapping[str, Any]], sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def summed(name: str) -> list[Any]:
        return [item for session in sessions for item in session[name]]

    gaps = [max(r["gap_s"], r["halted_s"] if r["halted_s"] is not None else HALTED_S) for r in rounds]
    return {
        "kills": len(rounds),
        "lost_halts": len(summed("lost")),
        "duplicate_halts": len(summed("doubled")),
        "max_gap_s": max(gaps),
        "over_target": sum(gap > TARGET_S for gap in gaps),
        "target_s": TARGET_S,
        "broker_start_s_max": max((r["broker_start_s"] for r in rounds), default=0.0),
        "reopened_gates": len(summed("reopened")),
        "opened_scopes": len(summed("opened")),
        "false_halts": len(summed("false")),
        "widened": sum(bool(session["widened"]) for session in sessions),
        "workers_ended": sum(session["workers_ended"] for session in sessions),
        "looks": sum(session["looks"] for session in sessions),
        "looks_at_halted": sum(session["looks_at_halted"] for session in sessions),
        "look_gap_ms_max": round(max(session["look_gap_ms_max"] for session in sessions), 1),
        "found": {name: summed(name) for name in ("lost", "doubled", "reopened", "opened", "false")},
        "rounds": list(rounds),
    }


class Runaway(Incident):
    """A router that sends for a parent that is full whenever its gate lets it."""

    def attack(self, publisher: Publisher, stop: threading.Event) -> None:
        """One bad order a millisecond until the end of the round; what the gate refuses is not sent."""
        self.intended_ns = time.time_ns()
        while not stop.wait(BAD_EVERY_NS / 1e9):
            if self.gate.may_send(symbol="ACME", strategy="vwap", account="A1").allowed:
                self.bad_sent += 1
                child = f"O-{self.server}-{self.bad_sent}"
                now, seq = time.time_ns(), 4 + self.bad_sent
                publisher.publish(event(self.server, seq, Kind.order, now, cl_ord_id=child, qty=100, px=_PX))


class Session:
    """Two workers, a fleet with live flow and its topics; rounds are run on it until the firm is halted."""

    def __init__(self, kafka: EmbeddedKafka, prefix: str, servers: int, folder: Path) -> None:
        self._kafka, self._prefix, self._folder, self._n = kafka, prefix, folder, servers
        self.rounds: list[dict[str, Any]] = []
        self._scopes: list[str] = []
        self._kept: list[Runaway] = []
        self._windows: list[tuple[int, int]] = []
        self._stack = ExitStack()
        self._watch = storm.Watch()
        self._workers: dict[str, storm.Worker] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def _start(self) -> None:
        bootstrap, prefix = self._kafka.bootstrap, self._prefix
        cluster.make_topics(bootstrap, prefix)
        for name in ("w0", "w1"):
            worker = storm.Worker(bootstrap, prefix, self._folder, name, CONFIG)
            self._workers[name] = worker
            self._stack.callback(worker.close)
        self._publisher = self._stack.enter_context(Publisher(bootstrap, prefix=prefix))
        scenario = scenarios.build("calm", 1, self._n, 600, time.time_ns())
        self._fleet = self._stack.enter_context(LiveGates(bootstrap, scenario.servers, prefix=prefix))
        self._watch.gates.update(self._fleet.gates)
        self._stack.enter_context(self._watch)
        self._stack.callback(self._close_runaways)
        run = LiveRun(scenario, self._publisher, self._fleet)
        flow = threading.Thread(target=run.run, name="fleet", daemon=True)
        flow.start()
        self._stack.callback(flow.join, 5.0)
        self._stack.callback(run.stop)
        self._ready()

    def _close_runaways(self) -> None:
        for runaway in self._kept:
            runaway.gate.close()

    @property
    def firm_halted(self) -> bool:
        """The halt of a runaway has widened."""
        return "firm" in self._halted()

    def _halted(self) -> dict[str, str]:
        """Scope -> HALTING or HALTED, as any gate has it."""
        gates = [*self._fleet.gates.values(), *(runaway.gate for runaway in self._kept)]
        found = sorted((s.scope, s.epoch, s.state) for gate in gates for s in gate.state().scopes)
        return {scope: state for scope, _, state in found if state in CLOSED}

    def _wait(self, check: Callable[[], bool], timeout_s: float) -> bool:
        """Whether ``check`` came true in time; workers that end meanwhile are started again."""

        def look() -> bool:
            for worker in self._workers.values():
                worker.supervise()
            return check()

        return wait_until(look, timeout_s, LOOK_S)

    def _ready(self) -> None:
        """Both workers have partitions, and the fleet trades."""

        def ready() -> bool:
            gates = self._fleet.gates.values()
            at_work = all(worker.at_work() for worker in self._workers.values())
            return at_work and (self.firm_halted or all(gate.is_open for gate in gates))

        if not self._wait(ready, READY_S):
            shut = {name: gate.state().reason for name, gate in self._fleet.gates.items() if not gate.is_open}
            raise BenchmarkError(f"not ready after {READY_S:g} s; closed: {shut}\n{storm.said(self._workers)}")
        time.sleep(SETTLE_S)

    def _kill(self, victim: str) -> None:
        if victim == "broker":
            self._kafka.kill()
            self._kafka.start()
            return
        desk = max(self._workers.values(), key=lambda worker: worker.generation())
        others = [worker for worker in self._workers.values() if worker is not desk]
        (desk if victim == "desk" else others[0]).kill()

    def round(self, number: int, victim: str, moment_s: float) -> None:
        """One runaway, one kill, and everything at work again."""
        runaway = Runaway(f"X{number:04d}", self._kafka.bootstrap, self._prefix)
        runaway.gate.start()
        self._kept.append(runaway)
        if not self._wait(lambda: runaway.gate.is_open or self.firm_halted, READY_S):
            raise BenchmarkError(f"the gate of {runaway.server} did not open: {runaway.gate.state().reason}")
        if self.firm_halted:
            return  # the halt of the round before has widened only now: this one is run on another fleet
        self._watch.gates[runaway.server] = runaway.gate
        runaway.healthy(self._publisher)
        time.sleep(0.3)
        scope, stop = f"server:{runaway.server}", threading.Event()
        self._scopes.append(scope)
        attack = threading.Thread(target=runaway.attack, args=(self._publisher, stop), name=scope, daemon=True)
        starting = threading.Timer(max(0.0, -moment_s), attack.start)
        starting.start()
        time.sleep(max(0.0, moment_s))
        killed_ms = time.time_ns() // 1_000_000
        try:
            self._kill(victim)
            back_ms = time.time_ns() // 1_000_000
            self._wait(lambda: self._halted().get(scope) == "HALTED", HALTED_S)
            halted_ms = time.time_ns() // 1_000_000
            self._ready()
        finally:
            starting.join()
            stop.set()
            attack.join(5.0)
        broker_s = (back_ms - killed_ms) / 1000 if victim == "broker" else 0.0
        self._windows.append((killed_ms, time.time_ns() // 1_000_000))
        found = {"victim": victim, "moment_s": round(moment_s, 3), "bad_orders": runaway.bad_sent}
        self.rounds.append({**found, "broker_start_s": broker_s})
        stood = self._halted().get(scope, "not halted")
        seen_s = (halted_ms - killed_ms) / 1000
        times = f"seen after {seen_s:.1f} s, all at work after {self._length_s():.1f} s"
        say(f"round {number + 1}: {victim} killed {moment_s:+.2f} s from the first bad order; {stood} {times}")
        if self._length_s() - broker_s > SLOW_S:
            say(storm.said(self._workers))
        while len(self._kept) > GATES_KEPT:
            old = self._kept.pop(0)
            del self._watch.gates[old.server]
            old.gate.close()

    def _length_s(self) -> float:
        return (self._windows[-1][1] - self._windows[-1][0]) / 1000

    def verdict(self) -> dict[str, Any]:
        """Read ``halts`` from its beginning, complete the rounds, and say what is wrong."""
        stands = storm.read(self._kafka.bootstrap, self._prefix)
        for found, scope, (killed_ms, until_ms) in zip(self.rounds, self._scopes, self._windows, strict=True):
            halting, halted = stands.first_ms(scope, "HALTING"), stands.first_ms(scope, "HALTED")
            found["scope"] = scope
            found["stood_at_kill"] = _stood(killed_ms, halting, halted)
            since_ms = killed_ms + round(found["broker_start_s"] * 1000)
            found["halted_s"] = None if halted is None else max(0.0, (halted - since_ms) / 1000)
            found["gap_s"] = stands.beats.gap_s(since_ms, until_ms)
        last = stands.last()
        halted_s = {found["scope"]: found["halted_s"] for found in self.rounds}
        expected = {*self._scopes, "firm"}
        return {
            "lost": [
                scope
                for scope in self._scopes
                if last.get(scope) not in CLOSED or halted_s[scope] is None or halted_s[scope] > HALTED_S
            ],
            "doubled": stands.doubled(),
            "opened": stands.opened(),
            "reopened": self._watch.reopened,
            "false": sorted({r.scope for r in stands.halts if r.state in CLOSED} - expected),
            "widened": "firm" in last,
            "workers_ended": sum(worker.ended for worker in self._workers.values()),
            "looks": self._watch.samples,
            "looks_at_halted": self._watch.samples_halted,
            "look_gap_ms_max": self._watch.gap_ms_max,
        }


def _stood(killed_ms: int, halting: int | None, halted: int | None) -> str:
    """State of the runaway's scope when the victim died."""
    if halted is not None and halted < killed_ms:
        return "HALTED"
    return "HALTING" if halting is not None and halting < killed_ms else "ACTIVE"


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    lines = [f"{'victim':8} {'stood at kill':14} {'kills':>6} {'halt max s':>11} {'desk gap max s':>15}"]
    for victim in VICTIMS:
        for state in ("ACTIVE", "HALTING", "HALTED"):
            rounds = [r for r in found["rounds"] if (r["victim"], r["stood_at_kill"]) == (victim, state)]
            if rounds:
                halted = max(r["halted_s"] if r["halted_s"] is not None else HALTED_S for r in rounds)
                gap = max(r["gap_s"] for r in rounds)
                lines.append(f"{victim:8} {state:14} {len(rounds):6} {halted:11.2f} {gap:15.2f}")
    lines.append(
        f"{found['kills']} kills: {found['lost_halts']} halts lost, {found['duplicate_halts']} doubled, "
        f"{found['reopened_gates']} gates and {found['opened_scopes']} scopes reopened, {found['widened']} widened, "
        f"{found['false_halts']} false; {found['looks_at_halted']:,} looks at halted gates"
    )
    good = not found["lost_halts"] and not found["duplicate_halts"] and not found["reopened_gates"]
    kept = good and not found["opened_scopes"] and not found["over_target"]
    lines.append(f"longest gap {found['max_gap_s']:.1f} s, target {TARGET_S:g} s: {'reached' if kept else 'MISSED'}")
    return lines


BENCHMARK: Final = Benchmark("recovery", "kill -9 at random moments around a halt.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
