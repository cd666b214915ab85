"""What all parts of the simulation share: names, market, parents, calendar, phases, node states, ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers.market import TICK9, Market, Universe, make_universe
from producers.tables import Calendar, Parents
from schemas.events import Phase, take
from schemas.records import Declared, NodeState
from schemas.units import S_NS

OPEN_2012_08_01_NS: Final = 1_343_827_800 * S_NS
"""09:30 New York time on 2012-08-01, 13:30 UTC: the default opening of a scenario."""
STRATEGIES: Final = ("VWAP", "TWAP", "POV", "LIQSEEK", "RLP", "PEG")
RLP: Final = STRATEGIES.index("RLP")
ACCOUNTS: Final = (*(f"A{i:02d}" for i in range(1, 13)), "RETAIL")
RETAIL: Final = ACCOUNTS.index("RETAIL")
VENUES: Final = ("XNYS", "XNAS", "ARCX", "BATS", "EDGX", "IEXG")
NEW_BUILD: Final = "smars-7.2.1"
OLD_BUILD: Final = "smars-7.1.9"
NEW_CONFIG: Final = "c0ffee01"
SERVERS_MAX: Final = 99
REJECT_SHARE: Final = 0.002
"""Share of orders that venues refuse on an ordinary day."""


@dataclass(slots=True)
class Node:
    """What a node shows of itself."""

    build: str = NEW_BUILD
    config: str = NEW_CONFIG
    flags: dict[str, bool] = field(default_factory=lambda: {"rlp": True, "power_peg": False})
    silent: bool = False


@dataclass(slots=True)
class Truth:
    """Ground truth gathered while the scenario runs."""

    scopes: list[tuple[str, int]] = field(default_factory=list)
    """(scope that ought to be halted, ns when its trouble begins)."""
    params: dict[str, Any] = field(default_factory=dict)
    """What the seed drew for this incident."""

    def want(self, scope: str, ts: int) -> None:
        """``scope`` ought to be halted from ``ts`` on."""
        if all(name != scope for name, _ in self.scopes):
            self.scopes.append((scope, ts))


def server_names(n: int) -> tuple[str, ...]:
    """``R1`` to ``Rn``. ValueError beyond SERVERS_MAX."""
    if not 1 <= n <= SERVERS_MAX:
        raise ValueError(f"{n} servers asked for, expected 1 to {SERVERS_MAX}")
    return tuple(f"R{i}" for i in range(1, n + 1))


class World:
    """Shared state. Times in ns of event time; arrays by server are (n_servers,), by symbol (n_symbols,)."""

    def __init__(self, servers: Sequence[str], seed: int, start_ns: int, open_ns: int, close_ns: int) -> None:
        seeds = np.random.SeedSequence(seed).spawn(5)
        rngs = [np.random.default_rng(s) for s in seeds]
        self.rng_market, self.rng_arrivals, self.rng_slicer, self.rng_venue = rngs[1:]
        self.universe: Universe = make_universe(rngs[0])
        self.market = Market(self.universe, self.rng_market)
        self.parents = Parents()
        self.calendar = Calendar(start_ns)
        self.servers = tuple(servers)
        self.strategies = list(STRATEGIES)
        self.accounts = list(ACCOUNTS)
        self.start_ns, self.open_ns, self.close_ns = start_ns, open_ns, close_ns
        self.orders = 0
        self.execs = 0
        self.children: list[NDArray[Any]] = []
        self.control: list[NodeState | Declared] = []
        self.nodes = [Node() for _ in self.servers]
        self.truth = Truth()
        self.skew_ns = np.zeros(len(servers), np.int64)
        """Error of each server's clock."""
        self.paused = np.zeros(len(servers), np.bool_)
        """Servers that take and send nothing."""
        self.reject_share = np.full(len(servers), REJECT_SHARE)
        """Share of each server's orders that venues refuse."""
        self.reject_bad = np.zeros(len(servers), np.bool_)
        """Servers whose rejects belong to the incident."""
        self.resend: list[NDArray[Any]] = []
        """Events (EVENT, as published before) that are published once more after the present slice's own."""
        self.keep_of = -1
        """Server of which the last ``keep_max`` events are kept (-1: none)."""
        self.keep_max = 0
        self.kept: list[NDArray[Any]] = []
        self.halted = np.zeros(len(self.universe.symbols), np.bool_)
        """Symbols that the exchange has halted."""
        self.phase_forced = np.zeros(len(self.universe.symbols), np.uint8)
        """Phase of a symbol where it is not that of the session (0: it is)."""

    @property
    def n_servers(self) -> int:
        return len(self.servers)

    @property
    def n_symbols(self) -> int:
        return len(self.universe.symbols)

    def bid9(self, sym: NDArray[Any]) -> NDArray[np.int64]:
        """Best bid in 1e-9 for symbols ``sym``."""
        picked: NDArray[np.int64] = self.market.bid[sym] * TICK9
        return picked

    def ask9(self, sym: NDArray[Any]) -> NDArray[np.int64]:
        """Best offer in 1e-9 for symbols ``sym``."""
        picked: NDArray[np.int64] = self.market.ask[sym] * TICK9
        return picked

    def count_orders(self, n: int) -> int:
        """Number of the first of ``n`` new cl_ord_ids."""
        self.orders += n
        return self.orders - n

    def count_execs(self, n: int) -> int:
        """Number of the first of ``n`` new exec_ids."""
        self.execs += n
        return self.execs - n

    def take_orders(self, n: int) -> NDArray[np.int64]:
        """Numbers for ``n`` new cl_ord_ids."""
        first = self.count_orders(n)
        return np.arange(first, first + n)

    def take_execs(self, n: int) -> NDArray[np.int64]:
        """Numbers for ``n`` new exec_ids."""
        first = self.count_execs(n)
        return np.arange(first, first + n)

    def send(self, children: NDArray[Any]) -> None:
        """Children (CHILD) that routers send in this block."""
        if len(children):
            self.children.append(children)

    def phase(self, ts: int) -> Phase:
        """Phase of the session at ``ts``."""
        if ts < self.open_ns:
            return Phase.pre
        if ts < self.open_ns + 2 * S_NS:
            return Phase.open
        if ts < self.close_ns - 2 * S_NS:
            return Phase.cont
        return Phase.close if ts < self.close_ns else Phase.post

    def observe(self, ts: int, seq: NDArray[np.int64]) -> None:
        """Each node that is not silent says what it runs; ``seq``: (n_servers,) last order event it published."""
        for i, (name, node) in enumerate(zip(self.servers, self.nodes, strict=True)):
            if not node.silent:
                self.control.append(
                    NodeState(
                        name, ts + int(self.skew_ns[i]), node.build, node.config, dict(node.flags), None, int(seq[i])
                    )
                )

    def keep(self, events: NDArray[Any]) -> None:
        """Remember events (EVENT) of the server that ``keep_of`` names."""
        if self.keep_of < 0:
            return
        mine = take(events, np.flatnonzero(events["server"] == self.servers[self.keep_of].encode()))
        if len(mine):
            self.kept.append(mine)
        while len(self.kept) > 1 and sum(map(len, self.kept[1:])) >= self.keep_max:
            self.kept.pop(0)

    def declare(self, server: int, ts: int, release: str, node: Node) -> None:
        """The release process says that ``server`` runs what ``node`` holds."""
        name = self.servers[server]
        self.control.append(Declared(name, ts, release, node.build, node.config, dict(node.flags)))
