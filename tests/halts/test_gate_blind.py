"""Every way in which a gate can be blind, one by one: each closes it, and it says which. docs/security.md lists them."""

import asyncio
import doctest
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from halts import gate as shell
from halts import gate_acks, gate_clock, gate_security, gate_state, gate_throttle
from halts.gate import HaltGate
from halts.gate_io import Raw
from halts.gate_throttle import Throttle
from schemas import security
from schemas.records import HaltRecord, Heartbeat, encode
from schemas.units import S_NS
from tests.halts.gate_log import BEAT, FAIL, SKEW, Log, halt, opened

# --- what the fold of halts can be blind to: (how it becomes so, what it says) ----------------------------------------


def never_connected(log: Log) -> None:
    log.state = gate_state.GateState("R1", fail_closed_after_ns=FAIL, clock_skew_ns_max=SKEW)


def not_caught_up(log: Log) -> None:
    log.state.connected(0, log.offset + 5)


def caught_up_but_unheard(log: Log) -> None:
    log.state.connected(0, log.offset)


def silent(log: Log) -> None:
    log.mono += FAIL


def lost(log: Log) -> None:
    log.state.lost()


def desk_far_behind(log: Log) -> None:
    silent(log)
    log.beat(age_ns=FAIL + SKEW)


def own_clock_ahead(log: Log) -> None:
    silent(log)
    log.utc += FAIL + SKEW
    log.put(BEAT, encode(Heartbeat(log.utc - FAIL - SKEW, 99, 1)))


def heard_again(log: Log) -> None:
    beat = encode(Heartbeat(log.utc, 50, 1))
    log.put(BEAT, beat)
    log.mono += FAIL
    log.put(BEAT, beat)


def only_a_replaced_desk(log: Log) -> None:
    log.beat(generation=5)
    log.mono += FAIL
    log.beat(generation=4)


def cut_short(log: Log) -> None:
    for _ in range(9):
        log.beat()
    log.offset = log.state.connected(0, 2)
    log.beat()


def garbled(log: Log) -> None:
    log.put(b"symbol:XYZ", b"\x00")


def a_key_that_is_no_scope(log: Log) -> None:
    log.put(b"nobody", encode(halt()))


def an_epoch_that_goes_back(log: Log) -> None:
    log.halt(halt("symbol:XYZ", "ACTIVE", epoch=5))
    log.halt(halt("symbol:XYZ", "WARNED", epoch=4))


def an_unknown_version(log: Log) -> None:
    log.halt(halt("symbol:XYZ", "ACTIVE", v=2))


def read_by_nobody(log: Log) -> None:
    log.put(BEAT, encode(Heartbeat(log.utc, 60, 1, partitions=1, unwatched=(0,))))


BLIND: dict[Callable[[Log], None], str] = {
    never_connected: "not connected to halts",
    not_caught_up: "not yet caught up with halts",
    caught_up_but_unheard: "no heartbeat of the desk",
    silent: "no heartbeat of the desk",
    lost: "not connected to halts",
    desk_far_behind: "no heartbeat of the desk",
    own_clock_ahead: "no heartbeat of the desk",
    heard_again: "no heartbeat of the desk",
    only_a_replaced_desk: "no heartbeat of the desk",
    read_by_nobody: "no worker reads this router's orders",
    cut_short: "truncated or made anew",
    garbled: "cannot be used",
    a_key_that_is_no_scope: "cannot be used",
    an_epoch_that_goes_back: "no desk goes back",
    an_unknown_version: "v=2",
}


@pytest.mark.parametrize("blinded", BLIND, ids=lambda f: f.__name__)
def test_blind_is_closed_and_says_why(blinded: Callable[[Log], None]) -> None:
    log = opened()
    blinded(log)
    for reducing in (False, True):
        answer = log.ask(reducing=reducing)
        assert not answer
        assert BLIND[blinded] in answer.reason


# --- what the shell can be blind to -----------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[HaltGate]:
    """A gate without a broker, which the test feeds."""
    gate = HaltGate(
        "127.0.0.1:1", server="R1", cancel_all=lambda _: 0, working=lambda _: 0, fail_closed_after_ms=60_000
    )
    yield gate
    gate.close()


class Fed:
    """Feeds a gate as its thread would."""

    def __init__(self, gate: HaltGate) -> None:
        self.gate, self.offset = gate, gate._state.connected(0, 0)

    def take(self, *records: HaltRecord | Heartbeat) -> None:
        raw = []
        for record in records:
            name = BEAT if isinstance(record, Heartbeat) else record.scope.encode()
            raw.append(Raw(self.offset, name, encode(record)))
            self.offset += 1
        self.gate._take(raw)

    def beat(self) -> None:
        self.take(Heartbeat(time.time_ns(), self.offset, 1))


def open_(gate: HaltGate) -> Fed:
    fed = Fed(gate)
    fed.beat()
    assert gate.may_send(symbol="A")
    return fed


def test_not_started(gate: HaltGate) -> None:
    assert "has not been started" in gate.may_send(symbol="A").reason


def test_shut_down_by_its_owner(gate: HaltGate) -> None:
    fed = open_(gate)
    gate.close()
    assert "shut down by its owner" in gate.may_send(symbol="A").reason
    fed.beat()
    assert not gate.may_send(symbol="A"), "a late thread opens nothing"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_its_thread_has_died(gate: HaltGate, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: HaltGate) -> None:
        open_(self)
        raise SystemExit

    monkeypatch.setattr(HaltGate, "_session", die)
    gate.start()
    assert gate._thread is not None
    gate._thread.join(10)
    assert "thread has ended" in gate.may_send(symbol="A").reason


