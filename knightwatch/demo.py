"""The demo: a real Kafka, a worker, eight routers with gates, a runaway, a halt. Composition only."""

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from halts.config import Config
from knightwatch.broker import EmbeddedKafka
from knightwatch.follow import Follower, Seen, wait_until
from knightwatch.process import Child
from producers import scenarios
from producers.gateway import LiveGates, LiveRun, soon_ns
from producers.metrics import RouterCollector, serve
from producers.publish import Publisher
from schemas.units import MS_NS, S_NS
from streams.admin import create_topics

READY_S: Final = 60.0
STOP_S: Final = 8.0
CALM_S: Final = 10.0
AFTERWARDS_S: Final = 4.0
"""Shown after the halt is confirmed, so that one sees that nothing more comes."""
GIVE_UP_S: Final = 20.0
"""Event time after the first bad order at which a run without a halt ends."""


class DemoError(Exception):
    """The demo could not run; says what was found and what to do."""


@dataclass(frozen=True)
class Plan:
    """What to run. minutes: event time at most (None: until the halt is confirmed, or one minute when benign)."""

    scenario: str = "power-peg"
    seed: int = 0
    speed: float = 1.0
    servers: int = 8
    workers: int = 1
    minutes: float | None = None
    config: Path | None = None
    metrics_port: int | None = None
    """Workers serve their metrics from this port on, the routers on the next one. None: not at all."""
    afterwards_s: float = AFTERWARDS_S


Show = Callable[[LiveRun, Seen, LiveGates, str], None]


