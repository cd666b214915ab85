"""What the gate is asked about a slice: once for each distinct (server, symbol, strategy, account, reducing)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.codes import BUY, FREE, I64, ORDER, REPLACE, Bools, Rows
from producers.gating import Gateway
from producers.world import World
from schemas.jit import compiled


class Asking:
    """Finds what is to be asked, asks, and says who was refused."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._symbols = [name.decode() for name in world.universe.symbols.tolist()]
        self._asked = self._keys = np.zeros(0, np.int64)

    def refused(
        self, gate: Gateway, recs: NDArray[Any], dead: NDArray[np.bool_], position: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Rows of ``recs`` that the gate refuses, ascending: orders and replaces of orders that are not ``dead`` (by
        number). position: shares by server, account and symbol, by which an order is reducing or not."""
        if len(recs) > len(self._asked):
            self._asked, self._keys = np.zeros(2 * len(recs), np.int64), np.zeros(2 * len(recs), np.int64)
        n = _questions(recs, dead, position, self._asked, self._keys)
        keys = self._keys[:n].tolist()
        answers = {key: self._ask(gate, key) for key in sorted(set(keys))}
        if all(answers.values()):
            return self._asked[:0]
        return self._asked[:n][[not answers[key] for key in keys]]

    def _ask(self, gate: Gateway, key: int) -> bool:
        world = self._world
        server, sym, strat, acct, reducing = key >> 33, key >> 17 & 0xFFFF, key >> 9 & 0xFF, key >> 1 & 0xFF, key & 1
        return gate.may_send(
            world.servers[server], self._symbols[sym], world.strategies[strat], world.accounts[acct], bool(reducing)
        )


@compiled
def _questions(recs: Rows, dead: Bools, position: I64, asked: I64, keys: I64) -> int:
    """Rows that are to be asked about, and the key of each: server, symbol, strategy, account and, as the last bit, does
    it bring the position nearer to zero, not beyond? Returns how many."""
    n = 0
    for i in range(len(recs)):
        rec = recs[i]
        order = rec["order"]
        if rec["kind"] not in (ORDER, REPLACE) or rec["flags"] & FREE or (0 <= order < len(dead) and dead[order]):
            continue
        server, acct, sym = np.int64(rec["server"]), np.int64(rec["acct"]), np.int64(rec["sym"])
        held = position[server, acct, sym]
        towards = -held if rec["side"] == BUY else held
        asked[n] = i
        keys[n] = server << 33 | sym << 17 | np.int64(rec["strat"]) << 9 | acct << 1
        if rec["qty"] <= towards:
            keys[n] |= 1
        n += 1
    return n
