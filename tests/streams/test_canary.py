"""The kill path measured stage by stage, and a canary that comes back or is missed."""

import pytest

from schemas.records import Ack, HaltRecord, Money, State
from schemas.scopes import CANARY
from schemas.units import MS_NS, S_NS
from streams.canary import Canary
from streams.kill_path import KillPath
from streams.metrics import Meter


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(state: State, scope: str = "server:R1", halt_id: str = "h1", ts: int = 100 * S_NS) -> HaltRecord:
    return HaltRecord(halt_id, 1, scope, state, "block", ts, ts, (), "t", Money(), "desk")


class Bench:
    """A kill path on a clock of our own, and what it told Prometheus."""

    def __init__(self) -> None:
        self.clock = Clock()
        meter = Meter()
        self.value = meter.registry.get_sample_value
        self.path = KillPath(meter.series, self.clock, self.clock)
        self.path.begin()

    def stage(self, stage: str) -> tuple[float | None, float | None]:
        """How often, and how many seconds in all."""
        labels = {"stage": stage}
        return (
            self.value("knightwatch_latency_seconds_count", labels),
            self.value("knightwatch_latency_seconds_sum", labels),
        )


def test_stages_by_one_clock_each() -> None:
    bench = Bench()
    bench.path.halt(record("HALTING", "symbol:A"))
    far = 7_000 * S_NS  # a router whose clock is hours off distorts nothing
    bench.clock.now += 0.020
    bench.path.ack(Ack("R1", far, "h1", "symbol:A", 1, "blocked"))
    bench.clock.now += 0.010
    bench.path.ack(Ack("R2", 5, "h1", "symbol:A", 1, "blocked"))
    bench.path.ack(Ack("R1", far, "h1", "symbol:A", 1, "blocked"))  # told again
    bench.path.ack(Ack("R1", far + 30 * MS_NS, "h1", "symbol:A", 1, "cancelling"))
    bench.path.ack(Ack("R1", far + 50 * MS_NS, "h1", "symbol:A", 1, "confirmed"))
    assert bench.stage("halt_to_blocked") == (2, pytest.approx(0.050))
    assert bench.stage("blocked_to_confirmed") == (1, pytest.approx(0.050))


def test_acks_of_another_halt_or_after_the_resume_count_nothing() -> None:
    bench = Bench()
    bench.path.halt(record("HALTING"))
    bench.path.ack(Ack("R1", 5, "h0", "server:R1", 1, "blocked"))
    bench.path.halt(record("RESUMING"))
    bench.path.ack(Ack("R1", 5, "h1", "server:R1", 1, "blocked"))
    assert bench.stage("halt_to_blocked") == (0, 0)


def test_a_probe_that_comes_back_and_one_that_does_not() -> None:
    bench = Bench()
    assert bench.value("knightwatch_canary_timestamp_seconds") is None, "no claim before the first came back"
    bench.path.halt(record("HALTING", CANARY))
    bench.clock.now += 0.040
    bench.path.halt(record("HALTED", CANARY))
    bench.path.halt(record("ACTIVE", CANARY))
    assert bench.value("knightwatch_canary_seconds_sum") == pytest.approx(0.040)
    assert bench.value("knightwatch_canary_timestamp_seconds") == pytest.approx(100.040)
    bench.path.halt(record("HALTING", CANARY))
    bench.clock.now += 2
    bench.path.halt(record("ACTIVE", CANARY))
    assert bench.value("knightwatch_canary_seconds_count") == 1
    assert bench.value("knightwatch_canary_failures_total") == 1
    assert bench.value("knightwatch_canary_timestamp_seconds") == pytest.approx(100.040)
    assert bench.stage("halt_to_blocked") == (0, 0), "the canary is not among real halts"


def test_the_first_probe_comes_soon_then_one_each_interval() -> None:
    clock = Clock()
    canary = Canary("127.0.0.1:1", 60_000, clock=clock)
    due = []
    for _ in range(1_250):
        clock.now += 0.1
        if canary.due():
            due.append(round(clock.now - 100, 1))
    assert due == pytest.approx([2.0, 62.0, 122.0], abs=0.5)
