"""Demo, a real Prometheus and ``dashboards check`` together: every expression has data, the offender stands out, the
halt is on the boards, and its annotation carries the right time."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest

from dashboards.annotate import Annotator
from dashboards.push import Grafana
from halts.config import CanaryConfig, Config
from knightwatch.demo import Demo, Plan
from knightwatch.follow import wait_until
from knightwatch.rehearsal import Rehearsal, RehearsalError, free_ports, prometheus_config, rehearse
from schemas.scopes import CANARY
from schemas.units import MS_NS
from tests.dashboards.grafana_stub import ADMIN, Stub, serve

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed: `apt-get install prometheus`"
)


@needs_prometheus
@pytest.mark.timeout(240)
def test_everything_together_on_a_live_demo() -> None:
    stub = Stub()
    plan = Plan(seed=3, metrics_port=free_ports(2), afterwards_s=60.0)
    demo = Demo(plan, Config(canary=CanaryConfig(interval_ms=60_000)), lambda _: None, lambda *_: None)
    with ExitStack() as stack:
        url = stack.enter_context(serve(stub))
        found = rehearse(demo, lambda: _annotated(demo, stub, url))
    _everything_has_data(found)
    _the_halt_is_annotated(found, demo, stub)


def _annotated(demo: Demo, stub: Stub, url: str) -> None:
    """Let the annotator write what stands on the demo's topics."""
    annotator = Annotator(demo.bootstrap, Grafana(url, ADMIN))
    annotator.start()
    wait_until(lambda: sum(a["tags"][1] == "halt" for a in stub.annotations) >= 1, 60)
    annotator.stop()


def _everything_has_data(found: Rehearsal) -> None:
    assert found.report.findings == (), found.report.findings
    assert found.report.quiet == ()
    assert found.standing_out == [found.scope.removeprefix("server:")], found.scores
    assert found.shown_after_s is not None, "how fast is measured, not asserted: this machine may be busy"
    assert "KnightwatchScopeHalted" in found.firing
    assert not {"KnightwatchCanaryLate", "KnightwatchNoWorker", "KnightwatchDeadLetters"} & set(found.firing)
    assert found.problems == []
    assert found.scope in found.summary["expected"]


def _the_halt_is_annotated(found: Rehearsal, demo: Demo, stub: Stub) -> None:
    assert demo.seen is not None
    records = {(r.scope, r.epoch): r for r in demo.seen.halts}
    written = [a for a in stub.annotations if a["tags"][1] == "halt"]
    assert found.scope in {a["tags"][2] for a in written}
    for annotation in written:
        assert annotation["tags"][2] != CANARY
        record = records[annotation["tags"][2], int(annotation["tags"][3].rsplit(":", 1)[1])]
        assert annotation["time"] == record.ts_decided // MS_NS
        assert record.text.split(".")[0] in annotation["text"]


def test_free_ports_are_in_a_row() -> None:
    first = free_ports(3)
    assert 1024 <= first <= 65_535 - 2
    assert str(first + 1) in prometheus_config((first, first + 1))


def test_without_prometheus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RehearsalError, match="apt-get install prometheus"):
        rehearse(Demo(Plan(metrics_port=1), Config(), lambda _: None, lambda *_: None))


def test_help_says_how_to_hold_it() -> None:
    command = [sys.executable, "-m", "knightwatch", "dashboards", "check", "--json"]
    assert json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)["ok"] is True
