"""What a gate believes. The laws first (nothing opens without authority; compaction changes nothing), then examples."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halts import gate_state
from halts.gate_state import Decision, GateState, View, severity
from schemas.records import HaltRecord, Heartbeat, encode
from schemas.units import S_NS
from tests.halts.gate_log import BEAT, FAIL, SKEW, UTC, Log, halt, opened

# --- laws ------------------------------------------------------------------------------------------------------------

SCOPES = ("firm", "server:R1", "server:R2", "symbol:ABC", "strategy:s", "account:a")
records = st.builds(
    halt,
    scope=st.sampled_from(SCOPES),
    state=st.sampled_from(["ACTIVE", "WARNED", "HALTING", "HALTED", "RESUMING"]),
    epoch=st.integers(0, 5),
    halt_id=st.sampled_from(["h1", "h2"]),
    action=st.sampled_from(["block_and_cancel", "block", "reduce_only"]),
    by=st.sampled_from(["", "desk", "anna"]),
    generation=st.integers(0, 3),
)
beats = st.builds(
    lambda age, generation: (BEAT, encode(Heartbeat(UTC - age, 0, generation))),
    st.sampled_from([0, FAIL, FAIL + SKEW - 1, FAIL + SKEW, 10**12]),
    st.integers(0, 3),
)
keys = st.sampled_from([s.encode() for s in SCOPES] + [BEAT, b"nonsense", b"\xff", None])
garbage = st.tuples(keys, st.one_of(st.none(), st.binary(max_size=12), st.just(encode(halt(scope="symbol:XYZ")))))
anything = st.one_of(records.map(lambda r: (r.scope.encode(), encode(r))), beats, garbage)


def read(value: bytes | None, kind: Any) -> Any:
    try:
        return msgspec.json.decode(value or b"", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


@settings(max_examples=400, deadline=None)
@given(st.lists(anything, max_size=30), st.integers(0, 20))
def test_nothing_opens_without_an_authorised_newer_record_or_a_fresh_heartbeat(
    entries: list[tuple[bytes | None, bytes | None]], end: int
) -> None:
    log, generation, epochs = Log(0, end), 0, dict.fromkeys(SCOPES, -1)
    for key, value in entries:
        before, offset = log.ask(), log.offset
        log.put(key, value)
        after = log.ask()
        said = read(value, Heartbeat) if key == BEAT else read(value, HaltRecord)
        valid = said is not None and (key == BEAT or said.scope == (key or b"").decode(errors="replace"))
        if after and not before:
            assert valid, "opened by what does not decode, or by a tombstone"
            assert said.generation >= generation, "opened by a fenced desk"
            if key == BEAT:
                assert offset >= end, "opened before it had caught up"
                assert UTC - said.ts < FAIL + SKEW, "opened by an old heartbeat"
            elif before.halt_id:
                assert said.state in ("RESUMING", "ACTIVE") or said.action == "reduce_only", said.state
                assert said.epoch > epochs[said.scope]
                assert said.by
        if valid and said.generation >= generation:
            generation = said.generation
            if key != BEAT and log.state.records.get(said.scope) == said:
                epochs[said.scope] = said.epoch


@settings(max_examples=200, deadline=None)
@given(st.lists(anything, max_size=30))
def test_reading_it_all_again_changes_nothing(entries: list[tuple[bytes | None, bytes | None]]) -> None:
    log = Log()
    for _ in range(2):
        for key, value in entries:
            log.put(key, value)
        kept = dict(log.state.records)
    once = Log()
    for key, value in entries:
        once.put(key, value)
    for scope, record in once.state.records.items():
        assert severity(kept[scope]) >= severity(record) or kept[scope].epoch >= record.epoch
        assert kept[scope].epoch >= record.epoch


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SCOPES), st.sampled_from(["HALTING", "HALTED", "RESUMING", "ACTIVE"]))))
def test_compaction_changes_nothing(steps: list[tuple[str, str]]) -> None:
    """A legal log (epochs grow) and the same log with only the last record of each key block the same."""
    legal = [halt(scope=scope, state=state, epoch=n) for n, (scope, state) in enumerate(steps)]
    whole, compacted = Log(), Log()
    for record in legal:
        whole.halt(record)
    last = {record.scope: n for n, record in enumerate(legal)}
    for n in sorted(last.values()):
        compacted.halt(legal[n])
    assert whole.state.records == compacted.state.records
    assert whole.state.view() == compacted.state.view()


# --- freshness -------------------------------------------------------------------------------------------------------


def test_closed_until_a_heartbeat_that_is_newer_than_the_log_was_at_connection() -> None:
    log = Log(0, 3)
    for _ in range(3):
        log.beat()
        assert not log.ask()
    assert log.state.caught_up
    log.beat()
    assert log.ask()


def test_closes_by_local_reception_and_by_the_heartbeats_own_time() -> None:
    log = opened()
    log.mono += FAIL - 1
    assert log.ask()
    log.mono += 1
    assert "no heartbeat" in log.ask().reason
    log = Log()
    log.beat(age_ns=FAIL + SKEW - 10)
    assert log.ask()
    log.mono += 10
    assert not log.ask(), "the desk has not worked off its input for longer than allowed"
    log = Log()
    log.beat(age_ns=FAIL + SKEW)
    assert not log.ask()
    assert log.state.counters.heartbeats_old == 1


def test_a_heartbeat_from_the_future_opens_no_longer_than_reception_allows() -> None:
    log = Log()
    log.beat(age_ns=-3600 * S_NS)
    log.mono += FAIL
    assert not log.ask()


def test_a_lost_connection_closes_at_once_and_a_backlogged_heartbeat_does_not_reopen() -> None:
    log = opened()
    log.state.lost()
    assert "not connected" in log.ask().reason
    log.offset = log.state.connected(0, log.offset + 2)
    log.beat()
    log.beat()
    assert not log.ask()
    log.beat()
    assert log.ask()


def test_a_log_that_went_backwards_closes_for_good() -> None:
    log = opened()
    for _ in range(5):
        log.beat()
    log.offset = log.state.connected(0, 2)
    assert log.offset == 2
    for _ in range(10):
        log.beat()
    assert "truncated" in log.ask().reason


def test_old_log_start_moved_on_reads_from_there() -> None:
    log = opened()
    assert log.state.connected(100, 120) == 100


# --- scopes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "hit"),
    [("firm", True), ("server:R1", True), ("server:R2", False), ("symbol:ABC", True), ("symbol:XYZ", False),
     ("strategy:s", True), ("strategy:t", False), ("account:a", True), ("account:b", False)],
)  # fmt: skip
@pytest.mark.parametrize("state", ["HALTING", "HALTED"])
def test_each_scope_blocks_its_own_orders_and_says_so(scope: str, hit: bool, state: str) -> None:
    log = opened()
    log.halt(halt(scope=scope, state=state, halt_id="h-9"))
    answer = log.ask()
    assert answer.allowed is not hit
    if hit:
        assert (answer.scope, answer.halt_id) == (scope, "h-9")
        assert scope in answer.reason
        assert "without a parent" in answer.reason


@pytest.mark.parametrize(
    ("state", "action", "plain", "reducing"),
    [("ACTIVE", "block", True, True), ("WARNED", "block_and_cancel", True, True), ("RESUMING", "block", False, True),
     ("RESUMING", "reduce_only", False, True), ("HALTING", "reduce_only", False, True),
     ("HALTED", "reduce_only", False, True), ("HALTING", "block", False, False),
     ("HALTED", "block_and_cancel", False, False)],
)  # fmt: skip
def test_states_and_actions(state: str, action: str, plain: bool, reducing: bool) -> None:
    log = opened()
    log.halt(halt(scope="firm", state=state, action=action))
    assert (log.ask().allowed, log.ask(reducing=True).allowed) == (plain, reducing)
    log = opened()
    log.halt(halt(scope="symbol:ABC", state=state, action=action))
    assert (log.ask().allowed, log.ask(reducing=True).allowed) == (plain, reducing)


def test_the_safe_answer_wins_over_several_scopes() -> None:
    log = opened()
    log.halt(halt(scope="server:R1", state="RESUMING"))
    log.halt(halt(scope="symbol:ABC", state="HALTED", halt_id="h2"))
    assert log.ask(reducing=True).halt_id == "h2"
    assert log.ask(symbol="XYZ", reducing=True)
    log.halt(halt(scope="firm", state="HALTED", halt_id="h3"))
    assert log.ask(symbol="XYZ", reducing=True).halt_id == "h3"


def test_an_order_that_does_not_say_its_symbol_does_not_slip_past_a_halted_symbol() -> None:
    log = opened()
    log.halt(halt(scope="symbol:ABC"))
    answer = log.ask(symbol="")
    assert not answer
    assert "does not name its symbol" in answer.reason
    assert log.ask(symbol="XYZ", strategy="", account="")


def test_a_block_everywhere_keeps_its_reason_when_the_desk_falls_silent() -> None:
    log = opened()
    log.halt(halt(scope="firm", halt_id="h7"))
    log.mono += FAIL
    assert log.ask().halt_id == "h7"


# --- order, fencing, latch -------------------------------------------------------------------------------------------


def test_lower_epoch_and_lower_generation_are_ignored_and_counted() -> None:
    log = opened()
    log.halt(halt(epoch=5, generation=2))
    assert log.halt(halt(state="ACTIVE", epoch=4, generation=2)) is None
    assert log.halt(halt(state="ACTIVE", epoch=9, generation=1)) is None
    assert not log.ask()
    assert (log.state.counters.stale_epoch, log.state.counters.stale_generation) == (1, 1)
    log.beat(generation=1)
    assert log.state.counters.stale_generation == 2
    assert log.halt(halt(state="RESUMING", epoch=6, generation=2)) is not None


def test_a_zombies_heartbeat_does_not_keep_the_gate_open() -> None:
    log = opened()
    log.beat(generation=2)
    for _ in range(4):
        log.mono += FAIL // 3
        log.utc += FAIL // 3
        log.beat(generation=1)
    assert not log.ask()


def test_at_an_equal_epoch_the_stricter_record_stands() -> None:
    log = opened()
    log.halt(halt(scope="firm", state="WARNED", epoch=3))
    assert log.halt(halt(scope="firm", state="HALTING", epoch=3, halt_id="direct")) is not None
    assert log.halt(halt(scope="firm", state="WARNED", epoch=3)) is None
    assert log.ask().halt_id == "direct"
    assert log.halt(halt(scope="firm", state="HALTING", epoch=3, halt_id="desk")) is not None, (
        "compaction keeps the last"
    )
    assert log.ask().halt_id == "desk"
    log.halt(halt(scope="symbol:ABC", state="HALTING", action="reduce_only", epoch=1))
    assert log.halt(halt(scope="symbol:ABC", state="RESUMING", epoch=1)) is None, "as strict, but it would unlatch"


def test_a_latched_scope_is_not_opened_by_a_warning_by_nobody_or_by_a_tombstone() -> None:
    log = opened()
    log.halt(halt(state="HALTED", epoch=2))
    log.halt(halt(state="WARNED", epoch=3))
    log.halt(halt(state="ACTIVE", epoch=4, by=""))
    log.put(b"server:R1", None)
    assert not log.ask()
    assert log.state.counters.openings_refused == 3
    log.halt(halt(state="RESUMING", epoch=3, by="anna"))
    assert log.ask(reducing=True)
    log.halt(halt(state="ACTIVE", epoch=4, by="anna"))
    assert log.ask()


# --- what does not decode --------------------------------------------------------------------------------------------


def test_limits_close_rather_than_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_state, "UNDECODABLE_MAX", 2)
    monkeypatch.setattr(gate_state, "SCOPES_MAX", 2)
    log = opened()
    for n in range(3):
        log.put(b"x%d" % n, b"?")
    for n in range(3):
        log.put(b"x%d" % n, None)
    assert "do not decode" in log.ask().reason
    log = opened()
    for n in range(3):
        log.halt(halt(scope=f"symbol:S{n}"))
    assert "more than 2 scopes" in log.ask().reason


def test_unknown_fields_of_a_later_writer_are_read_over() -> None:
    log = opened()
    log.put(b"server:R1", encode(halt())[:-1] + b',"added_later":{"x":1}}')
    assert log.ask().halt_id == "h1"


def test_view_until_never_lengthens_and_keeps_the_halts_reason() -> None:
    log = opened()
    view = log.state.view()
    assert view.until(view.deadline_ns + 5, "deaf") is view
    assert view.until(1, "deaf").expired.reason == "deaf"
    log.halt(halt(scope="firm", halt_id="h8"))
    assert log.state.view().until(1, "deaf").expired.halt_id == "h8"
    assert View(0, Decision(False)).until(1, "x").deadline_ns == 0


def test_what_the_node_says_of_its_gate() -> None:
    log = opened()
    assert log.state.gate(True).state == "ACTIVE"
    assert log.state.gate(False).state == "CLOSED"
    log.halt(halt(state="RESUMING", epoch=3))
    assert msgspec.structs.astuple(log.state.gate(True)) == ("REDUCING", 3)
    log.halt(halt(scope="firm", state="HALTING", epoch=2))
    assert msgspec.structs.astuple(log.state.gate(False)) == ("HALTED", 2)


def test_bad_arguments_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="expected a name"):
        GateState("", fail_closed_after_ns=FAIL, clock_skew_ns_max=0)
    with pytest.raises(ValueError, match="positive"):
        GateState("R1", fail_closed_after_ns=0, clock_skew_ns_max=0)
