"""Units used everywhere: prices are int64 in 1e-9 of the currency unit (PRICE9), times int64 nanoseconds UTC,
money int64 micro-dollars (USD6). Integers, because sums of integers do not depend on the order of summing,
and the engines promise byte-identical output for any cutting of the log."""

from typing import Final

PRICE9: Final = 1_000_000_000
USD6: Final = 1_000_000
PRICE9_PER_USD6: Final = PRICE9 // USD6

US_NS: Final = 1_000
MS_NS: Final = 1_000_000
S_NS: Final = 1_000_000_000
MIN_NS: Final = 60 * S_NS
DAY_MIN: Final = 24 * 60

QTY_MAX: Final = 1_000_000_000
"""Largest quantity an event may carry (shares or contracts); beyond it the event is a dead letter."""
PX9_MAX: Final = 1_000_000 * PRICE9
"""Largest price an event may carry: one million currency units (below 2**53 when held as a float of PRICE9)."""
TS_NS_MIN: Final = 631_152_000 * S_NS
"""Earliest time an event may carry: 1990-01-01 UTC."""
TS_NS_MAX: Final = 4_102_444_800 * S_NS
"""Latest time an event may carry: 2100-01-01 UTC."""


def price9(price: float) -> int:
    """Fixed-point price: currency units -> int of 1e-9. ``price9(123.45) == 123_450_000_000``."""
    return round(price * PRICE9)


def price(price_9: int) -> float:
    """Currency units from a fixed-point price."""
    return price_9 / PRICE9


def usd(usd6: int) -> float:
    """Dollars, to the cent and stable as text, from micro-dollars."""
    return round(usd6 / USD6, 2)
