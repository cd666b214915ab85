"""The simulator's own positions: by server, account and symbol for "is this reducing", the incident's for its loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.codes import BAD, BUY, CANCELED, EXPIRED, F64, FILL, I64, REJECTED, Rows
from producers.tables import Flag
from producers.world import World
from schemas.events import Kind, Side
from schemas.jit import compiled


class Book:
    """Positions and what was executed in the current block. signed, gross: (n_symbols,) shares of the block."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.position = np.zeros((world.n_servers, 256, world.n_symbols), np.int64)
        """Shares by server, account and symbol."""
        self.signed = np.zeros(world.n_symbols)
        self.gross = np.zeros(world.n_symbols)
        self.bad_position = np.zeros(world.n_symbols)
        self._bad_cash_usd = 0.0
        self.bad_executions = 0

    def settle(self, recs: NDArray[Any]) -> None:
        """Take what happens (REC): executions; parents' filled and working shares."""
        if _settle(recs, self._world.parents.table, self.position, self.signed, self.gross):
            self._take_bad(recs[(recs["kind"] == Kind.fill) & ((recs["flags"] & Flag.BAD) != 0)])

    def _take_bad(self, fills: NDArray[Any]) -> None:
        """The incident's executions, in numpy: its dot product fixes the order in which cents are summed."""
        qty = fills["qty"].astype(np.float64)
        signed = np.where(fills["side"] == Side.B, qty, -qty)
        self.bad_executions += len(fills)
        self.bad_position += np.bincount(fills["sym"], signed, self._world.n_symbols)
        self._bad_cash_usd -= float(np.dot(signed, fills["px"] / 1e9))

    def next_block(self) -> None:
        """Forget the block's executions (the market has taken them)."""
        self.signed[:] = 0
        self.gross[:] = 0

    def loss_usd(self, mid_usd: NDArray[np.float64]) -> float:
        """Loss of the incident's positions marked to ``mid_usd`` (n_symbols,); positive is lost."""
        return 0.0 - (self._bad_cash_usd + float(np.dot(self.bad_position, mid_usd)))


@compiled
def _settle(recs: Rows, parents: Rows, position: I64, signed: F64, gross: F64) -> int:
    """Book executions and what ends; returns how many executions are the incident's. parents: PARENT;
    position: by server, account and symbol; signed, gross: by symbol (whole numbers, so that order does not matter)."""
    bad = 0
    for i in range(len(recs)):
        rec = recs[i]
        kind, parent, qty = rec["kind"], rec["parent"], rec["qty"]
        if kind == FILL:
            sym = rec["sym"]
            bought = qty if rec["side"] == BUY else -qty
            if parent >= 0:
                parents[parent]["filled"] += qty
            position[rec["server"], rec["acct"], sym] += bought
            signed[sym] += bought
            gross[sym] += qty
            bad += rec["flags"] & BAD
        elif parent >= 0 and kind in (CANCELED, REJECTED, EXPIRED):
            parents[parent]["committed"] -= qty
    return bad
