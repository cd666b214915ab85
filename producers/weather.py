"""Days that look alarming and are not: benign look-alikes (domain notes 2.6, last paragraph; derived, no one source).

Healthy routers all of them: what changes is how much arrives, where, on which side, at what prices, and how nodes and
the exchange behave. The measured scale of ordinary days (notes on ordinary flow): the busiest second holds 6 to 10
times what the 99th percentile second does, and one side has >= 95 % of the volume in up to 10 % of symbol-minutes.

Each is a function of the day and the block, called once a block; it knows when its peculiarity begins (``day.begin``).
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers.arrivals import Arrivals
from producers.faults.culprit import strategy
from producers.tables import join
from producers.world import World
from schemas.events import FLAG_POSS_DUP, Phase, take
from schemas.units import MS_NS, S_NS

AUCTION_PARENTS: Final = 200
"""Per server, all at once in the opening auction or the reopening of a symbol."""
DROP_COPY_EVENTS: Final = 5_000
"""Published once more after a reconnect."""


class Day:
    """World, arrivals and a generator, and what a look-alike has drawn: one server, one symbol, up or down.

    happen: what bends the world, once a block. prepare: what must be there before the first.
    """

    world: World
    arrivals: Arrivals

    def __init__(
        self, rng: np.random.Generator, begin_ns: int, happen: Callable[["Day", int, int], None],
        prepare: Callable[["Day"], None] | None = None,
    ) -> None:  # fmt: skip
        self.rng, self.begin = rng, begin_ns
        self._happen, self._prepare = happen, prepare
        self.server = self.peer = self.sym = 0
        self.up = 1.0

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw."""
        self.world, self.arrivals = world, arrivals
        servers = self.rng.permutation(world.n_servers)
        self.server, self.peer = int(servers[0]), int(servers[-1])
        self.sym = int(self.rng.integers(world.n_symbols))
        self.up = float(self.rng.choice([-1.0, 1.0]))
        world.truth.params.update(server=world.servers[self.server], symbol=world.universe.symbols[self.sym].decode())
        if self._prepare:
            self._prepare(self)

    def block(self, start_ns: int, end_ns: int) -> None:
        """One block."""
        self._happen(self, start_ns, end_ns)

    def since_s(self, now_ns: int) -> float:
        """Seconds since it began; negative before."""
        return (now_ns - self.begin) / S_NS

    def flock(self, ts: int, spread_ns: int, n: int, sym: NDArray[Any] | None = None, buy: float = 0.5) -> None:
        """``n`` parents within ``spread_ns`` at random servers and (unless given) symbols."""
        world, rng = self.world, self.rng
        if sym is None:
            sym = rng.choice(world.n_symbols, n, p=world.universe.weight)
        server = rng.integers(0, world.n_servers, n)
        self.arrivals.accept(ts + rng.integers(0, spread_ns, n), server, sym, np.full(n, buy), children_factor=0.5)


def open_auction(day: Day, start_ns: int, end_ns: int) -> None:
    """The open: a quiet pre-market, then all that waited at once, and ten times the flow, ebbing over a minute."""
    t = day.since_s(start_ns)
    day.arrivals.server_factor[:] = 0.4 if t < 0 else 1.0 + 9.0 * np.exp(-t / 20.0)
    if start_ns == day.begin:
        day.flock(start_ns + MS_NS, 400 * MS_NS, AUCTION_PARENTS * day.world.n_servers)


def close_auction(day: Day, start_ns: int, end_ns: int) -> None:
    """The last minutes: flow grows to eight times, the closing auction takes a flock, and then nothing."""
    to_close_s = (day.world.close_ns - start_ns) / S_NS
    day.arrivals.server_factor[:] = 0.02 if to_close_s <= 0 else 1.0 + 7.0 * np.exp(-to_close_s / 60.0)
    if start_ns == day.world.close_ns - 2 * S_NS:
        day.flock(start_ns, 1_500 * MS_NS, AUCTION_PARENTS * day.world.n_servers)


def news_burst(day: Day, start_ns: int, end_ns: int) -> None:
    """News in one symbol: a flock within half a second, a hundred times its flow for a minute, mostly on one side."""
    t = day.since_s(start_ns)
    if t < 0:
        return
    ebb = float(np.exp(-t / 25.0))
    most = 2.0 / day.world.universe.weight[day.sym]  # at most twice what usually arrives in all symbols
    day.arrivals.symbol_factor[day.sym] = 1.0 + min(99.0, most) * ebb
    day.arrivals.buy_shift[day.sym] = 0.35 * day.up * ebb
    day.world.market.drift[day.sym] = 2e-4 * day.up * ebb
    if start_ns == day.begin:
        n = 15 * day.world.n_servers
        day.flock(start_ns, 500 * MS_NS, n, np.full(n, day.sym), 0.5 + 0.4 * day.up)


