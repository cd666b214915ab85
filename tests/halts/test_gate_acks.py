"""What a gate owes for a halt: order, once, bounded, and never after the scope is free again."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halts.gate_acks import (
    ANSWER_NS,
    CANCEL_AGAIN_NS,
    CANCEL_ATTEMPTS_MAX,
    ORDERS_MAX,
    WORKING_POLL_NS,
    Sweeps,
    Working,
    as_working,
)
from schemas.records import Ack, HaltRecord, Money
from schemas.units import MS_NS, S_NS


def halt(scope: str = "server:R1", state: str = "HALTING", epoch: int = 1, **other: Any) -> HaltRecord:
    fields: dict[str, Any] = {
        "halt_id": "h1", "action": "block_and_cancel", "ts_event": 1, "ts_decided": 1, "cause": (), "text": "t",
        "money": Money(), "by": "desk",
    }  # fmt: skip
    return HaltRecord(scope=scope, state=state, epoch=epoch, **(fields | other))  # type: ignore[arg-type]


class Router:
    """Orders and a clock that the test moves."""

    def __init__(self, *orders: str, cancels: bool = True) -> None:
        self.orders = list(orders)
        self.obeys = cancels
        self.calls: list[str] = []
        self.fails = 0
        self.now = 0
        self.sweeps = Sweeps("R1")

    def cancel(self, record: HaltRecord) -> Working | None:
        self.calls.append(record.scope)
        if self.fails:
            self.fails -= 1
            return None
        asked = tuple(self.orders)
        if self.obeys:
            self.orders.clear()
        return Working(len(asked), asked)

    def working(self, record: HaltRecord) -> Working | None:
        return Working(len(self.orders), tuple(self.orders))

    def run(self, duration_ns: int, step_ns: int = 5 * MS_NS) -> list[Ack]:
        acks, end = [], self.now + duration_ns
        while self.now < end:
            acks += self.sweeps.step(self.now, lambda: self.now, self.cancel, self.working)
            self.now += step_ns
        return acks


def brief(acks: list[Ack]) -> list[tuple[str, int]]:
    return [(ack.status, ack.working) for ack in acks]


def test_blocked_then_cancelling_then_confirmed() -> None:
    router = Router("A", "B", cancels=False)
    first = router.sweeps.accept(halt(), 0, 77)
    assert first is not None
    assert (first.status, first.ts, first.server, first.scope, first.epoch) == ("blocked", 77, "R1", "server:R1", 1)
    assert brief(router.run(100 * MS_NS)) == [("cancelling", 2)]
    assert router.sweeps.pending == {"server:R1": 2}
    router.orders.pop()
    assert brief(router.run(100 * MS_NS)) == []
    router.orders.pop()
    acks = router.run(100 * MS_NS)
    assert brief(acks) == [("confirmed", 0)]
    assert router.sweeps.pending == {}
    assert router.run(10 * S_NS) == []
    assert router.calls == ["server:R1"]


def test_confirmed_needs_two_looks_so_that_an_order_on_its_way_is_seen() -> None:
    router = Router()
    router.sweeps.accept(halt(), 0, 0)
    assert brief(router.sweeps.step(0, lambda: 0, router.cancel, router.working)) == [("cancelling", 0)]
    router.orders.append("late")
    router.now = WORKING_POLL_NS
    assert router.run(WORKING_POLL_NS) == []
    assert brief(router.run(2 * S_NS)) == [("confirmed", 0)], "the late order was cancelled by a second call"
    assert len(router.calls) == 2


def test_orders_that_stay_are_listed_once_and_the_cancels_are_bounded() -> None:
    router = Router(*(f"o{n}" for n in range(250)), cancels=False)
    router.sweeps.accept(halt(), 0, 0)
    acks = router.run(20 * S_NS, 50 * MS_NS)
    assert brief(acks) == [("cancelling", 250), ("cancelling", 250)]
    assert acks[1].ts >= ANSWER_NS
    assert acks[1].orders == tuple(f"o{n}" for n in range(ORDERS_MAX))
    assert len(router.calls) == CANCEL_ATTEMPTS_MAX
    router.orders.clear()
    assert brief(router.run(1 * S_NS)) == [("confirmed", 0)]


def test_a_hook_that_fails_is_called_again_and_nothing_is_confirmed_meanwhile() -> None:
    router = Router("A")
    router.fails = 1
    router.sweeps.accept(halt(), 0, 0)
    assert brief(router.run(CANCEL_AGAIN_NS - 1)) == [("cancelling", 1)]
    assert brief(router.run(CANCEL_AGAIN_NS)) == [("confirmed", 0)]
    router = Router()
    router.sweeps.accept(halt(), 0, 0)
    acks = []
    for now in range(0, 4 * S_NS, 10 * MS_NS):
        acks += router.sweeps.step(now, lambda: 0, router.cancel, lambda record: None)
    assert {ack.status for ack in acks} == {"cancelling"}


@pytest.mark.parametrize("action", ["block", "reduce_only"])
def test_a_block_does_not_cancel_and_is_confirmed_when_the_orders_have_ended_by_themselves(action: str) -> None:
    router = Router("A", cancels=False)
    assert router.sweeps.accept(halt(action=action), 0, 0) is not None
    assert router.run(5 * S_NS, 50 * MS_NS) == []
    router.orders.clear()
    assert brief(router.run(1 * S_NS)) == [("confirmed", 0)]
    assert router.calls == []


def test_another_servers_halt_is_not_ours_and_every_shared_scope_is() -> None:
    sweeps = Sweeps("R1")
    assert sweeps.accept(halt("server:R2"), 0, 0) is None
    for scope in ("server:R1", "firm", "symbol:S", "strategy:S", "account:S"):
        assert sweeps.accept(halt(scope, halt_id=scope), 0, 0) is not None


def test_the_end_of_the_halt_ends_the_sweep() -> None:
    router = Router("A", cancels=False)
    router.sweeps.accept(halt(), 0, 0)
    router.run(100 * MS_NS)
    router.sweeps.accept(halt(state="RESUMING", epoch=2), 0, 0)
    assert router.run(5 * S_NS, 50 * MS_NS) == []
    assert len(router.calls) == 1, "a late cancel would hit the orders of a resumed router"


def test_halted_asks_for_nothing_unless_its_halting_was_missed() -> None:
    router = Router("A", cancels=False)
    router.sweeps.accept(halt(), 0, 0)
    router.run(100 * MS_NS)
    assert router.sweeps.accept(halt(state="HALTED", epoch=2), 0, 0) is None
    assert router.sweeps.pending == {"server:R1": 1}, "still owed under the first epoch"


def test_a_gate_that_was_away_answers_halted_and_cancels_only_what_it_finds() -> None:
    router = Router()
    assert router.sweeps.accept(halt(state="HALTED", epoch=2), 0, 0) is not None
    assert brief(router.run(1 * S_NS)) == [("confirmed", 0)]
    assert router.calls == [], "the sweep before the restart is not done again"
    router = Router("A")
    assert router.sweeps.accept(halt(state="HALTED", epoch=2), 0, 0) is not None
    assert brief(router.run(1 * S_NS)) == [("cancelling", 0), ("confirmed", 0)]
    assert router.calls == ["server:R1"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.builds(
                halt,
                scope=st.sampled_from(["firm", "server:R1", "symbol:S"]),
                state=st.sampled_from(["HALTING", "HALTED", "RESUMING", "ACTIVE"]),
                epoch=st.integers(1, 4),
                halt_id=st.sampled_from(["h1", "h2"]),
            ),
            st.integers(0, 300),
        ),
        max_size=12,
    )
)
def test_each_halt_and_epoch_is_answered_in_order_and_once(steps: list[tuple[HaltRecord, int]]) -> None:
    router, acks = Router("A"), []
    looked: set[tuple[str, int]] = set()
    for record, ms in steps:
        first = router.sweeps.accept(record, router.now, router.now)
        acks += [first] if first else []
        if first and record.state == "HALTED":
            looked.add((record.halt_id, record.epoch))
        acks += router.run(ms * MS_NS)
    by_halt: dict[tuple[str, int], list[str]] = {}
    for ack in acks:
        by_halt.setdefault((ack.halt_id, ack.epoch), []).append(ack.status)
    for answered, statuses in by_halt.items():
        quiet = answered in looked and "cancelling" not in statuses
        whole = ["blocked", "confirmed"] if quiet else ["blocked", "cancelling", "confirmed"]
        assert statuses == whole[: len(statuses)], by_halt


def test_answers_of_hooks() -> None:
    assert as_working(order for order in ("A", "B")) == Working(2, ("A", "B"))
    assert as_working({"A": 1}) == Working(1, ("A",))
    assert as_working(0) == Working(0)
    for wrong in (None, "A", b"A", -1, 1.5, object()):
        assert as_working(wrong) is None
