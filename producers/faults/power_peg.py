"""Power Peg: Knight Capital, 2012-08-01 (SEC order, Release 34-70694, paragraphs 12 to 19).

212 parents became over 4 million executions of 397 million shares in 154 stocks within 45 minutes, USD 460 m lost: per
parent 18,868 executions, one every 143 ms; 1.38 parents per stock; 99.25 shares each (round lots of 100). Derived:
1,481 executions/s over all, USD 170,370/s, USD 1.16 per share. While one server of eight was bad: 230 to 300/s where
the rate goes with the number of bad servers (``rollback_ns``). Net long in 80 stocks, net short in 74. Skewed over
stocks: mean 9.6/s, NOK 134/s. Two shapes: one-sided (WZE bought up, CODE sold down) and ping-pong (EXC: buy at the
ask, sell at the bid; net near zero, the spread is burnt).

The 212 were received before the open. The first children fill their parents, as they should; what follows is bad. Part
of the ``Power Peg disabled`` rejects of the morning (97 between 08:01 and 09:30, other orders than the 212) falls into
the calm before.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers.arrivals import Arrivals
from producers.router import limit_price, parent_records
from producers.tables import CHILD, Flag, Style
from producers.world import OLD_BUILD, RETAIL, RLP, World
from schemas.events import Kind, Side
from schemas.scopes import FIRM, scope
from schemas.units import MS_NS, S_NS

PARENTS: Final = 212
EXECUTIONS_PER_S: Final = 1_481.0
EXECUTIONS_PER_S_ONE_SERVER: Final = 265.0
LOSS_USD_PER_SHARE: Final = 1.16
LONG_SHARE: Final = 80 / 154
PING_PONG_SHARE: Final = 0.16
"""Share of executions that goes back and forth; the rest builds USD 6.65 bn gross of 397 m shares."""
LOT: Final = 100
REJECT_EVERY_S: Final = 55.0
"""97 e-mails in 89 minutes."""


class PowerPeg:
    """One stale server. ``executions_per_s``: over all flagged parents when every bad server runs.

    onset_ns: the open. rollback_ns: 0, or when the stale code spreads to the others: until then the stale server has
    its share of the parents and sends EXECUTIONS_PER_S_ONE_SERVER.
    """

    def __init__(
        self, rng: np.random.Generator, onset_ns: int, *, executions_per_s: float = EXECUTIONS_PER_S,
        rollback_ns: int = 0, parents: int = PARENTS,
    ) -> None:  # fmt: skip
        self._rng = rng
        self._onset, self._rollback = onset_ns, rollback_ns
        self._total_per_s = executions_per_s * rng.uniform(0.92, 1.08)
        self._n = parents

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Pick server, stocks and sides; put the flagged parents before the open."""
        self._world = world
        rng = self._rng
        self._stale = int(rng.integers(world.n_servers))
        self._spread = False
        node = world.nodes[self._stale]
        for i, other in enumerate(world.nodes):
            world.declare(i, world.start_ns, "rlp-2012-07-31", other)
        node.build, node.config, node.flags = OLD_BUILD, "0ldc0de7", {"rlp": False, "power_peg": True}
        sym, side, share, ping = self._draw_parents()
        server = np.full(len(sym), self._stale)
        if self._rollback:
            server = self._assign_servers(share)
        self._server, self._sym, self._side = server, sym, side
        self._mean = share * self._total_per_s
        early = max(world.start_ns, self._onset - 60 * S_NS)
        ts = np.sort(rng.integers(early, max(self._onset, early + 1), len(sym)))
        self._rows = np.full(len(sym), -1)
        self._accept(server == self._stale, ts)
        self._reject_times(world)
        self._calibrate(ping, share)
        world.truth.params.update(
            stale_server=world.servers[self._stale],
            executions_per_s=round(float(self._mean[server == self._stale].sum()), 1),
            executions_per_s_all=round(float(self._mean.sum()), 1),
            parents=len(sym), parents_at_open=int((server == self._stale).sum()), symbols=len(np.unique(sym)),
            rollback_ns=self._rollback, ping_pong_symbols=int(ping.sum()),
        )  # fmt: skip

    def _draw_parents(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Symbol, side, share of the flow of each flagged parent; and which symbols (n_symbols,) go back and forth."""
        rng, world = self._rng, self._world
        n_sym = min(world.n_symbols, self._n)
        chosen = np.sort(rng.permutation(world.n_symbols)[:n_sym])
        rate = world.universe.weight[chosen] * rng.lognormal(0.0, 0.25, n_sym)
        rate /= rate.sum()
        extra = rng.choice(n_sym, self._n - n_sym) if self._n > n_sym else np.zeros(0, np.int64)
        place = np.concatenate([np.arange(n_sym), extra])
        count = np.bincount(place, minlength=n_sym)
        ping = np.zeros(n_sym, np.bool_)
        total = 0.0
        for i in rng.permutation(np.flatnonzero(count == 2)):
            if total + rate[i] <= PING_PONG_SHARE:
                ping[i] = True
                total += rate[i]
        buys = np.zeros(n_sym, np.bool_)
        buys[rng.permutation(n_sym)[: round(LONG_SHARE * n_sym)]] = True
        second = np.concatenate([np.zeros(n_sym, np.bool_), np.ones(len(extra), np.bool_)])
        buy = buys[place] ^ (ping[place] & second)
        side = np.where(buy, Side.B, np.where(rng.random(len(place)) < 0.3, Side.SS, Side.S))
        mask = np.zeros(world.n_symbols, np.bool_)
        mask[chosen[ping]] = True
        return chosen[place], side, rate[place] / count[place], mask

    def _assign_servers(self, share: NDArray[np.float64]) -> NDArray[np.int64]:
        """The stale server's parents carry EXECUTIONS_PER_S_ONE_SERVER; the others' come after the rollback."""
        rng, n = self._rng, len(share)
        others = np.array([i for i in range(self._world.n_servers) if i != self._stale])
        server = rng.choice(others, n) if len(others) else np.full(n, self._stale)
        want = EXECUTIONS_PER_S_ONE_SERVER / (EXECUTIONS_PER_S_ONE_SERVER * self._world.n_servers)
        total = 0.0
        for i in rng.permutation(n):
            if total + share[i] <= want * 1.02:
                server[i] = self._stale
                total += float(share[i])
        return server

    def _accept(self, which: NDArray[np.bool_], ts: NDArray[np.int64]) -> None:
        """Flagged parents enter: small retail orders, not served by the healthy slicer."""
        world, rng = self._world, self._rng
        at = np.flatnonzero(which)
        qty = np.maximum(LOT, np.rint(rng.lognormal(np.log(300.0), 0.8, len(at)) / LOT) * LOT)
        rows = world.parents.append(
            len(at), ts=ts[at], qty=qty, clip=LOT, deadline=np.iinfo(np.int64).max, sym=self._sym[at],
            server=self._server[at], side=self._side[at], strat=RLP, acct=RETAIL, managed=False,
        )  # fmt: skip
        self._rows[at] = rows
        world.calendar.add(parent_records(world, rows, Kind.parent, ts[at]))

    def _reject_times(self, world: World) -> None:
        span = (self._onset - world.start_ns) / S_NS
        count = self._rng.poisson(span / REJECT_EVERY_S)
        if span >= 5:
            count = max(int(count), 1)
        self._rejects = np.sort(self._rng.integers(world.start_ns, max(self._onset, world.start_ns + 1), count))
        world.truth.params["preopen_rejects"] = int(count)

    def _calibrate(self, ping: NDArray[np.bool_], share: NDArray[np.float64]) -> None:
        """Scale the price pushes so that a share costs LOSS_USD_PER_SHARE on average once the push is built up."""
        market = self._world.market
        spread = market.universe.spread * 2.5 * 0.005
        one_sided = ~ping[self._sym]
        cost = np.where(one_sided, market.cap[self._sym] * market.universe.price[self._sym] * 0.01, 0.0)
        mean = float((cost * share).sum())
        want = LOSS_USD_PER_SHARE - float((spread[self._sym] * share).sum())
        market.cap = np.minimum(market.cap * max(want, 0.1) / max(mean, 1e-9), 0.8)

    def block(self, start_ns: int, end_ns: int) -> None:
        """Rejects before the open; endless children after it; the rollback when its time comes."""
        world = self._world
        early = self._rejects[(self._rejects >= start_ns) & (self._rejects < end_ns)]
        if len(early):
            self._send_rejects(early)
        if end_ns <= self._onset:
            return
        if self._rollback and start_ns >= self._rollback and not self._spread:
            self._roll_back(start_ns)
        active = np.flatnonzero(self._rows >= 0)
        counts = self._rng.poisson(self._mean[active] * ((end_ns - start_ns) / S_NS))
        pick = np.repeat(active, counts)
        if not len(pick):
            return
        rows = self._rows[pick]
        parents = world.parents
        ts = self._rng.integers(max(start_ns, self._onset), end_ns, len(pick))
        order = np.argsort(ts, kind="stable")
        rows, ts = rows[order], ts[order]
        out = self._children(rows, ts)
        over = self._beyond(rows)
        out["flags"] = np.where(over, Flag.BAD, 0)
        np.add.at(parents.committed, rows, LOT)
        bad = np.flatnonzero(over)
        if len(bad):
            for server in np.unique(parents.server[rows[bad]]):
                first = bad[parents.server[rows[bad]] == server][0]
                world.truth.want(scope("server", world.servers[server]), int(ts[first]))
        world.send(out)
        self._close_full(end_ns)

    def _beyond(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) does this child, in the order given, exceed what is left of its parent?"""
        parents = self._world.parents
        by_parent = np.argsort(rows, kind="stable")
        key = rows[by_parent]
        head = np.concatenate([[True], key[1:] != key[:-1]])
        run = np.arange(len(key)) - np.maximum.accumulate(np.where(head, np.arange(len(key)), 0))
        over = np.empty(len(key), np.bool_)
        over[by_parent] = parents.committed[key] + (run + 1) * LOT > parents.qty[key]
        return over

    def _children(self, rows: NDArray[np.int64], ts: NDArray[np.int64]) -> NDArray[Any]:
        parents = self._world.parents
        out = np.zeros(len(rows), CHILD)
        out["ts"], out["parent"], out["qty"], out["style"] = ts, rows, LOT, Style.IOC
        for name in ("sym", "server", "side", "strat", "acct"):
            out[name] = getattr(parents, name)[rows]
        no = np.zeros(len(rows), np.bool_)
        out["px"] = limit_price(self._world, out["sym"], out["side"] == Side.B, no, no)
        return out

    def _close_full(self, ts: int) -> None:
        """Upstream knows that a parent is full and says so; the stale code does not listen."""
        world = self._world
        rows = self._rows[self._rows >= 0]
        full = rows[(world.parents.filled[rows] >= world.parents.qty[rows]) & ~world.parents.done[rows]]
        if len(full):
            world.parents.done[full] = True
            done = parent_records(world, full, Kind.parent_done, ts + MS_NS)
            done["qty"] = world.parents.qty[full]
            world.calendar.add(done)

    def _send_rejects(self, ts: NDArray[np.int64]) -> None:
        """Pre-market RLP-eligible orders of the stale server, refused: not of the 212."""
        world, rng, n = self._world, self._rng, len(ts)
        sym = rng.integers(0, world.n_symbols, n)
        rows = world.parents.append(
            n, ts=ts, qty=LOT, clip=LOT, deadline=np.iinfo(np.int64).max, sym=sym, server=self._stale,
            side=np.where(rng.random(n) < 0.5, Side.B, Side.S), strat=RLP, acct=RETAIL, managed=False,
        )  # fmt: skip
        world.calendar.add(parent_records(world, rows, Kind.parent, ts))
        out = self._children(rows, ts + MS_NS)
        out["style"] = Style.REJECT
        world.parents.committed[rows] += LOT
        world.send(out)

    def _roll_back(self, now_ns: int) -> None:
        """The new code is taken off the good servers: their flagged parents run away too."""
        world = self._world
        self._spread = True
        for i, node in enumerate(world.nodes):
            if i != self._stale:
                node.build, node.flags = OLD_BUILD, {"rlp": False, "power_peg": True}
                world.declare(i, now_ns, "rollback-2012-08-01", node)
        self._accept(self._server != self._stale, np.full(len(self._server), now_ns))
        world.truth.want(FIRM, now_ns)