def market_crash(day: Day, start_ns: int, end_ns: int) -> None:
    """Everything falls 6 % in three minutes: five times the flow on all servers and symbols, four fifths of it sales,
    eight times the usual volatility."""
    t = day.since_s(start_ns)
    if t < 0:
        return
    rise = min(t / 10.0, 1.0) * float(np.exp(-max(0.0, t - 180.0) / 60.0))
    day.arrivals.server_factor[:] = 1.0 + 4.0 * rise
    day.arrivals.buy_shift[:] = -0.3 * rise
    day.world.market.volatility = 1.0 + 7.0 * rise
    day.world.market.drift[:] = -0.06 / 1_800 * rise


def failover(day: Day, start_ns: int, end_ns: int) -> None:
    """One gateway is taken out of service; its flow goes to one peer, which doubles."""
    if start_ns != day.begin or day.server == day.peer:
        return
    day.world.paused[day.server] = True
    day.arrivals.server_factor[day.server] = 0.0
    day.arrivals.server_factor[day.peer] = 2.0
    day.world.truth.params.update(peer=day.world.servers[day.peer])


def index_rebalance(day: Day, start_ns: int, end_ns: int) -> None:
    """A list of all symbols every ten seconds, five times the usual sizes, four times the flow, into the close."""
    t = day.since_s(start_ns)
    if t < 0:
        return
    day.arrivals.server_factor[:] = 1.0 + 3.0 * min(t / 60.0, 1.0)
    day.arrivals.clip_factor = 1.0 + 4.0 * min(t / 30.0, 1.0)
    if (start_ns - day.begin) % (10 * S_NS) == 0:
        day.flock(start_ns, S_NS, day.world.n_symbols, np.arange(day.world.n_symbols))


def strategy_ramp(day: Day, start_ns: int, end_ns: int) -> None:
    """A new strategy goes live: from nothing to a third of a usual day's flow within two minutes, on every server.
    It slices as VWAP does."""
    world, rng = day.world, day.rng
    rate = 2.3 * float(np.clip(day.since_s(start_ns) / 120.0, 0.0, 1.0)) * world.n_servers
    n = int(rng.poisson(rate * (end_ns - start_ns) / S_NS))
    if n:
        sym = rng.choice(world.n_symbols, n, p=world.universe.weight)
        server, ts = rng.integers(0, world.n_servers, n), rng.integers(start_ns, end_ns, n)
        day.arrivals.accept(ts, server, sym, np.full(n, 0.5), strategy=strategy(world, "NEWALGO"), like=0)


def keep_drop_copy(day: Day) -> None:
    """The server's last events are kept."""
    day.world.keep_of, day.world.keep_max = day.server, DROP_COPY_EVENTS


def drop_copy_resend(day: Day, start_ns: int, end_ns: int) -> None:
    """A router reconnects every half minute and publishes its last 5,000 events once more, marked poss_dup."""
    since = start_ns - day.begin
    if since < 0 or since % (30 * S_NS) or not day.world.kept:
        return
    kept = join(day.world.kept)
    again = take(kept, np.arange(max(0, len(kept) - DROP_COPY_EVENTS), len(kept)))
    again["flags"] |= FLAG_POSS_DUP
    day.world.resend.append(again)


def clock_skew(day: Day, start_ns: int, end_ns: int) -> None:
    """One server's clock runs away by 3 ms a second, up to 900 ms; it is set right and runs away the other way."""
    t = max(day.since_s(start_ns), 0.0)
    sign = 1 if int(t / 300.0) % 2 == 0 else -1
    day.world.skew_ns[day.server] = sign * int((t % 300.0) * 3 * MS_NS)


def router_restart(day: Day, start_ns: int, end_ns: int) -> None:
    """One router is restarted: 15 s without flow or heartbeats, then its share again, and a little more at first."""
    t = day.since_s(start_ns)
    down = 0 <= t < 15
    day.world.paused[day.server] = down
    day.world.nodes[day.server].silent = down
    day.arrivals.server_factor[day.server] = 1.0 + (1.5 * float(np.exp(-(t - 15) / 15.0)) if t >= 15 else 0.0)


def reopening(day: Day, start_ns: int, end_ns: int) -> None:
    """The exchange halts the busiest symbol for 60 s; it reopens with a flock and twenty times its flow."""
    world, t = day.world, day.since_s(start_ns)
    sym = int(np.argmax(world.universe.weight))
    halted = 0 <= t < 60
    world.halted[sym] = halted
    world.phase_forced[sym] = Phase.halt if halted else Phase.none
    if t >= 60:
        day.arrivals.symbol_factor[sym] = 1.0 + 19.0 * float(np.exp(-(t - 60) / 15.0))
    if start_ns == day.begin + 60 * S_NS:
        n = 10 * world.n_servers
        day.flock(start_ns, 300 * MS_NS, n, np.full(n, sym))


def one_sided_day(day: Day, start_ns: int, end_ns: int) -> None:
    """Nearly everything is bought, from the first block to the last: 35 points more in all symbols; prices creep up."""
    day.arrivals.buy_shift[:] = 0.35
    day.world.market.drift[:] = 1e-7
