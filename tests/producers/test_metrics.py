"""What routers export: every series of the table from the first scrape on, true to the gates, with bounded labels."""

import time
import urllib.request
from typing import Any, ClassVar

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from halts.gate import Decision, GateSnapshot
from producers import scenarios
from producers.gateway import LiveRun, LiveStats
from producers.metrics import BLOCK_REASONS, PUBLISH_REASONS, RouterCollector, block_reason, serve
from schemas import metrics as m
from schemas.records import Gate

SERVERS = ("R1", "R2")
OURS = (
    m.GATE_OPEN, m.GATE_HEARTBEAT_AGE, m.ORDERS_BLOCKED, m.ORDERS_WORKING, m.PUBLISHED, m.PUBLISH_ERRORS,
    m.PUBLISH_QUEUE,
)  # fmt: skip


def snapshot(server: str, *, is_open: bool = True, age_ms: float = 120.0, caught_up: bool = True,
             undecodable: dict[str, str] | None = None) -> GateSnapshot:  # fmt: skip
    fields: dict[str, Any] = dict.fromkeys(GateSnapshot.__struct_fields__, 0)
    fields |= {
        "server": server, "open": is_open, "reason": "", "gate": Gate("ACTIVE"), "caught_up": caught_up,
        "heartbeat_age_ms": age_ms, "scopes": (), "undecodable": undecodable or {}, "counters": {},
    }  # fmt: skip
    return GateSnapshot(**fields)


class FixedGate:
    """A gate in a state of our choice."""

    def __init__(self, found: GateSnapshot) -> None:
        self.found = found

    def state(self) -> GateSnapshot:
        return self.found


class Queue:
    """A publisher with something on its mind."""

    errors: ClassVar[dict[tuple[str, str], int]] = {("R2", "dropped"): 3}

    def waiting(self) -> dict[str, int]:
        return {"R1": 7}


def exported(gates: dict[str, FixedGate], stats: LiveStats) -> Any:
    registry = CollectorRegistry()
    registry.register(RouterCollector(gates, stats, Queue()))
    return registry


def test_every_series_stands_at_0_before_the_first_event() -> None:
    registry = exported({s: FixedGate(snapshot(s)) for s in SERVERS}, LiveStats(SERVERS))
    assert {f.name for f in registry.collect()} == {o.name.removesuffix("_total") for o in OURS}
    for server in SERVERS:
        for reason in BLOCK_REASONS:
            assert registry.get_sample_value(m.ORDERS_BLOCKED.name, {"server": server, "reason": reason}) == 0
        for reason in PUBLISH_REASONS:
            expected = Queue.errors.get((server, reason), 0)
            labels = {"server": server, "reason": reason}
            assert registry.get_sample_value(m.PUBLISH_ERRORS.name, labels) == expected
        assert registry.get_sample_value(m.PUBLISHED.name, {"server": server}) == 0
        assert registry.get_sample_value(m.GATE_OPEN.name, {"server": server}) == 1
    assert registry.get_sample_value(m.GATE_HEARTBEAT_AGE.name, {"server": "R1"}) == pytest.approx(0.12)
    assert registry.get_sample_value(m.PUBLISH_QUEUE.name, {"server": "R1"}) == 7
    assert registry.get_sample_value(m.PUBLISH_QUEUE.name, {"server": "R2"}) == 0


def test_a_gate_that_never_heard_the_desk_ages() -> None:
    """-1 for "never" would look younger than any heartbeat, and GateBlind would stay silent."""
    registry = exported({"R1": FixedGate(snapshot("R1", is_open=False, age_ms=-1.0))}, LiveStats(SERVERS))
    first = registry.get_sample_value(m.GATE_HEARTBEAT_AGE.name, {"server": "R1"})
    time.sleep(0.05)
    assert 0 <= first < registry.get_sample_value(m.GATE_HEARTBEAT_AGE.name, {"server": "R1"})
    assert registry.get_sample_value(m.GATE_OPEN.name, {"server": "R1"}) == 0


@pytest.mark.parametrize(
    ("decision", "found", "reason"),
    [
        (Decision(False, "firm", "h1", "halted"), snapshot("R1"), "halt"),
        (Decision(False, reason="x"), snapshot("R1", caught_up=False), "catching_up"),
        (Decision(False, reason="x"), snapshot("R1"), "heartbeat"),
        (Decision(False, reason="x"), snapshot("R1", undecodable={"firm": "no JSON"}), "undecodable"),
    ],
)
def test_why_a_gate_refuses(decision: Decision, found: GateSnapshot, reason: str) -> None:
    assert block_reason(decision, FixedGate(found)) == reason


class Sink:
    """Takes what a run publishes."""

    def __init__(self) -> None:
        self.events = 0

    def publish(self, events: Any) -> None:
        self.events += len(events)

    def control(self, record: Any) -> None:
        return None


class StopsOne:
    """Gates of a run of two seconds of which R2's is shut from the start."""

    always_open = False

    def may_send(self, server: str, symbol: str, strategy: str, account: str, reducing: bool) -> bool:
        return server != "R2"

    def cancel_requests(self) -> list[tuple[str, str]]:
        return []

    def working(self, counts: dict[tuple[str, str], list[str]]) -> None:
        return None

    def node_gate(self, server: str) -> Gate:
        return Gate("ACTIVE")

    def block_reason(self, server: str) -> str:
        assert server == "R2"
        return "halt"


def test_a_run_counts_what_it_hands_over_blocks_and_has_working() -> None:
    scenario = scenarios.build("calm", 1, 3, 0.1)
    sink = Sink()
    run = LiveRun(scenario, sink, StopsOne(), speed=1_000.0)  # type: ignore[arg-type]
    stats = run.run()
    assert sum(stats.published.values()) == sink.events == stats.events > 0
    assert stats.blocked_by == {("R2", "halt"): stats.orders_blocked}
    assert stats.orders_blocked > 0
    assert stats.working["R2"] == 0, "nothing ever went out"
    assert stats.working["R1"] > 0
    assert np.array_equal(run.simulation.working_by_server, [stats.working[s] for s in scenario.servers])


def test_over_http() -> None:
    port = serve(RouterCollector({"R1": FixedGate(snapshot("R1"))}, LiveStats(("R1",)), Queue()), 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'knightwatch_orders_blocked_total{reason="halt",server="R1"} 0.0' in text
    with pytest.raises(OSError, match=r"[Aa]ddress"):
        serve(RouterCollector({}, LiveStats(()), Queue()), port)
