"""The gate against a real Apache Kafka: opens only properly, closes in milliseconds, fails closed, acks in order."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from halts.gate import GateSnapshot, HaltGate
from schemas.records import HaltRecord, encode

pytestmark = pytest.mark.kafka

NewGate = Callable[..., HaltGate]
Wait = Callable[..., bool]


def test_closed_before_start_open_after_a_heartbeat_closed_after_close(kafka: str, topics: str, desk: Any) -> None:
    gate = HaltGate(kafka, server="R1", cancel_all=lambda h: 0, working=lambda h: 0, prefix=topics)
    assert "start()" in gate.may_send(symbol="ABC").reason
    with gate:
        assert gate.wait_open(60)
        assert gate.may_send(symbol="ABC", strategy="s", account="a")
        assert gate.node_gate().state == "ACTIVE"
        with pytest.raises(RuntimeError, match="new HaltGate"):
            gate.start()
    assert "shut down" in gate.may_send(symbol="ABC").reason
    assert gate.may_cancel() is True


def test_stays_closed_without_a_desk_however_long_the_log_is(new_gate: NewGate, desk: Any, wait: Wait) -> None:
    time.sleep(0.5)
    desk.beating.clear()
    time.sleep(0.3)
    gate = new_gate()
    assert wait(lambda: "heartbeat" in gate.may_send(symbol="ABC").reason), "caught up"
    assert not gate.wait_open(1.0)
    desk.beating.set()
    assert gate.wait_open(60)


def test_a_halt_closes_within_milliseconds_and_is_acked_in_order(new_gate: NewGate, desk: Any, wait: Wait) -> None:
    orders = {"A", "B", "C"}
    asked: list[HaltRecord] = []
    gate = new_gate(cancel_all=lambda h: asked.append(h) or set(orders), working=lambda h: set(orders))
    assert gate.wait_open(60)
    record = desk.say("server:R1", "HALTING")
    confirmed_by_broker = time.monotonic()
    assert wait(lambda: gate.may_send(symbol="ABC").halt_id == record.halt_id)
    assert time.monotonic() - confirmed_by_broker < 20.0, "a shared machine; benchmarks/gate.py has the figure"
    answer = gate.may_send(symbol="ABC")
    assert (answer.allowed, answer.scope) == (False, "server:R1")
    assert gate.may_cancel()
    assert wait(lambda: asked)
    assert len(desk.acks(2)) == 2, "not confirmed while orders are working"
    orders.clear()
    acks = desk.acks(3)
    assert [(a.status, a.working) for a in acks] == [("blocked", 0), ("cancelling", 3), ("confirmed", 0)]
    assert {(a.halt_id, a.epoch, a.server, a.scope) for a in acks} == {(record.halt_id, 1, "R1", "server:R1")}
    assert record.ts_decided <= acks[0].ts <= acks[1].ts <= acks[2].ts <= time.time_ns()
    desk.put("server:R1", encode(record)).get(30)
    assert len(desk.acks(4, timeout_s=1.0)) == 3, "the same record again is answered once"
    assert [h.halt_id for h in asked] == [record.halt_id]


def test_reopens_only_by_resume_and_only_for_reducing_orders_first(new_gate: NewGate, desk: Any, wait: Wait) -> None:
    gate = new_gate()
    assert gate.wait_open(60)
    desk.say("firm", "HALTING")
    assert wait(lambda: not gate.is_open)
    desk.say("firm", "HALTED")
    desk.say("firm", "WARNED")
    desk.say("firm", "ACTIVE", epoch=1)
    assert wait(lambda: gate.state().counters["untrusted"] == 1), "the last of them was read, and refused"
    assert not gate.may_send(symbol="ABC", reducing=True)
    assert gate.node_gate().state == "HALTED"
    desk.say("firm", "RESUMING", by="anna")
    assert wait(lambda: gate.may_send(symbol="ABC", reducing=True))
    assert not gate.may_send(symbol="ABC")
    desk.say("firm", "ACTIVE", by="anna")
    assert gate.wait_open(60)
    assert gate.may_send(symbol="ABC")


def test_halt_survives_a_restart_of_the_gate_which_answers_and_does_not_sweep_again(
    new_gate: NewGate, desk: Any, wait: Wait
) -> None:
    desk.say("symbol:ABC", "HALTING")
    desk.say("symbol:ABC", "HALTED")
    desk.say("symbol:XYZ", "HALTING")
    swept: list[str] = []
    gate = new_gate(cancel_all=lambda h: swept.append(h.scope))
    assert gate.wait_open(60)
    assert not gate.may_send(symbol="ABC")
    assert not gate.may_send(symbol="XYZ")
    assert gate.may_send(symbol="DEF")
    acks = [(a.scope, a.epoch, a.status) for a in desk.acks(5)]
    assert [a for a in acks if a[0] == "symbol:XYZ"] == [
        ("symbol:XYZ", 1, "blocked"),
        ("symbol:XYZ", 1, "cancelling"),
        ("symbol:XYZ", 1, "confirmed"),
    ]
    assert [a for a in acks if a[0] == "symbol:ABC"] == [("symbol:ABC", 2, "blocked"), ("symbol:ABC", 2, "confirmed")]
    assert swept == ["symbol:XYZ"]


def test_fails_closed_when_heartbeats_stop_and_opens_when_they_return(new_gate: NewGate, desk: Any, wait: Wait) -> None:
    changes: list[GateSnapshot] = []
    gate = new_gate(on_change=changes.append, fail_closed_after_ms=1_000)
    assert gate.wait_open(60)
    desk.beating.clear()
    stopped = time.monotonic()
    assert wait(lambda: not gate.may_send(symbol="ABC"))
    assert 0.8 <= time.monotonic() - stopped <= 20.0
    assert "no heartbeat" in gate.may_send(symbol="ABC").reason
    assert gate.node_gate().state == "CLOSED"
    assert wait(lambda: not changes[-1].open), "told, not only asked"
    desk.beating.set()
    assert gate.wait_open(60)
    assert wait(lambda: changes[-1].open)


def test_garbage_on_halts_closes_until_repaired(new_gate: NewGate, desk: Any, wait: Wait) -> None:
    gate = new_gate()
    assert gate.wait_open(60)
    desk.put("symbol:ABC", b"\x00garbage").get(30)
    assert wait(lambda: not gate.may_send(symbol="DEF"))
    assert "symbol:ABC" in gate.may_send(symbol="DEF").reason
    assert not gate.wait_open(0.5), "heartbeats do not repair it"
    again = new_gate()
    assert not again.wait_open(1.5), "nor does a restart"
    assert wait(lambda: list(again.state().undecodable) == ["symbol:ABC"])
    desk.say("symbol:ABC", "ACTIVE")
    assert gate.wait_open(60)
    assert again.wait_open(60)


def test_a_hook_that_raises_leaves_it_blocked_and_says_so(new_gate: NewGate, desk: Any, wait: Wait) -> None:
    def broken(halt: HaltRecord) -> int:
        raise OSError("venue session is gone")

    orders = ["A"]
    gate = new_gate(cancel_all=broken, working=lambda h: list(orders))
    assert gate.wait_open(60)
    desk.say("firm", "HALTING")
    acks = desk.acks(2)[:2]
    assert [(a.status, a.working) for a in acks] == [("blocked", 0), ("cancelling", 1)]
    assert not gate.may_send(symbol="ABC")
    acks = desk.acks(3)
    assert (acks[2].status, acks[2].orders) == ("cancelling", ("A",)), "never answered, and named"
    assert gate.state().counters["hook_failures"] >= 1
    orders.clear()
    assert desk.acks(4)[3].status == "confirmed"


def test_a_hook_that_hangs_closes_the_gate_wholly(new_gate: NewGate, desk: Any, wait: Wait) -> None:
    release = threading.Event()
    gate = new_gate(cancel_all=lambda h: release.wait(20) and None, hook_ms_max=200)
    assert gate.wait_open(60)
    desk.say("symbol:ABC", "HALTING")
    assert wait(lambda: not gate.may_send(symbol="ABC"))
    assert wait(lambda: not gate.may_send(symbol="DEF")), "deaf: a firm halt could not be heard now"
    assert "hook" in gate.may_send(symbol="DEF").reason
    release.set()
    assert wait(lambda: gate.may_send(symbol="DEF"))
    assert not gate.may_send(symbol="ABC")


def test_missing_topics_keep_it_closed_and_it_recovers_when_they_appear(
    topic_prefix: str, new_gate: NewGate, late_desk: Callable[[str], Any], wait: Wait
) -> None:
    gate = new_gate(prefix=topic_prefix + "absent-")
    assert not gate.wait_open(2)
    assert wait(lambda: gate.state().counters["connection_failures"] >= 1)
    assert not gate.may_send(symbol="ABC")
    late_desk("absent-")
    assert gate.wait_open(60)


def test_from_threads_and_from_an_event_loop(new_gate: NewGate, desk: Any, wait: Wait) -> None:
    gate = new_gate()
    assert gate.wait_open(60)
    errors: list[BaseException] = []
    after_close: list[bool] = []
    closed = threading.Event()

    def hammer() -> None:
        try:
            while not closed.is_set():
                gate.may_send(symbol="ABC", strategy="s", account="a")
            after_close.append(gate.may_send(symbol="ABC").allowed)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()

    async def ask() -> bool:
        return await asyncio.to_thread(gate.wait_open, 60) and bool(gate.may_send(symbol="ABC"))

    assert asyncio.run(ask())
    desk.say("firm", "HALTING")
    assert wait(lambda: not gate.is_open)
    closed.set()
    for thread in threads:
        thread.join(10)
    assert not errors
    assert after_close == [False] * 3
