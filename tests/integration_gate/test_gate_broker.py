"""The broker dies. The gate closes, and comes back only when everything that happened meanwhile has been read."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from halts.gate import HaltGate

pytestmark = pytest.mark.kafka


def test_no_broker_at_all_is_closed_and_closes_quickly() -> None:
    gate = HaltGate("127.0.0.1:9", server="R1", cancel_all=lambda h: 0, working=lambda h: 0)
    with gate:
        assert not gate.wait_open(1.0)
        assert not gate.may_send(symbol="ABC")
        started = time.monotonic()
    assert time.monotonic() - started < 15


def test_killed_and_restarted_broker(broker_of_its_own: tuple[Any, str, Any], wait: Callable[..., bool]) -> None:
    broker, prefix, desk = broker_of_its_own
    orders = {"A"}
    with HaltGate(
        broker.bootstrap,
        server="R1",
        cancel_all=lambda h: orders.clear(),
        working=lambda h: len(orders),
        prefix=prefix,
        fail_closed_after_ms=1_000,
    ) as gate:
        assert gate.wait_open(60)
        broker.kill()
        killed = time.monotonic()
        assert wait(lambda: not gate.may_send(symbol="ABC"))
        assert time.monotonic() - killed < 15.0
        assert gate.may_cancel()
        time.sleep(2)
        assert not gate.is_open
        desk.beating.clear()
        broker.start()
        record = desk.say("symbol:ABC", "HALTING")
        assert not gate.is_open
        desk.beating.set()
        assert gate.wait_open(60)
        assert gate.may_send(symbol="XYZ")
        assert gate.may_send(symbol="ABC").halt_id == record.halt_id
        assert [a.status for a in desk.acks(3)] == ["blocked", "cancelling", "confirmed"]
        assert gate.state().counters["connections"] >= 1
