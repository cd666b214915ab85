"""A live run has the clock's time: what it sends is neither older nor younger than its stamps say."""

import time
from typing import Any

import pytest

from producers import scenarios
from producers.gateway import BEHIND_NS_MAX, LiveRun
from schemas.units import MS_NS


class Sink:
    """Notes how long after its end each slice was handed over, ns."""

    def __init__(self) -> None:
        self.run: Any = None
        self.late: list[int] = []

    def publish(self, events: Any) -> None:
        self.late.append(time.time_ns() - self.run.simulation.now_ns)
        if len(self.late) == 120:
            self.run.stop()

    def control(self, record: Any) -> None:
        return None


def lateness(start_ns: int) -> list[int]:
    sink = Sink()
    scenario = scenarios.build("calm", 1, 2, 0.1, start_ns)
    sink.run = LiveRun(scenario, sink)  # type: ignore[arg-type]
    sink.run.run()
    return sink.late


def test_one_that_begins_soon_sends_nothing_before_its_time() -> None:
    assert min(lateness(time.time_ns() + 900 * MS_NS)) > -5 * MS_NS  # clocks are two


def test_what_was_lost_before_the_run_is_caught_up() -> None:
    assert min(lateness(time.time_ns() - 900 * MS_NS)) < 850 * MS_NS


@pytest.mark.parametrize("ago_ns", [2 * BEHIND_NS_MAX, -2 * BEHIND_NS_MAX])
def test_any_other_begins_at_once(ago_ns: int) -> None:
    assert abs(lateness(time.time_ns() - ago_ns)[0] - ago_ns) < BEHIND_NS_MAX
