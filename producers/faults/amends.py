"""Faults of amending: quantities that grow, prices that pass the check, and amends of what was never sent.

- quantity-ratchet: Infinium, Nasdaq mini, 2009-10-28 (domain notes 2.6, row 4): an order for 136 modified up to 1,086,
  repriced to the bid each time; then 6,958 sold in 7 s.
- amend-bypass: Citadel, 2017-08-09 (row 21): a replace from 53.81 to 5,393.00 went round the price collar.
- orphan-cancels: Credit Suisse, 2007-11-14 (row 12): hundreds of thousands of cancels and replaces of orders never
  sent, in 975 stocks, all refused. Rate not stated; here about 300/s over all symbols.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers.arrivals import Arrivals
from producers.faults.culprit import FOREVER, liquid_symbols, one_server, own_parents, strategy, times, want
from producers.tables import Flag, records
from producers.world import RETAIL, VENUES, World
from schemas.events import Kind, Side
from schemas.units import MS_NS, S_NS, US_NS

RATCHET_FROM: Final = 136
RATCHET_TO: Final = 1_086
RATCHET_STEPS: Final = 19
RATCHET_LOOPS: Final = 7
BYPASS_FACTOR: Final = 100
ORPHANS_PER_S: Final = 300.0
BACK_NS: Final = 250 * US_NS


def _life(world: World, row: int, n: int) -> NDArray[Any]:
    """(n,) records of one order of parent ``row``."""
    out = records(n)
    parents = world.parents
    for name in ("sym", "server", "side", "strat", "acct"):
        out[name] = getattr(parents, name)[row]
    out["parent"] = row
    out["flags"] = Flag.BAD
    out["order"] = out["cl"] = world.take_orders(1)[0]
    return out


class QuantityRatchet:
    """Seven orders, one a second, each amended 19 times from 136 up to 1,086 and then sold at the bid."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset, self._loop = rng, onset_ns, 0

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw server and symbol."""
        self._world, rng = world, self._rng
        self._server, self._sym = int(rng.integers(world.n_servers)), liquid_symbols(rng, world, 1)
        self._strat, self._acct = strategy(world, "SHADOW"), int(rng.integers(RETAIL))
        want(world, self._onset, server=self._server, strat=self._strat)
        world.truth.params.update(server=world.servers[self._server], strategy="SHADOW")

    def block(self, start_ns: int, end_ns: int) -> None:
        """Begin the next order when its second has come."""
        due = self._onset + self._loop * S_NS
        if self._loop >= RATCHET_LOOPS or end_ns <= due:
            return
        self._loop += 1
        world = self._world
        row = int(
            own_parents(
                world, start_ns, self._server, self._sym, Side.S, RATCHET_FROM, strat=self._strat, acct=self._acct
            )[0]
        )
        out = _life(world, row, 3 + 2 * RATCHET_STEPS)
        begin = max(due, start_ns) + MS_NS
        bid = world.bid9(out["sym"][:1])[0]
        qty = np.rint(np.linspace(RATCHET_FROM, RATCHET_TO, RATCHET_STEPS + 1)).astype(np.int64)
        out["px"], out["sent"] = bid, begin
        out["kind"][:2], out["qty"][:2] = (Kind.order, Kind.ack), RATCHET_FROM
        out["ts"][:2] = begin, begin + BACK_NS
        asks, answers = out[2:-1:2], out[3:-1:2]
        ids = world.take_orders(RATCHET_STEPS)
        at = begin + 20 * MS_NS + np.arange(RATCHET_STEPS) * (40 * MS_NS)
        for part, kind, ts in ((asks, Kind.replace, at), (answers, Kind.replaced, at + BACK_NS)):
            part["kind"], part["ts"], part["qty"], part["cl"] = kind, ts, qty[1:], ids
            part["orig"] = np.concatenate([out["order"][:1], ids[:-1]])
        out["kind"][-1], out["ts"][-1], out["qty"][-1] = Kind.fill, at[-1] + 5 * MS_NS, RATCHET_TO
        out["cl"][-1], out["leaves"][-1], out["exec"][-1] = ids[-1], RATCHET_TO, world.take_execs(1)[0]
        world.calendar.add(out)


class AmendBypass:
    """About two a second, for as long as nobody stops it: a resting buy is amended to a hundred times its price."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset = rng, onset_ns

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw the server."""
        self._world = world
        self._server = one_server(self._rng, world, self._onset)

    def block(self, start_ns: int, end_ns: int) -> None:
        """Some orders with their amends."""
        world, rng = self._world, self._rng
        for ts in times(rng, max(start_ns, self._onset), end_ns, 2.0).tolist():
            sym = liquid_symbols(rng, world, 1)
            qty = int(rng.integers(1, 6)) * 100
            acct = int(rng.integers(RETAIL))
            row = int(own_parents(world, ts, self._server, sym, Side.B, qty, strat=0, acct=acct)[0])
            out = _life(world, row, 5)
            bid, ask = world.bid9(sym)[0], world.ask9(sym)[0]
            new = world.take_orders(1)[0]
            amend_at = ts + int(rng.integers(50, 200)) * MS_NS
            out["kind"] = Kind.order, Kind.ack, Kind.replace, Kind.replaced, Kind.fill
            out["ts"] = ts + MS_NS, ts + MS_NS + BACK_NS, amend_at, amend_at + BACK_NS, amend_at + 2 * BACK_NS
            out["qty"], out["sent"], out["leaves"][-1] = qty, ts + MS_NS, qty
            out["px"] = bid, bid, bid * BYPASS_FACTOR, bid * BYPASS_FACTOR, ask + ask // 20
            out["cl"][2:] = new
            out["orig"][2:4] = out["order"][0]
            out["exec"][-1] = world.take_execs(1)[0]
            out["flags"][:2] = 0
            world.calendar.add(out)


class OrphanCancels:
    """Cancels (nine of ten) and replaces of ids that were never sent; every one refused."""

    def __init__(self, rng: np.random.Generator, onset_ns: int) -> None:
        self._rng, self._onset = rng, onset_ns
        self._rate = ORPHANS_PER_S * rng.uniform(0.8, 1.2)

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Draw the server."""
        self._world = world
        self._server = one_server(self._rng, world, self._onset, per_s=round(self._rate, 1))

    def block(self, start_ns: int, end_ns: int) -> None:
        """Requests and refusals of one block."""
        world, rng = self._world, self._rng
        ts = times(rng, max(start_ns, self._onset), end_ns, self._rate)
        n = len(ts)
        if not n:
            return
        asks = records(n)
        asks["ts"], asks["server"], asks["flags"], asks["sent"] = ts, self._server, Flag.BAD, FOREVER
        asks["kind"] = np.where(rng.random(n) < 0.9, Kind.cancel, Kind.replace)
        asks["orig"], asks["cl"] = world.take_orders(n), world.take_orders(n)
        asks["order"] = asks["cl"]
        asks["sym"] = rng.integers(0, world.n_symbols, n)
        asks["side"], asks["acct"], asks["venue"] = Side.B, rng.integers(0, RETAIL, n), rng.integers(0, len(VENUES), n)
        asks["qty"], asks["px"] = 100, world.bid9(asks["sym"])
        refusals = asks.copy()
        refusals["kind"], refusals["ts"] = Kind.rejected, ts + BACK_NS
        world.calendar.add(asks)
        world.calendar.add(refusals)
