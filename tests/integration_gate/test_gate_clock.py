"""A gate on a machine that was stopped, or whose clock was set: nothing it heard before counts."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from halts import gate as shell
from halts.gate import HaltGate
from halts.gate_clock import Leaps, boot_ns

S_NS = 1_000_000_000


def test_utc_that_leaps_closes_until_the_desk_is_heard_again(
    new_gate: Callable[..., HaltGate], desk: Any, wait: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    gate = new_gate(on_change=lambda snapshot: closed.append(not snapshot.open))
    assert gate.wait_open(60)
    assert gate.state().counters["clock_leaps"] == 0
    closed.clear()
    monkeypatch.setattr(
        shell, "time", SimpleNamespace(time_ns=lambda: time.time_ns() - 10 * S_NS, monotonic=time.monotonic)
    )
    assert wait(lambda: gate.state().counters["clock_leaps"] == 1)
    assert wait(lambda: gate.is_open), "the desk goes on beating"
    assert gate.state().counters["clock_leaps"] == 1, "once a leap"


def test_leaps_are_what_no_slew_explains() -> None:
    leaps = Leaps(500)
    assert not leaps.moved(0, 10_000)
    assert not any(leaps.moved(n, 10_000 + n + n // 10) for n in range(0, 5_000, 100)), "slewed by a tenth"
    assert leaps.moved(5_000, 9_000)
    assert not leaps.moved(5_100, 9_100)


def test_the_clock_passes_while_the_machine_sleeps() -> None:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("this system has no such clock")
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before <= boot_ns() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
