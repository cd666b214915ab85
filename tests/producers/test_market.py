"""Quotes, price push, and matching that equals a limit order book's."""

import numpy as np
import pytest
from bourse.core import OrderBook
from hypothesis import given
from hypothesis import strategies as st

from producers.market import (
    BLOCK_S,
    DAY_VOLATILITY,
    IMPACT_TAU_S,
    SESSION_S,
    SWEEP_LEVELS,
    WIDEN_MAX,
    Market,
    make_universe,
    sweep,
)

ORDERS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 900)), max_size=30)


@given(ORDERS, st.tuples(*[st.integers(1, 700)] * 3))
def test_a_sweep_is_what_a_limit_order_book_does(orders: list[tuple[int, int]], depths: tuple[int, ...]) -> None:
    """Orders against three ladders, one vectorised pass; and one by one against bourse's books (buys at 100 and up)."""
    books = []
    for depth in depths:
        book = OrderBook(0, 1)
        for level in range(SWEEP_LEVELS):
            book.place_order(False, depth, 1, price=100 + level)
        books.append(book)
    expected = []
    for i, (where, qty) in enumerate(orders):
        before = len(books[where].get_trades())
        order = books[where].place_order(True, qty, 2, price=100 + SWEEP_LEVELS - 1)
        expected += [(i, trade[2] - 100, trade[3]) for trade in books[where].get_trades()[before:]]
        if books[where].order_status(order) != 2:
            books[where].cancel_order(order)
    which = np.array([w for w, _ in orders], np.int64)
    qty = np.array([q for _, q in orders], np.int64)
    done = sweep(which, qty, np.array(depths, np.int64)[which])
    found = sorted(zip(done.order.tolist(), done.level.tolist(), done.qty.tolist(), strict=True))
    assert found == sorted(expected)
    assert done.filled.tolist() == [sum(q for o, _, q in expected if o == i) for i in range(len(orders))]


def test_the_universe_is_skewed_and_spreads_are_those_of_the_tape() -> None:
    universe = make_universe(np.random.default_rng(1))
    assert len(set(universe.symbols.tolist())) == 154
    assert universe.weight.sum() == pytest.approx(1.0)
    assert universe.weight.max() * 154 > 8, "NOK: 134 trades/s where the mean is 9.6"
    p50, p90 = np.quantile(
        np.concatenate([make_universe(np.random.default_rng(i)).spread for i in range(20)]), [0.5, 0.9]
    )
    assert (p50, p90) == (3, 7)
    with pytest.raises(ValueError, match="0 symbols asked for, expected 1 to 4096"):
        make_universe(np.random.default_rng(1), 0)


def quotes_after(signed_per_s: float, seconds: int) -> tuple[Market, Market]:
    """A market that we buy in, and the same one left alone."""
    made = [Market(make_universe(np.random.default_rng(2), 20), np.random.default_rng(3)) for _ in range(2)]
    flow = np.zeros(20)
    flow[5] = signed_per_s * BLOCK_S
    for _ in range(seconds * 10):
        made[0].step(flow, np.abs(flow))
        made[1].step(np.zeros(20), np.zeros(20))
    return made[0], made[1]


def test_buying_pushes_the_price_up_towards_its_cap_and_it_comes_back() -> None:
    pushed, calm = quotes_after(20_000, 60)
    cap = pushed.cap[5]
    assert pushed.push()[5] == pytest.approx(cap, rel=0.2)
    assert pushed.ask[5] > calm.ask[5]
    assert pushed.fundamental.tolist() == calm.fundamental.tolist(), "what a loss is marked to does not move with us"
    others = np.arange(20) != 5
    assert (pushed.ask[others] == calm.ask[others]).all()
    for _ in range(10 * 400):
        pushed.step(np.zeros(20), np.zeros(20))
    assert abs(pushed.push()[5]) < 0.01 * cap


def test_selling_pushes_down_and_both_ways_only_widens() -> None:
    sold, calm = quotes_after(-20_000, 30)
    assert sold.bid[5] < calm.bid[5]
    market = Market(make_universe(np.random.default_rng(2), 20), np.random.default_rng(3))
    usual = market.ask - market.bid
    gross = np.zeros(20)
    gross[5] = 2_000.0
    for _ in range(100):
        market.step(np.zeros(20), gross)
    assert market.push()[5] == 0
    assert (market.ask - market.bid)[5] > 3 * usual[5]
    assert (market.bid > 0).all()
    assert (market.ask > market.bid).all()


def test_quotes_are_to_the_bit_those_of_the_formula_in_numpy() -> None:
    universe, rng = make_universe(np.random.default_rng(2), 154), np.random.default_rng(4)
    market, draws = Market(universe, np.random.default_rng(3)), np.random.default_rng(3)
    market.volatility, market.drift[7] = 3.0, -1e-2
    fundamental, kept = market.fundamental, np.zeros((2, 154))
    for _ in range(60):
        signed = rng.integers(-900, 900, 154) * (rng.random(154) < 0.5).astype(np.float64)
        before = market.bid, market.ask
        market.step(signed, np.abs(signed))
        walk = draws.standard_normal(154) * (DAY_VOLATILITY * float(np.sqrt(BLOCK_S / SESSION_S)) * 3.0)
        fundamental = np.maximum(fundamental * (1.0 + walk + market.drift), 2.0)
        kept = kept * float(np.exp(-BLOCK_S / IMPACT_TAU_S)) + np.stack([signed, np.abs(signed)])
        g2 = (kept[1] / universe.scale) ** 2
        spread = np.rint(universe.spread * (1.0 + WIDEN_MAX * g2 / (4.0 + g2)))
        bid = np.maximum(np.floor(fundamental * (1.0 + market.push()) - spread / 2.0), 1.0)
        assert market.fundamental.tolist() == fundamental.tolist()
        assert (market.bid.tolist(), market.ask.tolist()) == (bid.tolist(), (bid + spread).tolist())
        assert (market.bid_before is before[0], market.ask_before is before[1]) == (True, True)
    assert fundamental[7] < 0.7 * universe.price[7]
