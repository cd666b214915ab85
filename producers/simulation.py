"""The loop: blocks of 100 ms in which markets quote and routers decide, cut into slices at which the gate is asked.

Deterministic: the same scenario, seed and gate answers give the same events, byte for byte, whatever the slice. No
wall clock. A gate that closes stops the flow at the next slice: what would have gone out is counted as blocked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from producers.arrivals import Arrivals
from producers.asking import Asking
from producers.cancels import CancelDesk
from producers.emit import Emitter, happens, quotes
from producers.gating import Gateway, OpenGate
from producers.ids import IdFormat
from producers.labels import FirstBad, Ranges
from producers.market import BLOCK_NS, TICK9
from producers.money import Book
from producers.router import Slicer
from producers.tables import Flag, as_words, join
from producers.venue import Venues
from producers.world import World
from schemas.events import Kind
from schemas.records import Declared, NodeState
from schemas.units import MS_NS, S_NS

WORKING_EVERY_NS: Final = 500 * MS_NS


class Behaviour(Protocol):
    """A fault, or the day's weather: bends the world, sends children, puts records. Called once a block."""

    def start(self, world: World, arrivals: Arrivals) -> None:
        """Before the first block."""
        ...

    def block(self, start_ns: int, end_ns: int) -> None:
        """Before the routers decide about the block."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """One slice: events in order of time (n,) EVENT, which of them are bad (n,), other records, and its end in ns."""

    end_ns: int
    events: NDArray[Any]
    bad: NDArray[np.bool_]
    control: tuple[NodeState | Declared, ...]


class Simulation:
    """One run. Iterate ``run()`` once; counters and ``book`` may be read meanwhile."""

    def __init__(
        self, world: World, behaviours: Sequence[Behaviour], end_ns: int, *,
        intensity: float, ids: IdFormat, first_seq: int,
    ) -> None:  # fmt: skip
        self.world = world
        self.end_ns = end_ns
        self.now_ns = world.start_ns
        self.arrivals = Arrivals(world, end_ns, intensity)
        self._behaviours = behaviours
        self._slicer = Slicer(world)
        self._venues = Venues(world)
        self.emitter = Emitter(world, ids, first_seq)
        self.book = Book(world)
        self.cancels = CancelDesk(world, ids)
        self._asking = Asking(world)
        self.events = 0
        self.bad_orders = 0
        self.orders_blocked = 0
        self.bad_orders_blocked = 0
        self.blocked_by_server = np.zeros(world.n_servers, np.int64)
        self.working_by_server = np.zeros(world.n_servers, np.int64)
        """Orders working, looked at every half second while there is a gate to ask."""
        self.first_bad: FirstBad | None = None
        self.bad_ranges = [Ranges() for _ in world.servers]
        self._started = False

    def run(self, gate: Gateway | None = None, slice_ns: int = BLOCK_NS) -> Iterator[Chunk]:
        """Chunks of ``slice_ns`` of event time (a divisor of 100 ms) up to the end."""
        if self._started:
            raise RuntimeError("this simulation has been run; ask the scenario for a new one")
        if slice_ns <= 0 or BLOCK_NS % slice_ns:
            raise ValueError(f"slice of {slice_ns} ns; expected a divisor of {BLOCK_NS}")
        self._started = True
        gate = gate or OpenGate()
        for behaviour in self._behaviours:
            behaviour.start(self.world, self.arrivals)
        for node_server, node in enumerate(self.world.nodes):
            if not any(
                isinstance(r, Declared) and r.server == self.world.servers[node_server] for r in self.world.control
            ):
                self.world.declare(node_server, self.world.start_ns, "r1", node)
        while self.now_ns < self.end_ns:
            yield from self._block(gate, slice_ns)

    def _block(self, gate: Gateway, slice_ns: int) -> Iterator[Chunk]:
        start = self.now_ns
        end = start + BLOCK_NS
        world = self.world
        if start > world.start_ns:
            world.market.step(self.book.signed, self.book.gross)
            self.book.next_block()
        if (start - world.start_ns) % S_NS == 0:
            world.observe(start, self.emitter.next_seq - 1)
        self.arrivals.step(start, end)
        for behaviour in self._behaviours:
            behaviour.block(start, end)
        self._slicer.step(start, end)
        if world.children:
            children = join(world.children)
            world.children.clear()
            self._venues.respond(children)
        rest = world.calendar.take(end)
        for at in range(start, end, slice_ns):
            self.now_ns = at + slice_ns
            if not gate.always_open:
                rest = self._obey(gate, rest, at, end)
            cut = len(rest) if self.now_ns == end else int(np.searchsorted(rest["ts"], self.now_ns))
            chunk, held = self._slice(gate, rest[:cut], at)
            rest = rest[cut:]
            if len(held):
                rest = self.cancels.pull(held, rest, self.now_ns, end)
            if not gate.always_open and self.cancels.requests:
                gate.working(self.cancels.working(rest, self.now_ns))
            if not gate.always_open and (self.now_ns - world.start_ns) % WORKING_EVERY_NS == 0:
                self.working_by_server = self.cancels.count_by_server(rest, self.now_ns)
            yield chunk

    def _obey(self, gate: Gateway, rest: NDArray[Any], at: int, end: int) -> NDArray[Any]:
        for server, scope in gate.cancel_requests():
            rest = self.cancels.request(server, scope, rest, at, end)
        return rest

    def _slice(self, gate: Gateway, recs: NDArray[Any], at: int) -> tuple[Chunk, NDArray[Any]]:
        """Emit one slice. Also returns the records of orders to be pulled, from their blocked replace on."""
        held = recs[:0]
        if not gate.always_open and len(recs):
            recs, held = self._ask(gate, recs)
        recs = self._happening(recs)
        self.book.settle(recs)
        events, bad = self.emitter.events(recs, at)
        if bad.any():
            self._note_bad(recs, events, bad)
        self.world.keep(events)
        if self.world.resend:
            again = [*self.world.resend]
            self.world.resend.clear()
            events = join([events, *again])
            bad = np.concatenate([bad, np.zeros(len(events) - len(bad), np.bool_)])
        self.events += len(events)
        control = tuple(self.world.control)
        self.world.control.clear()
        return Chunk(self.now_ns, events, bad, control), held

    def _ask(self, gate: Gateway, recs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Ask the gate; drop what is refused. Returns what may go on, and what is held: records of an order from its
        refused replace on."""
        refused = self._asking.refused(gate, recs, self.cancels.dead(), self.book.position)
        if not len(refused):
            return recs, recs[:0]
        gone = recs[refused]
        self.orders_blocked += len(gone)
        self.bad_orders_blocked += int(((gone["flags"] & Flag.BAD) != 0).sum())
        self.blocked_by_server += np.bincount(gone["server"], minlength=self.world.n_servers)
        fresh = gone[gone["kind"] == Kind.order]
        owned = fresh["parent"] >= 0
        np.subtract.at(self.world.parents.committed, fresh["parent"][owned], fresh["qty"][owned])
        self.cancels.bury(fresh["order"])
        amends = refused[gone["kind"] == Kind.replace]
        if not len(amends):
            return recs, recs[:0]
        after = np.zeros(len(recs), np.bool_)
        for at in amends:
            after |= (recs["order"] == recs["order"][at]) & (np.arange(len(recs)) >= at)
        return recs[~after], recs[after]

    def _happening(self, recs: NDArray[Any]) -> NDArray[Any]:
        """Those that happen, moved to the front of their own memory; resting orders whose market is away expire."""
        if not len(recs):
            return recs
        world = self.world
        kept, died = happens(recs, as_words(recs), self.cancels.dead(), quotes(world.market), world.halted)
        if died:
            self.cancels.any_dead = True
        return recs[:kept]

    def _note_bad(self, recs: NDArray[Any], events: NDArray[Any], bad: NDArray[np.bool_]) -> None:
        kind = recs["kind"][bad]
        self.bad_orders += int(((kind == Kind.order) | (kind == Kind.replace)).sum())
        server, seq = recs["server"][bad], events["seq"][bad].astype(np.int64)
        for i in np.unique(server):
            self.bad_ranges[i].add(seq[server == i])
        if self.first_bad is None:
            e = events[int(np.argmax(bad))]
            name, order = e["server"].decode(), e["cl_ord_id"].decode()
            self.first_bad = FirstBad(name, int(e["seq"]), int(e["ts"]), order)

    @property
    def loss_usd(self) -> float:
        """What the incident has cost so far, marked to the fundamental mid; positive is lost."""
        return self.book.loss_usd(self.world.market.fundamental * (TICK9 / 1e9))
