"""Exposure against a plain reckoning, and each of its limits alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.checks import Heard, hear
from detectors.config import AccountLimits, ExposureConfig, Stage1Config, SymbolLimits
from detectors.exposure import Exposure
from schemas.events import Kind, Side, batch_of
from tests.detectors.faults import parent, send
from tests.detectors.flows import Writer

WIDE = AccountLimits(gross_usd=1e12, net_usd=1e12, order_usd=1e12, order_qty=10**12, parent_usd=1e12)


def heard(writer: Writer, **fields: Any) -> Heard:
    config = Stage1Config(exposure=ExposureConfig(**fields))
    return hear(lambda c: Exposure(c.exposure, 8_192), config, batch_of(writer.events()))


def answer(writer: Writer, kind: Kind, ref: str, qty: int = 0, **fields: Any) -> None:
    asked = next(r for r in reversed(writer.rows) if r.get("cl_ord_id") == ref)
    names = ("symbol", "side", "bid", "ask", "account", "px")
    row = {name: asked[name] for name in names if name in asked} | {"cl_ord_id": ref, "qty": qty, **fields}
    writer.execs += 1
    writer.add(kind, **row, **({"exec_id": f"x{writer.execs}"} if kind == Kind.fill else {}))


class Book:
    """The same sums, order by order, with dictionaries."""

    def __init__(self) -> None:
        self.leaves: dict[str, tuple[str, str, int, int]] = {}
        self.held: dict[tuple[str, str], int] = {}
        self.marks: dict[tuple[str, str], int] = {}

    def gross(self, account: str) -> int:
        total = 0
        for key, mark in self.marks.items():
            if key[0] == account:
                mine = [(s, q) for a, sym, s, q in self.leaves.values() if (a, sym) == key]
                most = self.held.get(key, 0) + sum(q for s, q in mine if s > 0)
                least = self.held.get(key, 0) - sum(q for s, q in mine if s < 0)
                total += max(abs(most), abs(least)) * mark
        return total


STEP = st.tuples(
    st.sampled_from(["order", "fill", "cancel", "canceled", "expired", "rejected", "replace", "replace_rejected"]),
    st.integers(0, 11), st.integers(1, 9), st.booleans(), st.sampled_from(["A01", "A02", "ERROR"]),
    st.sampled_from(["SYM0", "SYM3", "SYM7"]),
)  # fmt: skip


@given(st.lists(STEP, min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_gross_is_what_a_plain_reckoning_gives(steps: list[tuple[str, int, int, bool, str, str]]) -> None:
    writer, book, live, expected = Writer(), Book(), [], []
    for n, (what, pick, lots, buy, account, symbol) in enumerate(steps):
        writer.wait(1.0)
        qty, side = lots * 100, Side.B if buy else Side.S
        if what == "order" or not live:
            ref, mid = f"o{n}", 20 + int(symbol[3:])
            send(writer, ref, qty, mid, side, symbol=symbol, account=account)
            book.leaves[ref] = (account, symbol, 1 if buy else -1, qty)
            book.marks[(account, symbol)] = mid * 10**6
            live.append(ref)
        else:
            ref = live[pick % len(live)]
            account, symbol, sign, left = book.leaves[ref]
            if what == "fill":
                answer(writer, Kind.fill, ref, qty)
                book.held[(account, symbol)] = book.held.get((account, symbol), 0) + sign * qty
                book.leaves[ref] = (account, symbol, sign, max(0, left - qty))
            elif what in ("cancel", "canceled"):
                answer(writer, Kind[what], ref, 0, orig_cl_ord_id=ref)
                if what == "canceled":
                    book.leaves[ref] = (account, symbol, sign, 0)
            elif what in ("expired", "rejected"):
                answer(writer, Kind[what], ref)
                book.leaves[ref] = (account, symbol, sign, 0)
            else:
                continue
        expected.append(book.gross("ERROR"))
    limit = AccountLimits(gross_usd=1_000.0, net_usd=1e12, order_usd=1e12, order_qty=10**12)
    found = heard(writer, accounts={"*": WIDE, "ERROR": limit}, symbols={}, server_gross_usd=1e15, server_net_usd=1e15)
    assert found.values == [usd6 // (10**9 >> 10) for usd6 in expected]


def test_a_replace_counts_when_sent_and_not_when_refused() -> None:
    writer = Writer()
    send(writer, "a", 100, 20.0, symbol="SYM0")
    for ref, kind in (("r1", Kind.replaced), ("r2", Kind.rejected)):
        answer(writer, Kind.replace, "a", 700 if ref == "r1" else 900, orig_cl_ord_id="a")
        writer.rows[-1]["cl_ord_id"] = ref
        answer(writer, kind, ref)
    limit = AccountLimits(gross_usd=2_000.0, net_usd=1e12, order_usd=1e12, order_qty=10**12)
    found = heard(writer, accounts={"*": limit}, symbols={})
    assert [round(v / 1_024, 1) for v in found.values] == [1.0, 7.0, 7.0, 9.0, 7.0]


@pytest.mark.parametrize(
    ("qty", "px", "account", "symbol", "what"),
    [
        (100, 20.0, "NEW", "SYM0", "no_limit"),
        (100, 20.0, "A01", "SYM0", ""),
        (2_000, 20.0, "A01", "SYM0", "order_qty"),
        (900, 200.0, "A01", "SYM0", "order_usd"),
        (600, 20.0, "A01", "SYM1", "order_qty"),
    ],
)
def test_each_order_is_held_against_its_limits(qty: int, px: float, account: str, symbol: str, what: str) -> None:
    writer = Writer()
    send(writer, "a", qty, px, account=account, symbol=symbol)
    limits = AccountLimits(gross_usd=1e9, net_usd=1e9, order_usd=100_000.0, order_qty=1_000)
    symbols = {"*": SymbolLimits(gross_usd=1e9, order_qty=10**9), "SYM1": SymbolLimits(gross_usd=1e9, order_qty=500)}
    said = heard(writer, accounts={"A01": limits}, symbols=symbols).said
    assert [s.evidence["what"] for s in said] == [what] * bool(what)


def test_net_counts_what_works_on_one_side_only() -> None:
    writer = Writer()
    for k, side in enumerate((Side.B, Side.S, Side.B, Side.S)):
        writer.wait(1.0)
        send(writer, f"o{k}", 1_000, 20.0 + k, side, symbol=f"SYM{k}")
    limits = AccountLimits(gross_usd=1e9, net_usd=45_000.0, order_usd=1e9, order_qty=10**9)
    values = np.array(heard(writer, accounts={"*": limits}, symbols={}).values) / 1_024
    assert values == pytest.approx([20 / 45, 21 / 45, 42 / 45, 44 / 45], abs=0.002)


def test_a_sale_far_above_the_market_is_worth_what_the_market_says() -> None:
    writer = Writer()
    send(writer, "stub", 1_000, 9_999.0, Side.S, symbol="SYM0")
    limits = AccountLimits(gross_usd=1e9, net_usd=1e9, order_usd=100_000.0, order_qty=10**6)
    assert heard(writer, accounts={"*": limits}, symbols={}).said == []


@pytest.mark.parametrize(("qty", "said"), [(1_000_000, ["parent_usd"]), (1_000, [])])
def test_a_parent_that_is_far_too_large_is_a_breach_at_its_first_child(qty: int, said: list[str]) -> None:
    writer = Writer()
    parent(writer, "FAT", qty, symbol="SYM0")
    send(writer, "a", 100, 20.0, symbol="SYM0", parent_id="FAT")
    assert [s.evidence["what"] for s in heard(writer).said] == said
