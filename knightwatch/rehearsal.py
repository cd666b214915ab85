"""Boards and alerts proven on a live demo: demo, a real Prometheus and ``dashboards check`` together.

    found = rehearse(Demo(plan, config, say, show))

Prometheus is a program of its own (Debian package ``prometheus``); it scrapes the demo's workers and routers once a
second, with our rule file, exactly as in the compose stack.
"""

import json
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from dashboards import boards
from dashboards.build import HERE
from dashboards.check import Prometheus, PrometheusError, Report, live
from knightwatch.demo import Demo
from knightwatch.follow import Seen, wait_until
from knightwatch.process import Child
from schemas import metrics as m
from schemas.records import HaltRecord

READY_S: Final = 20.0
HALTED_S: Final = 180.0
"""Longest wait for the demo's halt: Kafka, a worker, ten calm seconds, a runaway."""
SETTLE_S: Final = 4.0
"""After HALTED: rates over 5 s, and alerts that must hold for some seconds."""
SHOWN_S: Final = 10.0
"""Longest wait for it; 2 s is the promise, measured by ``shown_after_s`` on a machine that is not busy."""


class RehearsalError(OSError):
    """The rehearsal could not be held; says what was found and what to do."""


@dataclass
class Rehearsal:
    """What was found."""

    report: Report
    scope: str
    standing_out: list[str]
    """Servers at or beyond a bound in the first column of Fleet's table, the worst first."""
    scores: dict[str, float]
    shown_after_s: float | None
    """From HALTING on the topic ``halts`` to the scope's state in Prometheus; None: not within SHOWN_S."""
    firing: list[str]
    """Alerts that fire."""
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it must be."""
        found = [f"{finding.where}: {finding.problem}" for finding in self.report.findings]
        expected = [self.scope.removeprefix("server:")]
        if self.standing_out != expected:
            found.append(f"board Fleet: {self.standing_out} stand out, expected {expected}; scores {self.scores}")
        if self.shown_after_s is None:
            found.append(f"the halt of {self.scope} was not in Prometheus within {SHOWN_S:g} s")
        return found

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"ok": not self.problems, "problems": self.problems, **asdict(self)}


def prometheus_config(targets: tuple[int, ...]) -> str:
    """As config/prometheus.yml, for ports of this machine."""
    places = ", ".join(f"'127.0.0.1:{port}'" for port in targets)
    return (
        "global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}\n"
        f"rule_files: ['{HERE / 'provisioning/prometheus/rules.yml'}']\n"
        f"scrape_configs: [{{job_name: knightwatch, static_configs: [{{targets: [{places}]}}]}}]\n"
    )


def free_ports(count: int) -> int:
    """The first of ``count`` ports in a row that nobody listens on."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = int(probe.getsockname()[1])
        with suppress(OSError, OverflowError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise RehearsalError(f"found no {count} free ports in a row; stop what occupies them, or try again")


class LivePrometheus:
    """A Prometheus of our own, on a free port, as long as the ``with`` lasts."""

    def __init__(self, targets: tuple[int, ...], folder: Path) -> None:
        program = shutil.which("prometheus")
        if program is None:
            raise RehearsalError("prometheus is not installed; install it (Debian, Ubuntu: apt-get install prometheus)")
        port = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        config, self._log = folder / "prometheus.yml", folder / "prometheus.log"
        config.write_text(prometheus_config(targets), encoding="utf-8")
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"]
        self._child = Child([program, *options, f"--web.listen-address=127.0.0.1:{port}"], self._log)

    def __enter__(self) -> Prometheus:
        if not wait_until(self._ready, READY_S, 0.1):
            said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            self._child.kill()
            raise RehearsalError(f"prometheus was not ready within {READY_S:g} s: {said}")
        return Prometheus(self.url)

    def _ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
            return True
        return False

    def __exit__(self, *_: object) -> None:
        self._child.stop(10.0)


def rehearse(demo: Demo, before_the_end: Callable[[], None] = lambda: None) -> Rehearsal:
    """Run ``demo`` (whose plan names a metrics port and stays long enough afterwards) under a Prometheus, and ask that
    everything. before_the_end: called when all is found, while everything still runs."""
    with (
        tempfile.TemporaryDirectory(prefix="knightwatch-rehearsal-") as folder,
        LivePrometheus(demo.targets, Path(folder)) as prometheus,
    ):
        running = _Running(demo)
        try:
            halt = running.halt()
            shown_after_s = _shown(prometheus, halt, time.monotonic())
            running.halted(halt.scope)
            time.sleep(SETTLE_S)
            report = live(prometheus)
            scores = _scores(prometheus)
            firing = _firing(prometheus.url)
            before_the_end()
        finally:
            summary = running.end()
    ranked = sorted(scores, key=lambda server: -scores[server])
    out = [server for server in ranked if scores[server] >= 1]
    return Rehearsal(report, halt.scope, out, scores, shown_after_s, firing, summary)


class _Running:
    """The demo in a thread of its own."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._summary: dict[str, Any] = {}
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="rehearsal-demo", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._summary = self._demo.run()
        except BaseException as error:
            self._failure = error

    def halt(self) -> HaltRecord:
        """The first halt, as soon as it is on ``halts``."""
        return self._first(lambda r: r.state == "HALTING", "no halt")

    def halted(self, scope: str) -> HaltRecord:
        """Its confirmation."""
        return self._first(lambda r: r.state == "HALTED" and r.scope == scope, f"{scope} was not HALTED")

    def _first(self, wanted: Callable[[HaltRecord], bool], problem: str) -> HaltRecord:
        def found() -> HaltRecord | None:
            seen: Seen | None = self._demo.seen
            return next((r for r in (seen.halts if seen else ()) if wanted(r)), None)

        wait_until(lambda: found() or not self._thread.is_alive(), HALTED_S, 0.02)
        record = found()
        if record is None:
            if self._failure is not None:
                raise self._failure
            raise RehearsalError(f"{problem} within {HALTED_S:g} s; run `knightwatch demo` and look at what it says")
        return record

    def end(self) -> dict[str, Any]:
        """Stop the demo; its summary."""
        self._demo.stop()
        self._thread.join(60.0)
        return self._summary


def _shown(prometheus: Prometheus, halt: HaltRecord, seen_s: float) -> float | None:
    """Seconds since the record was seen until Prometheus shows the scope as stopped; None: not within SHOWN_S."""
    where = f'{m.SCOPE_STATE.name}{{scope="{halt.scope}", state=~"HALTING|HALTED"}} == 1'

    def there() -> bool:
        with suppress(PrometheusError):
            return bool(prometheus.query(where))
        return False

    return round(time.monotonic() - seen_s, 3) if wait_until(there, SHOWN_S, 0.02) else None


def _scores(prometheus: Prometheus) -> dict[str, float]:
    """The first column of Fleet's table: server -> worst score / limit."""
    table = next(panel for panel in boards.ALL[0].panels() if panel.title == "Who differs")
    return {row["metric"]["server"]: float(row["value"][1]) for row in prometheus.query(table.queries[0].expr)}


def _firing(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=5) as answer:
        found = json.load(answer)["data"]["alerts"]
    return sorted({alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"})