def test_a_session_that_fails_closes_before_the_next_begins(gate: HaltGate, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise PermissionError("halts may not be read")

    monkeypatch.setattr(shell, "Link", no_link)
    gate.start()
    time.sleep(0.2)
    assert "not connected to halts" in gate.may_send(symbol="A").reason
    assert gate.state().counters["connection_failures"] >= 1


def test_a_hook_of_the_router_holds_the_thread_up(gate: HaltGate) -> None:
    fed, inside, go = open_(gate), threading.Event(), threading.Event()

    def stuck(_: HaltRecord) -> int:
        inside.set()
        go.wait(10)
        return 0

    gate._cancel_all = stuck
    fed.take(halt("symbol:XYZ"))
    worker = threading.Thread(target=gate._work, args=(None,))
    worker.start()
    assert inside.wait(10)
    end = time.monotonic() + 10
    while gate.may_send(symbol="A") and time.monotonic() < end:
        time.sleep(0.01)
    assert "kept the gate from listening" in gate.may_send(symbol="A").reason
    go.set()
    worker.join(10)
    assert gate.may_send(symbol="A")


def test_an_order_that_does_not_say_what_it_is_for(gate: HaltGate) -> None:
    fed = open_(gate)
    fed.take(halt("strategy:s"), halt("account:a"))
    assert gate.may_send(symbol="A", strategy="t", account="b")
    assert "does not name its strategy" in gate.may_send(symbol="A", account="b").reason
    assert "does not name its account" in gate.may_send(symbol="A", strategy="t").reason


# --- what always passes, and what passes at a cut of the rate --------------------------------------------------------


def test_cancels_always_pass(gate: HaltGate) -> None:
    assert gate.may_cancel()
    fed = open_(gate)
    fed.take(halt("firm", "HALTED"))
    assert not gate.may_send(symbol="A", reducing=True)
    assert gate.may_cancel()
    gate.close()
    assert gate.may_cancel()


def test_resuming_lets_reducing_orders_through_then_a_cut_of_the_rate(gate: HaltGate) -> None:
    fed = open_(gate)
    fed.take(halt("firm", "RESUMING", 2, by="ann, bob"))
    assert gate.may_send(symbol="A", reducing=True)
    assert not gate.may_send(symbol="A")
    fed.take(halt("firm", "RESUMING", 3, orders_per_s_max=50.0))
    assert not gate.may_send(symbol="A"), "nothing is saved up before the stage began"
    time.sleep(0.1)
    sent = sum(bool(gate.may_send(symbol="A")) for _ in range(1_000))
    assert 1 <= sent < 60
    assert "50 orders a second" in gate.may_send(symbol="A").reason
    fed.take(halt("firm", "RESUMING", 3, orders_per_s_max=50.0))
    assert not gate.may_send(symbol="A"), "told again, the stage does not begin anew"
    fed.take(halt("firm", "HALTING", 4, halt_id="h2"))
    time.sleep(0.1)
    assert not gate.may_send(symbol="A", reducing=True)


# --- threads and event loops ------------------------------------------------------------------------------------------


def test_no_thread_sends_after_the_gate_has_swapped(gate: HaltGate) -> None:
    fed, closed, stop, wrong, asked = open_(gate), threading.Event(), threading.Event(), [], [0] * 4

    def router(n: int) -> None:
        while not stop.is_set():
            was_closed = closed.is_set()  # before asking: what closed earlier must be seen
            answer = gate.may_send(symbol="A", strategy="s", account="a")
            asked[n] += 1
            if was_closed and answer and closed.is_set():
                wrong.append(answer)

    threads = [threading.Thread(target=router, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for epoch in range(1, 60, 2):
        fed.take(halt("firm", "HALTING", epoch, halt_id=f"h{epoch}"))
        closed.set()
        time.sleep(0.0005)
        closed.clear()
        fed.take(halt("firm", "ACTIVE", epoch + 1, by="ann, bob"))
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not wrong
    assert min(asked) > 0


def test_an_event_loop_asks_while_the_thread_swaps(gate: HaltGate) -> None:
    fed = open_(gate)

    async def router() -> int:
        passed = 0
        for _ in range(200):
            passed += bool(gate.may_send(symbol="A", strategy="s", account="a"))
            await asyncio.sleep(0)
        return passed

    async def both() -> tuple[list[int], list[int]]:
        before = await asyncio.gather(*(router() for _ in range(10)))
        await asyncio.to_thread(fed.take, halt("firm"))
        return before, await asyncio.gather(*(router() for _ in range(10)))

    before, after = asyncio.run(both())
    assert before == [200] * 10
    assert after == [0] * 10


def test_a_throttle_under_threads_gives_each_token_once() -> None:
    throttle, passed = Throttle(1_000.0), []
    throttle.take(0)
    now = S_NS // 2

    def ask() -> None:
        passed.extend(1 for _ in range(1_000) if throttle.take(now))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 500


@pytest.mark.parametrize(
    "module", [gate_state, gate_acks, gate_throttle, gate_clock, gate_security, security], ids=lambda m: m.__name__
)
def test_examples_in_docstrings(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0
