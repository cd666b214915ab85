"""Arrivals and the healthy router do what a plain statement in numpy does: the same parents, children and draws."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from producers.arrivals import FEW, HABITS, Arrivals, geometric
from producers.router import Slicer, limit_price, parent_records
from producers.tables import CHILD, Flag, Style
from producers.world import OPEN_2012_08_01_NS, RETAIL, RLP, World
from schemas.events import Kind, Side
from schemas.units import MS_NS, S_NS, US_NS

START = OPEN_2012_08_01_NS
BLOCK = 100 * MS_NS


def made_world(seed: int = 1) -> World:
    return World([f"R{i}" for i in range(1, 9)], seed, START, START, START + 23_400 * S_NS)


def same_parents(ours: World, other: World) -> bool:
    n = ours.parents.n
    assert n == other.parents.n
    return ours.parents.table[:n].tolist() == other.parents.table[:n].tolist()


def waiting(world: World) -> list[tuple[int, ...]]:
    """What is on the calendar, but for the padding."""
    return [row[:-1] for row in world.calendar.pending().tolist()]


class PlainArrivals(Arrivals):
    """Whole columns at a time; a public ``accept`` that all goes through."""

    def step(self, start_ns: int, end_ns: int) -> None:
        world, rng = self._world, self._rng
        turn = rng.random(world.n_symbols) < (end_ns - start_ns) / S_NS / 180.0
        if turn.any():
            self._buy[turn] = rng.beta(6.0, 6.0, int(turn.sum()))
        weight = world.universe.weight * self.symbol_factor
        shape = self.tod((start_ns - world.open_ns) / S_NS, self._session_s)
        mean = self._rate * shape * float(weight.sum()) * (end_ns - start_ns) / S_NS
        counts = rng.poisson(mean * self.server_factor)
        n, edges = int(counts.sum()), np.cumsum(weight)
        if n:
            server = np.repeat(np.arange(world.n_servers), counts)
            sym = np.searchsorted(edges, rng.random(n) * edges[-1] * (1 - 1e-12))
            ts = rng.integers(start_ns, end_ns, n)
            self._accept(ts, server, sym, np.clip(self._buy[sym] + self.buy_shift[sym], 0.0, 1.0))
        while self._next_burst < len(self._bursts) and self._bursts["ts"][self._next_burst] < end_ns:
            self._burst(self._bursts[self._next_burst], edges, shape)
            self._next_burst += 1

    def _accept(
        self, ts: Any, server: Any, sym: Any, buy_share: Any,
        strategy: int = -1, like: int = -1, children_factor: float = 1.0,
    ) -> None:  # fmt: skip
        world, rng = self._world, self._rng
        order = np.argsort(ts, kind="stable")
        order = order[~world.paused[server[order]] & ~world.halted[sym[order]]]
        ts, server, sym, buy_share, n = ts[order], server[order], sym[order], buy_share[order], len(order)
        drawn = np.searchsorted(self.strategy_share, rng.random(n) * self.strategy_share[-1])
        strat = np.full(n, strategy) if strategy >= 0 else np.minimum(drawn, len(HABITS) - 1)
        habit = np.array([HABITS[i] for i in (np.full(n, like) if like >= 0 else strat)], object)
        clip = np.maximum(1.0, np.rint(rng.lognormal(np.log(22.0), 1.2, n) * self.clip_factor))
        clip = np.where((clip > 60) & (rng.random(n) < 0.7), np.maximum(100.0, np.rint(clip / 100) * 100), clip)
        mean = np.array([h.children for h in habit], np.float64)
        children = rng.geometric(1.0 / np.maximum(mean * children_factor, 1.0))
        sells = np.where(rng.random(n) < 0.3, Side.SS, Side.S)
        wait = np.array([h.wait_s * S_NS for h in habit], np.float64)
        rows = world.parents.append(
            n, ts=ts, qty=np.maximum(1, clip * children), clip=clip, next_ts=ts, interval_ns=wait,
            deadline=ts + (wait * (children + 10) * 2).astype(np.int64) + 5 * S_NS, sym=sym, server=server,
            side=np.where(rng.random(n) < buy_share, Side.B, sells), strat=strat,
            acct=np.where(strat == RLP, RETAIL, rng.integers(0, RETAIL, n)),
            aggressive=[h.aggressive for h in habit], managed=True,
        )  # fmt: skip
        world.calendar.add(parent_records(world, rows, Kind.parent, ts))


def test_arrivals_are_those_of_the_plain_statement() -> None:
    """Three minutes: turns of symbols, bursts, uneven servers, symbols in the news, a pause, a halt, a given strategy."""
    worlds = made_world(), made_world()
    made = [kind(world, START + 180 * S_NS, 2.0) for kind, world in zip((Arrivals, PlainArrivals), worlds, strict=True)]
    for block in range(1_800):
        for world, arrivals in zip(worlds, made, strict=True):
            arrivals.step(START + block * BLOCK, START + (block + 1) * BLOCK)
            if block == 300:
                arrivals.server_factor[3], arrivals.clip_factor = 7.0, 3.0
                arrivals.symbol_factor[9], arrivals.buy_shift[9] = 80.0, 0.9
            if block == 600:
                arrivals.server_factor[:] = 0.5
                arrivals.symbol_factor[9] = 1.0
                world.paused[2] = world.halted[0] = True
            if block % 100 == 50:
                at = START + block * BLOCK + np.array([5, 3, 3, 9])
                row, syms = world.parents.n, np.array([0, 1, 2, 3], np.int16)
                found = arrivals.accept(at, np.array([2, 3, 4, 5], np.uint8), syms, np.full(4, 0.5), 4, 0, 0.5)
                kept = 4 if block < 600 else 3
                assert found.tolist() == list(range(row, row + kept))
                assert world.parents.sym[found].tolist() == ([1, 2, 0, 3] if block < 600 else [1, 2, 3])
    ours, other = worlds
    assert same_parents(ours, other)
    assert waiting(ours) == waiting(other)
    assert ours.rng_arrivals.bit_generator.state == other.rng_arrivals.bit_generator.state
    parents, n = ours.parents, ours.parents.n
    assert n > 20_000
    assert set(parents.side[:n]) == {Side.B, Side.S, Side.SS}
    assert set(parents.strat[:n]) == set(range(len(HABITS)))
    assert not (parents.acct[:n] == RETAIL)[parents.strat[:n] != RLP].any()


@pytest.mark.parametrize("n", [0, 1, FEW, FEW + 1, 200])
def test_few_geometric_draws_are_those_of_many(n: int) -> None:
    few, many = np.random.default_rng(n), np.random.default_rng(n)
    chance = np.random.default_rng(1).uniform(0.01, 1.0, n)
    assert geometric(few, chance).tolist() == many.geometric(chance).tolist()
    assert few.bit_generator.state == many.bit_generator.state


def test_even_poisson_draws_are_those_of_as_many_means() -> None:
    one, many = np.random.default_rng(1), np.random.default_rng(1)
    for mean in (0.0, 0.2, 3.0, 9.9, 10.0, 400.0):
        assert one.poisson(mean, 8).tolist() == many.poisson(np.full(8, mean)).tolist()
    assert one.bit_generator.state == many.bit_generator.state


class PlainSlicer:
    """Whole columns at a time."""

    def __init__(self, world: World) -> None:
        self.world, self.rng = world, world.rng_slicer
        self.live: NDArray[Any] = np.zeros(0, np.int64)
        self.seen = 0

    def step(self, start_ns: int, end_ns: int) -> None:
        world, p = self.world, self.world.parents
        fresh = np.arange(self.seen, p.n)
        live, self.seen = np.concatenate([self.live, fresh[p.managed[self.seen : p.n]]]), p.n
        late = p.deadline[live] < start_ns
        finished = (p.filled[live] >= p.qty[live]) | (late & (p.committed[live] == p.filled[live]))
        p.done[live[finished]] = True
        if finished.any():
            world.calendar.add(parent_records(world, live[finished], Kind.parent_done, start_ns))
        self.live = live = live[~finished]
        due = (p.next_ts[live] < end_ns) & (p.committed[live] < p.qty[live]) & (p.deadline[live] >= start_ns)
        rows = live[due & ~world.paused[p.server[live]] & ~world.halted[p.sym[live]]]
        if len(rows):
            self.send(rows, start_ns, end_ns)

    def send(self, rows: NDArray[Any], start_ns: int, end_ns: int) -> None:
        p, rng, n = self.world.parents, self.rng, len(rows)
        out = np.zeros(n, CHILD)
        ts = np.maximum(p.next_ts[rows], start_ns) + rng.integers(50 * US_NS, MS_NS, n)
        out["ts"] = np.minimum(ts, end_ns - 1)
        size = np.maximum(1, np.rint(p.clip[rows] * rng.uniform(0.6, 1.4, n)))
        out["qty"] = np.minimum(size, p.qty[rows] - p.committed[rows])
        out["parent"] = rows
        for name in ("sym", "server", "side", "strat", "acct"):
            out[name] = getattr(p, name)[rows]
        rests = rng.random(n) >= p.aggressive[rows]
        out["style"] = np.where(rests, Style.REST, Style.IOC)
        inside = rests & (rng.random(n) < 0.3)
        out["px"] = limit_price(self.world, out["sym"], out["side"] == Side.B, rests, inside)
        out["flags"] = np.where(p.bad[rows], Flag.BAD, 0)
        p.committed[rows] += out["qty"]
        p.next_ts[rows] = out["ts"] + (rng.standard_exponential(n) * p.interval_ns[rows]).astype(np.int64)
        self.world.send(out)


def test_the_router_slices_as_the_plain_one_does() -> None:
    """A minute with parents of all habits, some a fault's, a pause and a halt; half of what is sent is filled at once."""
    worlds, sent = (made_world(), made_world()), 0
    slicers = Slicer(worlds[0]), PlainSlicer(worlds[1])
    arrivals = [Arrivals(world, START + 60 * S_NS, 6.0) for world in worlds]
    for block in range(600):
        start, children = START + block * BLOCK, []
        for world, source, slicer in zip(worlds, arrivals, slicers, strict=True):
            source.step(start, start + BLOCK)
            fates = np.random.default_rng(block)
            if block == 100:
                world.parents.bad[: world.parents.n : 3] = True
                world.parents.append(5, qty=100, clip=10, managed=False)
            world.paused[2] = world.halted[0] = 200 <= block < 300
            slicer.step(start, start + BLOCK)
            out = np.concatenate(world.children) if world.children else np.zeros(0, CHILD)
            world.children.clear()
            filled = fates.random(len(out)) < 0.5
            np.add.at(world.parents.filled, out["parent"][filled], out["qty"][filled])
            np.subtract.at(world.parents.committed, out["parent"][~filled], out["qty"][~filled])
            children.append(out.tolist())
        assert children[0] == children[1]
        sent += len(children[0])
    assert same_parents(*worlds)
    assert waiting(worlds[0]) == waiting(worlds[1])
    assert worlds[0].rng_slicer.bit_generator.state == worlds[1].rng_slicer.bit_generator.state
    parents, n = worlds[0].parents, worlds[0].parents.n
    closed = int(parents.done[:n].sum())
    assert sent > 10_000
    assert 1_000 < closed < n
    assert not parents.done[:n][~parents.managed[:n]].any()
