"""Forged records on ``halts``: none opens a gate, each closes it, and people are told. The laws first, then each kind."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from halts.gate_state import Decision, GateState
from halts.gate_trust import Trust
from halts.signing import BadKey, public_text, sign
from schemas.records import HaltRecord, Heartbeat, encode
from schemas.units import MS_NS, S_NS
from tests.halts.gate_log import BEAT, FAIL, SKEW, UTC, halt

FLEET = "prod"


def key(n: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)


DESK, ANN, EVE = key(1), key(2), key(3)
TRUST = Trust([public_text(DESK.public_key())], {"ann": public_text(ANN.public_key())}, FLEET)
Entry = tuple[bytes, bytes]


def signed(record: HaltRecord | Heartbeat, by: Ed25519PrivateKey = DESK, fleet: str = FLEET) -> Entry:
    name = BEAT if isinstance(record, Heartbeat) else record.scope.encode()
    return name, encode(sign(record, by, fleet))


class Gate:
    """A gate with keys, fed as its shell feeds it."""

    def __init__(self) -> None:
        self.state = GateState("R1", fail_closed_after_ns=FAIL, clock_skew_ns_max=SKEW, trust=TRUST)
        self.offset = self.state.connected(0, 0)
        self.mono, self.utc, self.beats = 5 * S_NS, UTC, 0

    def put(self, entry: Entry) -> HaltRecord | None:
        found = self.state.apply(self.offset, *entry, self.mono, self.utc)
        self.offset += 1
        return found

    def wait(self, ns: int) -> None:
        self.mono, self.utc = self.mono + ns, self.utc + ns

    def beat(self, generation: int = 1) -> Entry:
        self.beats += 1
        return signed(Heartbeat(self.utc, self.beats, generation))

    def ask(self, reducing: bool = False) -> Decision:
        view = self.state.view()
        return view.expired if self.mono >= view.deadline_ns else view.decide("ABC", "s", "a", reducing, self.mono)


def opened() -> Gate:
    gate = Gate()
    gate.put(gate.beat())
    assert gate.ask()
    return gate


# --- laws ------------------------------------------------------------------------------------------------------------

SCOPES = ("firm", "server:R1", "symbol:ABC", "server:R2")
content = st.builds(
    halt, scope=st.sampled_from(SCOPES), state=st.sampled_from(["ACTIVE", "WARNED", "HALTING", "HALTED", "RESUMING"]),
    epoch=st.integers(0, 9), action=st.sampled_from(["block", "reduce_only"]), by=st.sampled_from(["", "ann", "desk"]),
    generation=st.integers(0, 3), orders_per_s_max=st.sampled_from([0.0, 1e6]),
)  # fmt: skip
beats = st.builds(Heartbeat, st.just(UTC), st.integers(0, 99), st.integers(0, 3))
record = st.one_of(content, beats)


def tampered(entry: Entry, seed: int) -> Entry:
    """A signed record with something in it changed afterwards."""
    name, value = entry
    for was, now in ((b'"HALTING"', b'"ACTIVE"'), (b'"HALTED"', b'"RESUMING"'), (b'"seq":', b'"seq":9')):
        if was in value:
            return name, value.replace(was, now, 1)
    return name, value.replace(b'"v":1', b'"v":1,"x":%d' % seed if seed % 2 else b'"v":2', 1)


forgeries = st.one_of(
    record.map(lambda r: (signed(r)[0], encode(r))),  # not signed
    record.map(lambda r: signed(r, EVE)),  # a key that nobody gave the gate
    record.map(lambda r: signed(r, DESK, "test")),  # the desk's key, but for another fleet
    content.filter(lambda r: r.state != "HALTING" or r.action == "reduce_only").map(lambda r: signed(r, ANN)),
    beats.map(lambda b: signed(b, ANN)),  # an operator's key may only halt
    st.builds(tampered, content.filter(lambda r: r.state in ("HALTING", "HALTED")).map(signed), st.integers(0, 9)),
    record.map(lambda r: (signed(r)[0], encode(replace(sign(r, DESK, FLEET), key_id="")))),
    st.tuples(st.sampled_from([s.encode() for s in SCOPES] + [BEAT, b"nonsense"]), st.binary(max_size=30)),
)  # fmt: skip
states = st.sampled_from(["HALTING", "HALTED", "RESUMING", "ACTIVE"])
genuine = st.tuples(st.sampled_from(SCOPES), states)
steps = st.lists(st.one_of(forgeries, genuine, st.sampled_from(["beat", "wait", "replay"])), max_size=25)


@settings(max_examples=300)
@given(steps, st.data())
def test_no_sequence_of_forged_records_opens_a_closed_gate(sequence: list[Any], data: st.DataObject) -> None:
    """Beside each other: a gate that hears the desk and the forger, and one that hears the desk alone. What the forger
    says never opens the first, and never makes it more open than the second."""
    both, alone, said, epoch = Gate(), Gate(), [], 0
    for step in sequence:
        before = both.ask(), both.ask(reducing=True)
        if step == "wait":
            both.wait(FAIL // 2)
            alone.wait(FAIL // 2)
        elif step == "beat" or step in [(s, t) for s in SCOPES for t in ("HALTING", "HALTED", "RESUMING", "ACTIVE")]:
            epoch += 1
            entry = both.beat() if step == "beat" else signed(halt(step[0], step[1], epoch))
            said.append(entry)
            both.put(entry)
            alone.put(entry)
        else:
            forged = data.draw(st.sampled_from(said)) if step == "replay" and said else step
            if forged != "replay":
                both.put(forged)
                after = both.ask(), both.ask(reducing=True)
                assert not (after[0] and not before[0]), "opened by a forged record"
                assert not (after[1] and not before[1]), "opened for reducing orders by a forged record"
        assert alone.ask() or not both.ask(), "more open than without the forger"
        assert alone.ask(reducing=True) or not both.ask(reducing=True)
        assert both.state.generation <= 1, "a desk was fenced by a forger"


@settings(max_examples=200)
@given(forgeries)
def test_each_forged_record_closes_an_open_gate_until_the_desk_has_spoken_under_that_key(forged: Entry) -> None:
    gate = opened()
    gate.put(forged)
    assert not gate.ask(reducing=True)
    assert forged[0].decode() in gate.state.undecodable
    (refusal,) = gate.state.take_refusals()
    assert refusal.scope == forged[0].decode()
    assert refusal.reason
    gate.put(gate.beat())
    if forged[0] == BEAT:
        assert gate.ask()
    elif forged[0] != b"nonsense":
        assert not gate.ask()
        gate.put(signed(halt(forged[0].decode(), "ACTIVE", epoch=50)))
        assert gate.ask()


# --- each kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ((b"firm", encode(halt("firm", "ACTIVE", 9))), "is not signed"),
        (signed(halt("firm", "ACTIVE", 9), EVE), "which is not configured here"),
        (signed(halt("firm", "ACTIVE", 9), DESK, "test"), "signed for another fleet"),
        (signed(halt("firm", "ACTIVE", 9, by="ann"), ANN), "whose key may only halt"),
        (signed(halt("firm", "HALTING", 9, by="bob"), ANN), "but the key is that of 'ann'"),
        (signed(halt("firm", "HALTING", 9, by="ann", generation=7), ANN), "claims generation 7 of a desk"),
        (signed(halt("firm", "ACTIVE", 3)), "no desk goes back"),
    ],
)
def test_the_reason_is_said_in_the_answer_and_in_what_is_told(forged: Entry, said: str) -> None:
    gate = opened()
    gate.put(signed(halt("firm", "HALTED", 4)))
    gate.put(forged)
    assert not gate.ask(reducing=True)
    assert said in gate.state.closed_reason()
    assert said in gate.state.take_refusals()[0].reason
    assert gate.state.counters.untrusted == 1


def test_an_operators_key_halts_directly_and_the_desk_reopens() -> None:
    gate = opened()
    assert gate.put(signed(halt("firm", "HALTING", 1, by="ann"), ANN)) is not None
    assert gate.ask().scope == "firm"
    assert not gate.state.undecodable
    gate.put(signed(halt("firm", "RESUMING", 2, by="ann, bob", generation=2)))
    gate.put(gate.beat(2))
    assert gate.ask(reducing=True)


def test_a_replayed_heartbeat_does_not_prolong_anything() -> None:
    gate = opened()
    last = gate.beat()
    gate.put(last)
    gate.wait(FAIL - 1)
    gate.put(last)
    gate.wait(1)
    assert not gate.ask()
    assert gate.state.counters.heartbeats_old == 1


def test_a_replayed_opening_closes_after_a_second_halt() -> None:
    gate = opened()
    opening = signed(halt("firm", "RESUMING", 2, by="ann, bob"))
    for entry in (signed(halt("firm", "HALTED", 1)), opening, signed(halt("firm", "HALTING", 3, halt_id="h2"))):
        gate.put(entry)
    gate.put(opening)
    assert not gate.ask(reducing=True)
    assert "goes back" in gate.state.closed_reason() or "no desk goes back" in gate.state.closed_reason()


def test_a_replaced_desk_is_ignored_not_taken_for_a_forger() -> None:
    """A paused desk that wakes: design, section 6. It opens nothing, and closes nobody else's gate."""
    gate = opened()
    gate.put(gate.beat(2))
    gate.put(signed(halt("server:R1", "HALTED", 4, generation=2)))
    gate.put(signed(halt("server:R1", "ACTIVE", 9, generation=1)))
    assert gate.ask().scope == "server:R1"
    assert not gate.state.undecodable
    assert "was replaced" in gate.state.take_refusals()[0].reason
    assert gate.state.counters.stale_generation == 1


def test_a_flood_of_forged_records_is_told_once_a_second_and_counted_whole() -> None:
    gate = opened()
    for n in range(1_000):
        gate.put(signed(halt("firm", "ACTIVE", n), EVE))
    assert len(gate.state.take_refusals()) == 1
    gate.wait(1_000 * MS_NS)
    gate.put(signed(halt("firm", "ACTIVE", 1), EVE))
    assert len(gate.state.take_refusals()) == 1
    assert gate.state.counters.untrusted == 1_001


def test_trust_says_what_is_wrong_with_its_keys() -> None:
    with pytest.raises(BadKey, match="expected base64 of 32 bytes"):
        Trust(["nonsense"])
    text = public_text(DESK.public_key())
    with pytest.raises(ValueError, match="is a desk's and an operator's"):
        Trust([text], {"ann": text})
    assert not Trust().required
