"""The market that the routers trade in: symbols, best bid and offer, depth, and what our own flow does to prices.

Prices are those of a model. The fundamental mid walks at random; our own executions push the quoted mid away from it
by ``cap * x**2 / (1 + x**2)`` of the price, where x is the signed volume of the last ``IMPACT_TAU_S`` seconds over the
symbol's own scale. Caps follow what the tape of 2012-08-01 showed (SEC 34-70694 par. 18: price moved > 5 % in 75 of 154
stocks and > 10 % in 37 of them): lognormal, median 4.9 %, sigma 1.02. A loss is marked to the fundamental mid, because
that is where prices go back to when the flow stops.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from producers.codes import F64, I64
from schemas.jit import compiled
from schemas.units import PRICE9

BLOCK_NS: Final = 100_000_000
"""Quotes are constant within a block of event time (100 ms), and routers decide once per block and parent."""
BLOCK_S: Final = BLOCK_NS / 1e9
TICK9: Final = PRICE9 // 100
IMPACT_TAU_S: Final = 30.0
WIDEN_MAX: Final = 4.0
"""Under heavy flow a spread grows up to (1 + WIDEN_MAX) times (EXC on 2012-08-01: about 15 cents a pair)."""
SWEEP_LEVELS: Final = 3
"""A marketable child is limited two ticks through the touch, so it reaches three levels of the ladder."""
DAY_VOLATILITY: Final = 0.02
SESSION_S: Final = 23_400.0
FAMOUS: Final = (("NOK", 2.41), ("EXC", 38.9), ("CODE", 10.9), ("WZE", 3.6), ("JWF", 8.1))
"""Names seen on the tape that day, with their prices (domain notes 1.4)."""


@dataclass(frozen=True, slots=True)
class Universe:
    """Symbols and their habits; arrays of (n_symbols,)."""

    symbols: NDArray[np.bytes_]
    price: NDArray[np.float64]
    """Price at the start, in ticks of one cent."""
    spread: NDArray[np.int64]
    """Usual spread in ticks: p50 3, p90 7."""
    depth: NDArray[np.int64]
    """Shares on each level of the ladder, replenished every block."""
    weight: NDArray[np.float64]
    """Share of activity; sums to 1."""
    cap: NDArray[np.float64]
    """Price push that own flow tends to, as a fraction of the price."""
    scale: NDArray[np.float64]
    """Shares of signed flow within IMPACT_TAU_S at which half of the cap is reached."""


def symbol_names(n: int) -> NDArray[np.bytes_]:
    """(n,) S12 names: the famous five first, then made-up ones of three to four letters."""
    letters = "ABDEFGHKLMNPRTVX"
    made = [
        f"Q{letters[i // 256 % 16]}{letters[i // 16 % 16]}{letters[i % 16]}" for i in range(max(0, n - len(FAMOUS)))
    ]
    return np.array([name for name, _ in FAMOUS][:n] + made, "S12")


def make_universe(rng: np.random.Generator, n: int = 154) -> Universe:
    """Draw ``n`` symbols: lognormal prices (median 16 USD), heavily skewed activity, spreads p50 3 and p90 7 ticks."""
    if not 1 <= n <= 4_096:
        raise ValueError(f"{n} symbols asked for, expected 1 to 4096")
    price = np.clip(rng.lognormal(np.log(16.0), 0.7, n), 1.5, 150.0) * 100
    weight = rng.lognormal(0.0, 1.3, n)
    for i, (_, usd) in enumerate(FAMOUS[:n]):
        price[i] = usd * 100
    weight[0] = weight.max() * 1.1  # NOK: the busiest, 134 trades/s against a mean of 9.6
    if n > 3:
        weight[3] = np.quantile(weight, 0.1)  # WZE: illiquid
    weight /= weight.sum()
    spread = np.maximum(1, np.rint(rng.lognormal(np.log(3.0), 0.66, n))).astype(np.int64)
    depth = (600 + rng.integers(0, 4, n) * 100 + 120_000 * weight).astype(np.int64) // 100 * 100
    cap = np.minimum(rng.lognormal(np.log(0.049), 1.02, n), 0.6)
    scale = 3_500.0 * np.maximum(weight * n, 0.3)
    return Universe(symbol_names(n), np.rint(price), spread, depth, weight, cap, scale)


class Market:
    """Quotes of all symbols, block by block. ``volatility`` scales the walk (1: 2 % a day)."""

    def __init__(self, universe: Universe, rng: np.random.Generator) -> None:
        self.universe = universe
        self.volatility = 1.0
        self.drift = np.zeros(len(universe.price))
        """Push of the fundamental mid per block, as a fraction of the price (a crash, a squeeze)."""
        self.cap = universe.cap.copy()
        self.fundamental = universe.price.astype(np.float64)
        self._rng = rng
        self._signed = np.zeros(len(universe.price))
        self._gross = np.zeros(len(universe.price))
        self._decay = float(np.exp(-BLOCK_S / IMPACT_TAU_S))
        self._sigma = DAY_VOLATILITY * float(np.sqrt(BLOCK_S / SESSION_S))
        self.bid = np.zeros(len(universe.price), np.int64)
        self.ask = np.zeros(len(universe.price), np.int64)
        self._quote()
        self.bid_before, self.ask_before = self.bid, self.ask
        """Quotes of the block before, for what was sent in it."""

    def step(self, signed: NDArray[np.float64], gross: NDArray[np.float64]) -> None:
        """On to the next block. signed, gross: (n_symbols,) shares that we executed in the last one."""
        walk = self._rng.standard_normal(len(self.fundamental))
        self.bid_before, self.ask_before = self.bid, self.ask
        before, self.fundamental = self.fundamental, np.empty(len(walk))
        _walk(walk, self._sigma * self.volatility, self.drift, before, self.fundamental)
        _decay(self._signed, self._gross, signed, gross, self._decay)
        self._quote()

    def push(self) -> NDArray[np.float64]:
        """(n_symbols,) price push of our own flow, as a signed fraction of the price."""
        x2 = (self._signed / self.universe.scale) ** 2
        return np.sign(self._signed) * self.cap * (x2 / (1.0 + x2))

    def _quote(self) -> None:
        universe, n = self.universe, len(self.fundamental)
        self.bid, self.ask = np.empty(n, np.int64), np.empty(n, np.int64)
        _quote(
            self.fundamental, self._signed, self._gross, universe.scale, universe.spread, self.cap, self.bid, self.ask
        )


@compiled
def _walk(draws: F64, sigma: float, drift: F64, before: F64, after: F64) -> None:
    """The fundamental mid takes a step; it stays above two ticks."""
    for i in range(len(draws)):
        after[i] = max(before[i] * (1.0 + draws[i] * sigma + drift[i]), 2.0)


@compiled
def _decay(signed: F64, gross: F64, more_signed: F64, more_gross: F64, decay: float) -> None:
    """What we executed fades by ``decay``, and that of the last block comes to it."""
    for i in range(len(signed)):
        signed[i] = signed[i] * decay + more_signed[i]
        gross[i] = gross[i] * decay + more_gross[i]


@compiled
def _quote(fundamental: F64, signed: F64, gross: F64, scale: F64, usual: I64, cap: F64, bid: I64, ask: I64) -> None:
    """Writes bid and ask in ticks around the fundamental mid, pushed as ``Market.push`` says. usual: spread in ticks."""
    for i in range(len(fundamental)):
        g, x = gross[i] / scale[i], signed[i] / scale[i]
        g2, x2 = g * g, x * x
        spread = np.rint(usual[i] * (1.0 + WIDEN_MAX * g2 / (4.0 + g2)))
        push = np.sign(signed[i]) * cap[i] * (x2 / (1.0 + x2))
        mid = fundamental[i] * (1.0 + push)
        bid[i] = np.int64(max(np.floor(mid - spread / 2.0), 1.0))
        ask[i] = bid[i] + np.int64(spread)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Executions of marketable orders. order: (m,) index into the input; qty: (m,) shares; level: (m,) ticks from the
    touch; filled: (n,) shares done for each input."""

    order: NDArray[np.int64]
    qty: NDArray[np.int64]
    level: NDArray[np.int64]
    filled: NDArray[np.int64]


