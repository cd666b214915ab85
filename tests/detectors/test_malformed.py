"""Malformed: shares against what is usual, prices against the market, requests about nothing."""

from typing import Any

import pytest

from detectors.checks import Heard, hear
from detectors.config import MalformedConfig, Stage1Config
from detectors.malformed import Malformed
from schemas.events import Kind, Phase, Side, batch_of
from tests.detectors.faults import send
from tests.detectors.flows import SYMBOLS, Writer


def heard(writer: Writer, **fields: Any) -> Heard:
    config = Stage1Config(malformed=MalformedConfig(**fields))
    return hear(lambda c: Malformed(c.malformed), config, batch_of(writer.events()))


def named(found: Heard) -> set[str]:
    return {s.evidence["what"] for s in found.said if s.edge == "open"}


def orders(writer: Writer, n: int, refused: Any, gap_ms: float = 20.0, **fields: Any) -> None:
    for k in range(n):
        writer.wait(gap_ms)
        ref = f"o{len(writer.rows)}"
        send(writer, ref, 100, 23.0, **fields)
        common = {f: v for f, v in fields.items() if f in ("strategy", "phase")}
        writer.add(Kind.rejected if refused(k) else Kind.ack, cl_ord_id=ref, **{"strategy": "ALGO", **common})


def test_rejects_far_above_the_usual_share_are_found_and_have_an_owner() -> None:
    writer = Writer()
    orders(writer, 2_400, lambda k: k % 300 == 0, gap_ms=100.0)
    begin = len(writer.rows)
    orders(writer, 200, lambda k: k % 5 == 0, strategy="RLP", phase=Phase.pre)
    said = heard(writer).said
    assert said
    assert said[0].at > begin
    assert said[0].evidence["what"] == "preopen_rejects"
    assert said[0].evidence["owner"] == "RLP"


def test_a_firm_of_which_venues_refuse_much_is_not_alarming() -> None:
    writer = Writer()
    orders(writer, 3_600, lambda k: k % 25 == 0, gap_ms=100.0)
    assert heard(writer).said == []


@pytest.mark.parametrize(("every", "said"), [(1, {"refused_requests"}), (3, set())])
def test_refused_cancels(every: int, said: set[str]) -> None:
    """All refused is a fault; one in three is a fast market, where cancels come too late."""
    writer = Writer()
    for k in range(90):
        writer.wait(5.0)
        send(writer, f"o{k}", 100 + k, 23.0)
        writer.add(Kind.cancel, cl_ord_id=f"c{k}", orig_cl_ord_id=f"o{k}")
        kind = Kind.rejected if k % every == 0 else Kind.canceled
        writer.add(kind, cl_ord_id=f"c{k}", orig_cl_ord_id=f"o{k}")
    assert named(heard(writer)) == said


@pytest.mark.parametrize(("first_seq", "said"), [(0, {"unknown_orders"}), (5_000, set())])
@pytest.mark.parametrize("kind", [Kind.cancel, Kind.replace])
def test_requests_about_unknown_orders_count_once_the_log_knows(kind: Kind, first_seq: int, said: set[str]) -> None:
    writer = Writer()
    writer.seq = first_seq
    for k in range(60):
        writer.wait(20.0)
        writer.add(kind, cl_ord_id=f"c{k}", orig_cl_ord_id=f"never{k}", qty=100, px=round(23e9), side=Side.B)
    assert named(heard(writer)) == said


@pytest.mark.parametrize(
    ("px", "side", "said"),
    [
        (30.0, Side.B, {"far_price"}), (24.0, Side.B, set()), (0.0, Side.B, set()), (1.0, Side.B, set()),
        (1.0, Side.S, {"far_price"}), (22.0, Side.SS, set()), (300.0, Side.S, set()), (9e9, Side.S, {"far_price"}),
    ],
)  # fmt: skip
def test_prices_beyond_the_other_side(px: float, side: Side, said: set[str]) -> None:
    """Market orders, and limits that are far on the passive side, are no fault."""
    writer = Writer()
    for k in range(10):
        writer.wait(100.0)
        send(writer, f"o{k}", 100, px, side)
    assert named(heard(writer)) == said


def test_one_bad_tick_of_the_market_is_no_fault() -> None:
    writer = Writer()
    for k in range(40):
        writer.now += 130_000_000
        bad = {"bid": round(0.01e9), "ask": round(0.02e9)} if 20 <= k < 26 else {}
        send(writer, f"o{k}", 100, 23.0, **bad)
    assert heard(writer).said == []


@pytest.mark.parametrize(
    ("quoted", "factor", "said"), [(True, 100, 1), (False, 100, 1), (True, 1.02, 0), (False, 1.02, 0)]
)
def test_amends_are_held_to_what_a_new_order_is(quoted: bool, factor: float, said: int) -> None:
    writer = Writer()
    quote = {} if quoted else {"bid": 0, "ask": 0}
    for k in range(8):
        writer.wait(300.0)
        send(writer, f"o{k}", 100, 23.0, **quote)
        amend = {**writer.rows[-1], "cl_ord_id": f"r{k}", "orig_cl_ord_id": f"o{k}", "px": round(23e9 * factor)}
        writer.wait(50.0)
        writer.add(Kind.replace, **{f: v for f, v in amend.items() if f not in ("kind", "server", "seq", "ts")})
    assert named(heard(writer)) == ({"amend_past_limits"} if said else set())


def test_one_large_order_beyond_the_collar_opens_by_itself_and_two_are_beyond_the_bound() -> None:
    writer = Writer()
    for k in range(2):
        writer.wait(100.0)
        send(writer, f"o{k}", 610_000, 1.0, Side.S, symbol=SYMBOLS[3])
    scores = [s.score for s in heard(writer).said]
    assert [round(s, 1) for s in scores] == [1.1, 2.2]


@pytest.mark.parametrize(("px", "said"), [(23.0, set()), (23.5, set()), (22.9, set()), (20.0, {"amend_past_limits"})])
def test_an_order_from_which_the_market_has_run_away_may_be_amended(px: float, said: set[str]) -> None:
    """Sells at 23 whose market has since gone up by a fifth: other quantity, a little up or down, and an eighth down."""
    writer = Writer()
    for k in range(12):
        send(writer, f"o{k}", 10, 23.0, Side.S)
    writer.now += 30_000_000_000
    quote = {"bid": round(27.6e9), "ask": round(27.62e9), "symbol": SYMBOLS[3], "strategy": "ALGO", "account": "A01"}
    for k in range(24):  # the first ones move the memory of the market
        writer.wait(400.0)
        if k < 12:
            writer.add(Kind.ack, cl_ord_id=f"o{k}", **quote)
        else:
            writer.add(
                Kind.replace, cl_ord_id=f"r{k}", orig_cl_ord_id=f"o{k - 12}", qty=9, px=round(px * 1e9), side=Side.S, **quote
            )  # fmt: skip
    assert named(heard(writer)) == said
