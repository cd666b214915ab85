"""The sentence that people read at 09:31, word by word."""

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halts import phrases, text
from halts.config import DeskConfig
from halts.state import GateAck, ScopeState
from halts.text import TEXT_MAX, clock, sentence, who
from schemas.records import Cause, FirstEvent, Money
from tests.halts.desk_world import T0, World, breach

BURNING = Money(170_370.22, 12_345.6, 2_460_000.0)
FIRST = FirstEvent("orderflow", 3, 10, T0)


def said(detector: str, evidence: dict[str, Any], **other: Any) -> str:
    cause = Cause(detector, 6.0, 2.0, 1.0, evidence, FIRST)
    fields: dict[str, Any] = {
        "scope": "server:R3", "state": "HALTING", "server": "R3", "causes": (cause,), "ts_event": T0, "money": BURNING,
    } | other  # fmt: skip
    return sentence(ScopeState(**fields))


def test_who_what_since_when_how_much_what_to_do() -> None:
    evidence = {"what": "overfill", "parent_id": "P17", "parent_qty": 500, "fill_qty": 1_700, "excess_usd": 24_000.0}
    assert said("conservation", {**evidence, "parents": 3}) == (
        "Router R3 filled 1,700 shares for parent P17 and 2 more, which asked for 500 (USD 24,000), since 13:30:00.000 "
        "UTC. Lost USD 170,370, losing USD 12,346/s. We block router R3 and cancel its orders: wait for HALTED, keep "
        "it off until the cause is known."
    )


@pytest.mark.parametrize(
    ("detector", "evidence", "clause"),
    [
        ("conservation", {"what": "overorder", "parent_id": "P1", "child_qty": 300, "parent_qty": 100},
         "put 300 shares into the market for parent P1, which asked for 100"),
        ("conservation", {"what": "after_done", "parent_id": "P1", "orders": 40, "excess_qty": 4_000},
         "sent 40 orders for parent P1 after it was done, 4,000 shares too many"),
        ("conservation", {"what": "orphan", "orders": 1}, "sent 1 order that no parent order asked for"),
        ("conservation", {"what": "fan_out", "parent_id": "P1", "orders": 18_868}, "cut parent P1 into 18,868 orders"),
        ("conservation", {}, "sends out more than its parents asked for"),
        ("rate", {"window_ms": 250, "count": 1_203, "expected": 40.2},
         "sent 1,203 orders in 250 ms where 40 are normal"),
        ("rate_cusum", {}, "sends orders at 6 where 1 is normal"),
        ("crossing", {"symbol": "EXC", "buys_at_ask": 41, "sells_at_bid": 40, "pairs": 40, "burn_usd_per_s": 600.0},
         "buys at the ask and sells at the bid in EXC (41 against 40, 40 pairs), burning USD 600/s"),
        ("novelty", {"top": ["orders", "fills", "net_usd", "acks"]},
         "behaves as it never did before, above all in orders, fills, net_usd and 1 more (score 6, bound 2)"),
        ("repetition", {"count": 400, "symbol": "ABC"}, "sent the same order in ABC 400 times"),
        ("malformed", {"what": "zero_price", "count": 30},
         "sends orders that cannot be right (zero price: 30, bound 2)"),
        ("exposure", {"account": "33", "gross_usd": 3e6, "limit_usd": 2e6},
         "holds USD 3m in account 33 against a limit of USD 2m"),
        ("divergence", {"top": ["rate"]}, "behaves unlike its peers in rate (6 where 1 is normal)"),
        ("drift", {"build": "b1", "declared": "b2"}, "runs build b1, but the release declares b2"),
        ("breadth", {"symbols": 154}, "moves abnormally in 154 symbols at once"),
        ("participation", {"share": 0.53, "symbol": "WZE"}, "is 53 % of the volume in WZE"),
        ("silence", {"silent_ms": 4_000}, "has said nothing for 4,000 ms"),
        ("after_halt_flow", {"orders": 7, "after_ms": 312.4}, "still sends 7 orders 312 ms after it said blocked"),
        ("no_ack", {"scope": "server:R3"}, "has not confirmed the block of server:R3 within 6 ms"),
        ("widening", {"scopes": ["server:R1", "server:R2"]},
         "is part of a trouble that spreads: server:R1, server:R2 are halted"),
        ("brand_new", {"x": 1}, "sets off detector brand_new at 6 (bound 2, normal 1)"),
    ],
)  # fmt: skip
def test_phrases(detector: str, evidence: dict[str, Any], clause: str) -> None:
    assert said(detector, evidence).startswith(f"Router R3 {clause}, since 13:30:00.000 UTC. ")