def sweep(book: NDArray[np.int64], qty: NDArray[np.int64], depth: NDArray[np.int64]) -> Sweep:
    """Match marketable orders, in the order given, against ladders of SWEEP_LEVELS levels.

    book: (n,) which ladder (symbol and side) each order goes to; qty: (n,) shares; depth: (n,) shares per level of that
    ladder. Price-time priority: equal to a limit order book (checked against bourse.core.OrderBook in the tests).
    """
    n = len(book)
    by_book, filled = np.argsort(book, kind="stable"), np.empty(n, np.int64)
    pieces = np.empty((3, SWEEP_LEVELS * n), np.int64)
    done = climb(book, qty, depth, by_book, pieces, filled)
    return Sweep(pieces[0, :done], pieces[1, :done], pieces[2, :done], filled)


@compiled
def climb(book: I64, qty: I64, depth: I64, by_book: I64, pieces: I64, filled: I64) -> int:
    """``sweep`` of orders that ``by_book`` sorts, stably. Writes pieces (3, SWEEP_LEVELS * n): order, shares and level of
    each execution, and filled (n,); returns how many executions."""
    at, taken, last = 0, 0, -1
    for k in range(len(by_book)):
        i = by_book[k]
        if k == 0 or book[i] != last:
            taken, last = 0, book[i]
        size = depth[i]
        start, end = min(taken, size * SWEEP_LEVELS), min(taken + qty[i], size * SWEEP_LEVELS)
        taken += qty[i]
        filled[i] = end - start
        while start < end:
            level = start // size
            stop = min(end, (level + 1) * size)
            pieces[0, at], pieces[1, at], pieces[2, at] = i, stop - start, level
            start = stop
            at += 1
    return at