class Demo:
    """One run. ``run`` returns the summary of design section 8."""

    def __init__(self, plan: Plan, config: Config, say: Callable[[str], None], show: Show) -> None:
        self.plan, self.config, self._say, self._show = plan, config, say, show
        self.workers: list[Child] = []
        self.bootstrap = ""
        """Where Kafka is, once it is there."""
        self.seen: Seen | None = None
        self._over = threading.Event()

    def stop(self) -> None:
        """End the run now, from any thread; ``run`` then returns its summary."""
        self._over.set()

    @property
    def targets(self) -> tuple[int, ...]:
        """Ports with ``/metrics``: the workers', then the routers'."""
        first, workers = self.plan.metrics_port, self.plan.workers
        return () if first is None else tuple(range(first, first + workers + 1))

    def run(self) -> dict[str, Any]:
        """Everything, and everything stopped again, however it ends."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="knightwatch-demo-")))
            self._say("starting Apache Kafka (the first time it is fetched: about 15 s more) ...")
            kafka = stack.enter_context(EmbeddedKafka(data=folder / "kafka"))
            create_topics(replace(self.config.kafka, bootstrap=kafka.bootstrap, prefix=""))
            self._say(f"Kafka is at {kafka.bootstrap}; starting {self.plan.workers} worker(s) and the gates ...")
            for i in range(self.plan.workers):
                self.workers.append(self._worker(kafka.bootstrap, folder, i))
                stack.callback(self.workers[-1].stop, STOP_S)
            follower = stack.enter_context(Follower(kafka.bootstrap))
            self.bootstrap, self.seen = kafka.bootstrap, follower.seen
            publisher = stack.enter_context(Publisher(kafka.bootstrap))
            names = scenarios.build(self.plan.scenario, self.plan.seed, self.plan.servers).servers
            gates = stack.enter_context(
                LiveGates(kafka.bootstrap, names, fail_closed_after_ms=self.config.gate.fail_closed_after_ms)
            )
            self._wait_ready(gates, folder)
            scenario = self._scenario()
            run = LiveRun(scenario, publisher, gates, self.plan.speed)
            if self.targets:
                serve(RouterCollector(gates.gates, run.stats, publisher), self.targets[-1])
                where = ", ".join(f"http://127.0.0.1:{port}/metrics" for port in self.targets)
                self._say(f"metrics of workers and routers: {where}")
            self._drive(run, follower.seen, gates)
            return summary(self.plan, scenario, run, follower.seen)

    def _worker(self, bootstrap: str, folder: Path, i: int) -> Child:
        """A worker as a user would start it. It dies with this process."""
        command = [sys.executable, "-m", "knightwatch", "worker", "--bootstrap", bootstrap]
        if self.plan.config is not None:
            command += ["--config", str(self.plan.config)]
        if self.targets:
            command += ["--metrics-port", str(self.targets[i])]
        return Child([*command, "--data", str(folder / f"worker{i}")], folder / f"worker{i}.log")

    def _scenario(self) -> scenarios.Scenario:
        plan = self.plan
        benign = plan.scenario in scenarios.BENIGN
        minutes = plan.minutes or (1.0 if benign else None)
        return scenarios.build(
            plan.scenario, plan.seed, plan.servers, minutes, soon_ns(),
            incident_s=None if benign else CALM_S,
        )  # fmt: skip

    def _wait_ready(self, gates: LiveGates, folder: Path) -> None:
        """Gates open when the desk is heard: then the whole chain works."""

        def ready() -> bool:
            self._check_workers(folder)
            return all(gate.is_open for gate in gates.gates.values())

        if not wait_until(ready, READY_S):
            raise DemoError(f"the gates did not open within {READY_S:g} s.\n{_tail(folder)}")

    def _check_workers(self, folder: Path) -> None:
        dead = [w.exit_code for w in self.workers if w.exit_code is not None]
        if len(dead) == len(self.workers):
            raise DemoError(f"the worker ended with exit code {dead[0]}.\n{_tail(folder)}")

    def _drive(self, run: LiveRun, seen: Seen, gates: LiveGates) -> None:
        failure: list[BaseException] = []

        def work() -> None:
            try:
                run.run()
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=work, name="demo-routers", daemon=True)
        thread.start()
        calm_from = 0.0
        try:
            while thread.is_alive():
                over, phase = _phase(run, seen)
                self._show(run, seen, gates, phase)
                now = time.monotonic()
                calm_from = calm_from or (now if over else 0.0)
                if calm_from and now - calm_from > self.plan.afterwards_s:
                    break
                if self._over.wait(0.1):
                    break
        finally:
            run.stop()
            thread.join(5.0)
        if failure:
            raise failure[0]


def _phase(run: LiveRun, seen: Seen) -> tuple[bool, str]:
    """Is the story over, and how it stands."""
    first = run.stats.first_bad_ns
    if not run.scenario.halt_expected:
        return False, "an ordinary day"
    if not first:
        return False, "calm before the fault"
    states = {r.state for r in seen.scopes.values() if r.state in ("HALTING", "HALTED")}
    if states == {"HALTED"}:
        return True, "HALTED: nothing is working any more"
    if states:
        return False, "HALTING: blocked, cancelling"
    return run.stats.now_ns - first > GIVE_UP_S * S_NS, "RUNAWAY"


def summary(plan: Plan, scenario: scenarios.Scenario, run: LiveRun, seen: Seen) -> dict[str, Any]:
    """The document of design section 8, and what proves it: scopes, acks, orders sent after ``confirmed``."""
    stats = run.stats
    expected = {scope for scope, _ in run.simulation.world.truth.scopes}
    halted = [r for r in seen.halts if r.state == "HALTING"]
    right = next((r for r in halted if r.scope in expected), None)
    closed = seen.first_ack(right.scope, "blocked") if right else None
    confirmed = seen.first_ack(right.scope, "confirmed") if right else None
    took_ms = (closed.ts - stats.first_bad_ns) / MS_NS if closed and stats.first_bad_ns else None
    late = 0
    if confirmed and stats.last_order_ns.get(confirmed.server, 0) > confirmed.ts:
        late = 1
    unhalted, basis = scenario.loss_unhalted()
    return {
        "scenario": plan.scenario,
        "seed": plan.seed,
        "events": stats.events,
        "first_bad_ts": stats.first_bad_ns or None,
        "halt_ts": closed.ts if closed else None,
        "time_to_halt_ms": round(took_ms, 1) if took_ms is not None else None,
        "bad_orders_before_halt": stats.bad_orders,
        "orders_blocked": stats.orders_blocked,
        "loss_usd": round(stats.loss_usd, 2),
        "loss_usd_unhalted": round(unhalted, 2),
        "loss_basis": basis,
        "false_halts": sum(r.scope not in expected for r in halted),
        "halted": [r.scope for r in halted],
        "expected": sorted(expected),
        "states": {name: r.state for name, r in sorted(seen.scopes.items())},
        "text": right.text if right else None,
        "confirmed_ts": confirmed.ts if confirmed else None,
        "orders_after_confirmed": late,
    }


def _tail(folder: Path) -> str:
    """The end of the workers' logs, for a message."""
    lines = []
    for path in sorted(folder.glob("worker*.log")):
        lines += [f"{path.name}:", *path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]]
    return "\n".join(lines)
