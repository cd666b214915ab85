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
        walk = self._rng.standard_normal(len(self.fundamental)) * (self._sigma * self.volatility)
        self.fundamental = np.maximum(self.fundamental * (1.0 + walk + self.drift), 2.0)
        self._signed = self._signed * self._decay + signed
        self._gross = self._gross * self._decay + gross
        self.bid_before, self.ask_before = self.bid, self.ask
        self._quote()

    def push(self) -> NDArray[np.float64]:
        """(n_symbols,) price push of our own flow, as a signed fraction of the price."""
        x2 = (self._signed / self.universe.scale) ** 2
        return np.sign(self._signed) * self.cap * (x2 / (1.0 + x2))

    def _quote(self) -> None:
        g2 = (self._gross / self.universe.scale) ** 2
        spread = np.rint(self.universe.spread * (1.0 + WIDEN_MAX * g2 / (4.0 + g2)))
        mid = self.fundamental * (1.0 + self.push())
        bid = np.maximum(np.floor(mid - spread / 2.0), 1.0)
        self.bid = bid.astype(np.int64)
        self.ask = self.bid + spread.astype(np.int64)


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
    by_book = np.argsort(book, kind="stable")
    sizes, key = qty[by_book], book[by_book]
    total = np.cumsum(sizes)
    head = np.empty(n, np.bool_)
    head[:1] = True
    np.not_equal(key[1:], key[:-1], out=head[1:])
    before = total - sizes
    before -= np.maximum.accumulate(np.where(head, before, 0))
    level_size = depth[by_book]
    available = level_size * SWEEP_LEVELS
    start, end = np.minimum(before, available), np.minimum(before + sizes, available)
    done = end - start
    first = start // level_size
    pieces = np.where(done > 0, (end - 1) // level_size - first + 1, 0)
    owner = np.repeat(np.arange(n), pieces)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    level = first[owner] + rank
    low = np.maximum(start[owner], level * level_size[owner])
    high = np.minimum(end[owner], (level + 1) * level_size[owner])
    filled = np.empty(n, np.int64)
    filled[by_book] = done
    return Sweep(by_book[owner], high - low, level, filled)
