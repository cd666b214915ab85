"""Nodes that are not what the release says, and what comes of it.

- config-drift: one server's configuration changes without a release; from then on venues refuse a third of its orders.
  No source for the numbers; the pattern is Knight's (a host unlike its peers), without the flood.
- preopen-rejects: Knight, 2012-08-01 (SEC 34-70694 par. 19): 97 rejects (``Power Peg disabled``) between 08:01 and
  09:30 from the server with the old build, one every 55 s on average.
"""

from typing import Final

import numpy as np

from producers.arrivals import Arrivals
from producers.faults.culprit import children, one_server, own_parents, times, touch, want
from producers.tables import Style
from producers.world import OLD_BUILD, RETAIL, RLP, World
from schemas.events import Side
from schemas.units import MS_NS, S_NS

DRIFT_REJECT_SHARE: Final = 0.35
REJECTS: Final = 97
REJECTS_OVER_S: Final = 89 * 60.0


class ConfigDrift:
    """From ``onset_ns`` on one node runs a configuration that nobody declared."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset = rng, onset_ns

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw the server."""
        self._world = world
        self._server = one_server(self._rng, world, self._onset, reject_share=DRIFT_REJECT_SHARE)

    def block(self, start_ns: int, end_ns: int) -> None:
        """Drift when the time has come."""
        if end_ns <= self._onset:
            return
        world, server = self._world, self._server
        world.nodes[server].config = "deadbe0f"
        world.reject_share[server] = DRIFT_REJECT_SHARE
        world.reject_bad[server] = True


class PreopenRejects:
    """One node with the old build and a flag that its peers have not; its RLP orders are refused."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset = rng, onset_ns

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw the server; declare the new build for all."""
        self._world = world
        self._server = int(self._rng.integers(world.n_servers))
        for i, node in enumerate(world.nodes):
            world.declare(i, world.start_ns, "rlp-2012-07-31", node)
        node = world.nodes[self._server]
        node.build, node.flags = OLD_BUILD, {"rlp": False, "power_peg": True}
        want(world, world.start_ns, server=self._server)
        world.truth.params.update(server=world.servers[self._server])

    def block(self, start_ns: int, end_ns: int) -> None:
        """Now and then an order that is refused; the first soon after the onset."""
        world, rng = self._world, self._rng
        ts = times(rng, max(start_ns, self._onset), end_ns, REJECTS / REJECTS_OVER_S)
        if start_ns <= self._onset + 5 * S_NS < end_ns:
            ts = np.sort(np.append(ts, self._onset + 5 * S_NS))
        if not len(ts):
            return
        sym = rng.integers(0, world.n_symbols, len(ts))
        rows = own_parents(world, int(ts[0]), self._server, sym, Side.B, 100, strat=RLP, acct=RETAIL)
        px = touch(world, sym, np.ones(len(ts), np.bool_))
        world.send(children(world, rows, np.minimum(ts + MS_NS, end_ns - 1), 100, px, style=Style.REJECT))