@pytest.mark.parametrize(
    ("other", "advice"),
    [
        ({"state": "WARNED"}, "Nothing is blocked: look at router R3 now, halt it if you cannot explain this."),
        ({"state": "HALTED"}, "Stopped, nothing is working: find the cause before you resume router R3."),
        ({"action": "block"}, "We block router R3; its working orders stay: wait for HALTED, keep it off until"),
        ({"action": "reduce_only", "state": "HALTED"}, "Only reducing orders pass: find the cause before you resume"),
        ({"scope": "firm"}, "We block the whole firm and cancel its orders: wait for HALTED, keep it off until"),
        ({"gates": {"R3": GateAck(0, acted=True)}}, "cancel its orders: cut the sessions of R3 at the venues now."),
    ],
)  # fmt: skip
def test_what_to_do(other: dict[str, Any], advice: str) -> None:
    assert advice in said("rate", {}, **other)


def test_a_symbol_names_router_and_symbol() -> None:
    words = said("rate", {}, scope="symbol:ABC")
    assert words.startswith("Router R3 sends orders at 6 where 1 is normal in symbol ABC, since")
    assert "We block symbol ABC" in words


def test_widened_says_what_the_halt_was_for() -> None:
    world = World()
    world.tick()
    world.put(breach(scope="symbol:ABC"))
    world.tick(1_500)
    server, firm = (next(r.text for r in world.halts() if r.scope == s) for s in ("server:R3", "firm"))
    assert "has not confirmed the block of symbol:ABC within 500 ms (halted for conservation), since" in server
    assert "has not confirmed the block of server:R3 within 500 ms (halted for conservation), since" in firm


def test_opening_says_who_why_and_what_stays_shut() -> None:
    world = World(DeskConfig(cool_off_ms=0, resume_stage_ms=1_000))
    world.halted()
    for status in ("blocked", "confirmed"):
        world.put(breach(scope="symbol:ABC", offset=12))
        world.ack(status, "R3", "symbol:ABC")
    world.say("approve", "bob", approves=world.say("resume", "ann", reason="old build removed"))
    assert world.halts()[-1].text == (
        "ann, bob resume router R3 since 13:30:00.100 UTC (old build removed): only orders that reduce a position "
        "pass for now; still closed: symbol:ABC."
    )
    world.tick(1_200)
    assert world.halts()[-1].text == (
        "Router R3 reopens step by step since 13:30:01.100 UTC: up to 20 orders a second pass each gate, besides those "
        "that reduce a position; still closed: symbol:ABC."
    )
    world.tick(1_200)
    assert world.halts()[-1].text.startswith("Router R3 is open again since 13:30:02"), world.halts()[-1].text


def test_money_is_left_out_when_there_is_none() -> None:
    assert "USD" not in said("breadth", {}, money=Money())
    assert "USD 5,000 gross traded" in said("breadth", {}, money=Money(0.0, 0.0, 5_000.0))


def test_a_long_head_is_cut_and_money_and_advice_stay() -> None:
    words = said("crossing", {"symbols": [f"SYMBOL-{i}" * 9 for i in range(9)]})
    assert len(words) <= TEXT_MAX
    assert "… Lost USD 170,370" in words
    assert words.endswith("keep it off until the cause is known.")


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
KEYS = ("what", "parent_id", "parents", "parent_qty", "child_qty", "fill_qty", "excess_qty", "excess_usd", "orders",
        "count", "window_ms", "expected", "symbols", "symbol", "pairs", "buys_at_ask", "sells_at_bid", "top", "share",
        "burn_usd_per_s", "limit_usd", "gross_usd", "account", "build", "declared", "silent_ms", "after_ms", "scopes",
        "observed", "scope", "by", "reason")  # fmt: skip


@given(
    st.sampled_from([*phrases.PHRASES, "operator", "drill", "unheard_of"]),
    st.dictionaries(st.sampled_from(KEYS), json_like, max_size=6) | st.just({"what": "overfill", "fill_qty": "many"}),
    st.floats(),
    st.sampled_from(["WARNED", "HALTING", "HALTED", "RESUMING", "ACTIVE"]),
    st.sampled_from(["firm", "server:R3", "symbol:ABC", "account:" + "x" * 200]),
)
def test_a_sentence_comes_whatever_the_evidence(
    detector: str, evidence: dict[str, Any], x: float, state: Any, scope: str
) -> None:
    cause = Cause(detector, x, x, x, evidence, FIRST)
    words = sentence(ScopeState(scope, state=state, causes=(cause,), server="R3", money=Money(x, x, x), ts_event=T0))
    assert 0 < len(words) <= TEXT_MAX
    assert "\n" not in words


def test_clock_and_names() -> None:
    assert clock(0) == "00:00:00.000"
    assert clock(86_399_999_999_999) == "23:59:59.999"
    assert [who(s) for s in ("firm", "server:R1", "account:A")] == ["The firm", "Router R1", "Account A"]
    assert doctest.testmod(phrases).failed == 0
    assert doctest.testmod(text).failed == 0
