"""Garbage on ``halts`` closes the gate, and only a valid record under the same key repairs it."""

import pytest

from schemas.records import Money, encode
from tests.halts.gate_log import BEAT, halt, opened


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, encode(halt(state="STOPPED")), encode(halt(action="explode")),
     encode(halt(scope="server:R9")), encode(halt(v=2)), encode(halt(epoch=-1)), encode(halt(generation=-1)),
     encode(halt()).replace(b'"epoch":1', b'"epoch":"1"')],
)  # fmt: skip
def test_garbage_closes_until_a_valid_record_stands_under_the_same_key(value: bytes) -> None:
    log = opened()
    log.put(b"server:R1", value)
    answer = log.ask()
    assert not answer
    assert "cannot be used" in answer.reason
    log.beat()
    log.halt(halt(scope="firm", state="ACTIVE"))
    assert not log.ask(), "a heartbeat or another scope does not repair it"
    log.put(b"server:R1", None)
    assert not log.ask(), "a tombstone may hide a halt that could not be read"
    log.halt(halt(state="ACTIVE"))
    assert log.ask()
    assert log.state.counters.undecodable == 1


def test_an_older_record_does_not_repair_garbage_but_the_same_record_again_does() -> None:
    log = opened()
    known = halt(state="ACTIVE", epoch=4)
    log.halt(known)
    log.put(b"server:R1", b"?")
    log.halt(halt(state="ACTIVE", epoch=3))
    assert not log.ask()
    log.halt(halt(state="ACTIVE", epoch=4, money=Money(loss_usd=5.0)))
    assert log.ask()
    assert log.state.records["server:R1"].money.loss_usd == 5.0, "told again with more money in it"
    assert log.state.counters.stale_epoch == 2


def test_garbage_under_the_heartbeat_key_is_repaired_by_the_next_heartbeat() -> None:
    log = opened()
    log.put(BEAT, encode(halt()))
    assert not log.ask()
    log.beat()
    assert log.ask()


@pytest.mark.parametrize("key", [b"nonsense", b"server:", b"\xff", None])
def test_a_key_that_is_no_scope_closes_until_its_tombstone(key: bytes | None) -> None:
    log = opened()
    log.put(key, encode(halt()))
    assert not log.ask()
    log.put(key, None)
    assert log.ask()
