"""Pre-set limits as the compiled loops see them: for ``detectors/exposure.py``."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from detectors.arrays import I64, U64
from detectors.config import AccountLimits, ExposureConfig, SymbolLimits
from schemas.jit import compiled
from schemas.units import USD6

ONE: Final = 1 << 10
"""One limit."""
RATIO_MAX: Final = 1 << 40
USD6_MAX: Final = 1 << 61
_NO_ACCOUNT: Final = AccountLimits(gross_usd=-1.0, net_usd=-1.0, order_usd=-1.0, order_qty=-1, parent_usd=-1.0)
_NO_SYMBOL: Final = SymbolLimits(gross_usd=-1.0, order_qty=-1)


class Limits(NamedTuple):
    """(k, 2) names as words and (k, 5) limits of accounts (gross, net, order USD, order shares,
    parent USD); (m, 2), (m, 2) of
    symbols (gross, order shares); (2,) of the server (gross, net). Row 0 is "*" and may be absent (limit -1)."""

    accounts: U64
    account: I64
    symbols: U64
    symbol: I64
    server: I64


def limits_of(config: ExposureConfig) -> Limits:
    """The tables of a configuration."""
    accounts = _table(config.accounts, _NO_ACCOUNT)
    symbols = _table(config.symbols, _NO_SYMBOL)
    return Limits(
        _words(list(accounts)),
        np.array(
            [
                [_usd6(a.gross_usd), _usd6(a.net_usd), _usd6(a.order_usd), a.order_qty, _usd6(a.parent_usd)]
                for a in accounts.values()
            ]
        ),
        _words(list(symbols)),
        np.array([[_usd6(s.gross_usd), s.order_qty] for s in symbols.values()]),
        np.array([_usd6(config.server_gross_usd), _usd6(config.server_net_usd)]),
    )


def _table(given: Mapping[str, Any], absent: Any) -> dict[str, Any]:
    return {"*": given.get("*", absent), **{name: limits for name, limits in given.items() if name != "*"}}


def _usd6(amount: float) -> int:
    return min(round(amount * USD6), USD6_MAX)


def _words(names: list[str]) -> U64:
    return np.array([name.encode() for name in names], "S16").view(np.uint64).reshape(len(names), 2)


@compiled
def find(names: U64, key: U64, at: int, absent: int) -> int:
    """Row of the limits for a name; that of "*" if there is none."""
    for k in range(1, len(names)):
        if names[k, 0] == key[0, at] and names[k, 1] == key[0, at + 1]:
            return k
    return absent


@compiled
def ratio_of(amount: int, limit: int) -> int:
    """In 1/1024; a limit of 0 is passed by anything. In floating point: a division of integers takes three times as long,
    and there are six for each order. Exact at the limit itself."""
    if limit < ONE:
        return RATIO_MAX if amount > limit else 0
    return min(int(np.float64(amount) / np.float64(limit) * 1024.0), RATIO_MAX)
