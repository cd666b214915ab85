"""The simulator's own positions: by server, account and symbol for "is this reducing", the incident's for its loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.tables import Flag
from producers.world import World
from schemas.events import Side


class Book:
    """Positions and what was executed in the current block. signed, gross: (n_symbols,) shares of the block."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._shape = (world.n_servers, 256, world.n_symbols)
        self._position = np.zeros(self._shape, np.int64)
        self.signed = np.zeros(world.n_symbols)
        self.gross = np.zeros(world.n_symbols)
        self.bad_position = np.zeros(world.n_symbols)
        self._bad_cash_usd = 0.0
        self.bad_executions = 0

    def fill(self, fills: NDArray[Any]) -> None:
        """Take executions (REC of kind fill)."""
        n = self._world.n_symbols
        sym = fills["sym"]
        qty = fills["qty"].astype(np.float64)
        signed = np.where(fills["side"] == Side.B, qty, -qty)
        self.signed += np.bincount(sym, signed, n)
        self.gross += np.bincount(sym, qty, n)
        np.add.at(self._position, (fills["server"], fills["acct"], sym), signed.astype(np.int64))
        bad = (fills["flags"] & Flag.BAD) != 0
        if bad.any():
            self.bad_executions += int(bad.sum())
            self.bad_position += np.bincount(sym[bad], signed[bad], n)
            self._bad_cash_usd -= float(np.dot(signed[bad], fills["px"][bad] / 1e9))

    def next_block(self) -> None:
        """Forget the block's executions (the market has taken them)."""
        self.signed[:] = 0
        self.gross[:] = 0

    def reducing(self, orders: NDArray[Any]) -> NDArray[np.bool_]:
        """(n,) does each order (REC) bring its server's position in account and symbol nearer to zero, not beyond?"""
        position = self._position[orders["server"], orders["acct"], orders["sym"]]
        towards = np.where(orders["side"] == Side.B, -position, position)
        smaller: NDArray[np.bool_] = orders["qty"] <= towards
        return smaller

    def loss_usd(self, mid_usd: NDArray[np.float64]) -> float:
        """Loss of the incident's positions marked to ``mid_usd`` (n_symbols,); positive is lost."""
        return 0.0 - (self._bad_cash_usd + float(np.dot(self.bad_position, mid_usd)))
