"""One scenario against both stages, offline, with the loop closed: what is halted is blocked, and the gates say so.

Simulation, stage 1 (one engine a partition) and desk step together, a slice at a time. Within a slice the order is that
of ``replay.merge``; what a slice holds is handed over before its last tick, as live, whatever the server's clock says.
A halt closes its scope at the end of the slice of 100 ms in which it was decided (slower than live, whose median is 30
to 60 ms) and every gate concerned answers ``blocked`` then and ``confirmed`` one slice later: so no scope widens because
nobody answers, and one does widen when orders pass a gate that said it had closed.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from detectors.bank import Stage1, owners
from detectors.config import Stage1Config
from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from producers.gating import ScriptedGate
from producers.scenarios import Chunk, Scenario, Simulation
from replay.merge import Ticker
from replay.partition import partition_of
from schemas.events import EVENT, FLAG_POSS_DUP, Kind, as_words, batch_of, join_rows, take
from schemas.records import (
    Ack,
    AckStatus,
    Breach,
    Declared,
    DeclaredSeen,
    FeatureRow,
    HaltRecord,
    NodeSeen,
    NodeState,
    Source,
    Verdict,
)
from schemas.scopes import CANARY, parse
from schemas.topics import ACKS, DECLARED, HALTS, NODES, ORDERFLOW, VERDICTS
from schemas.units import S_NS

PARTITIONS: Final = 8
SLICES_A_STEP: Final = 10
"""Slices taken at once while nothing is to be halted soon: cutting does not change what the engines say."""
AFTER_HALT_NS: Final = 3 * S_NS
"""How long a run goes on after its halt, so that a scope that widens without reason is seen."""
FAR: Final = 1 << 62
"""A time that does not come, ns."""


class HaltSeen(Struct, frozen=True):
    """A transition into HALTING or WARNED."""

    scope: str
    state: str
    ts: int
    detectors: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.state} {self.scope}: {', '.join(self.detectors)}"


class Outcome(Struct, frozen=True):
    """What came of one run. ``halts``: transitions into HALTING, ``warnings`` into WARNED, each in order. Times in ns.

    bad_orders: of the incident, sent up to the first right halt; ``bad_orders_out``: up to the end of the run.
    first_bad_ts: the planned onset if nothing bad went out.
    """

    scenario: str
    seed: int
    servers: tuple[str, ...]
    start_ns: int
    end_ns: int
    open_ns: int
    incident_ns: int
    first_bad_ts: int
    wanted: dict[str, int]
    """Scopes that it is right to halt, and from when on."""
    halts: tuple[HaltSeen, ...]
    warnings: tuple[HaltSeen, ...]
    bad_orders: int
    bad_orders_out: int
    loss_usd: float
    """Of the incident's positions at the end of the run, all that was on its way at the halt included."""
    events: int
    breaches: dict[str, int]
    states: dict[str, str]
    """Scope -> state at the end, of those that are not ACTIVE."""

    def right(self, halt: HaltSeen) -> bool:
        """On a scope in trouble, and not before its trouble began."""
        begin = self.wanted.get(halt.scope)
        return begin is not None and halt.ts >= begin


@dataclass
class Trace:
    """For plots: by slice, end (ns), and by server events, bad orders; loss (USD); each row's strongest scores."""

    ends: list[int] = field(default_factory=list)
    loss_usd: list[float] = field(default_factory=list)
    orders: list[NDArray[np.int64]] = field(default_factory=list)
    rows: list[tuple[int, str, dict[str, float]]] = field(default_factory=list)
    """(ts, server, detector -> score / limit), of rows and of breaches."""


class Trial:
    """One run of one scenario. Use once.

    no_parents: the flow carries neither parents nor their ids. lost: (server, ns) whose fills nobody tells of from then on.
    slices: slices a step before an incident and on benign
    days; an incident is always run slice by slice. trace, inputs (of the desk): filled if given.
    """

    def __init__(
        self, scenario: Scenario, stage1: Stage1Config, desk: DeskConfig, *, no_parents: bool = False,
        lost: tuple[str, int] | None = None, slices: int = SLICES_A_STEP, trace: Trace | None = None,
        inputs: list[DeskInput] | None = None,
    ) -> None:  # fmt: skip
        self.scenario = scenario
        self.simulation = scenario.simulate()
        self._gate = ScriptedGate(always_open=True)  # until something is halted: nobody need ask
        self._engines = [Stage1(stage1, ORDERFLOW.name, i) for i in range(PARTITIONS)]
        self._desk = Desk(desk)
        self._ticker = Ticker()
        self._offsets: Counter[tuple[str, int]] = Counter()
        self._no_parents, self._lost, self._slices = no_parents, lost, slices
        self._trace, self._inputs = trace, inputs
        self._seqs: Counter[bytes] = Counter()
        self._acks: list[tuple[AckStatus, HaltRecord]] = []
        self._halts: list[HaltSeen] = []
        self._warnings: list[HaltSeen] = []
        self._breaches: Counter[str] = Counter()
        self._bad_ts: list[NDArray[np.uint64]] = []
        self._events = 0

    def run(self, until_ns: int | None = None, last: str = "") -> Outcome:
        """To ``until_ns`` (None: the scenario's end), or to ``AFTER_HALT_NS`` after the first right halt; if ``last`` is
        given, after the right halt of that scope."""
        simulation = self.simulation
        end = min(until_ns or self.scenario.end_ns, self.scenario.end_ns)
        for part in self._steps(simulation):
            self._step(part)
            if simulation.now_ns >= end or self._halted_at(last) + AFTER_HALT_NS <= simulation.now_ns:
                break
        return self._outcome()

    def _halted_at(self, scope: str = "") -> int:
        wanted = dict(self.simulation.world.truth.scopes)
        times = (h.ts for h in self._halts if h.scope in wanted and h.ts >= wanted[h.scope])
        return next((h.ts for h in self._halts if h.scope == scope), FAR) if scope else next(times, FAR)

    def _steps(self, simulation: Simulation) -> Iterator[list[Chunk]]:
        """Slices that are taken together."""
        chunks = simulation.run(self._gate)
        while True:
            soon = self.scenario.halt_expected and simulation.now_ns >= self.scenario.incident_ns - S_NS
            part = list(islice(chunks, 1 if soon or self._acks else self._slices))
            if not part:
                return
            yield part

    def _step(self, part: list[Chunk]) -> None:
        end = part[-1].end_ns
        events = join_rows([chunk.events for chunk in part])
        bad = np.concatenate([chunk.bad for chunk in part])
        orders = (events["kind"] == Kind.order) | (events["kind"] == Kind.replace)
        self._bad_ts.append(events["ts"][bad & orders])
        self._events += len(events)
        self._take(self._answers(part[0].end_ns), ACKS.name)
        placed = self._stage1(self._told(events))
        placed += self._nodes(part)
        placed.sort(key=lambda p: p[:4])
        timed = [(min(now, end), rank, partition, place, told) for now, rank, partition, place, told in placed]
        inputs = [verdict for part in self._ticker.between(iter([timed])) for verdict in part]
        while self._ticker.ticks and self._ticker.next_ns <= end:
            inputs.append(self._ticker.tick())
        self._take(inputs, VERDICTS.name)
        if self._trace is not None:
            self._note(self._trace, end, events, orders, inputs)

    def _stage1(self, events: NDArray[Any]) -> list[tuple[int, int, int, int, Verdict]]:
        placed: list[tuple[int, int, int, int, Verdict]] = []
        owner, firsts = np.empty((2, len(events)), np.int64)
        count = owners(as_words(events), owner, firsts)
        home = np.array([partition_of(bytes(events["server"][i]), PARTITIONS) for i in firsts[:count]], np.int64)
        for partition in np.unique(home):
            mine = take(events, np.flatnonzero(home[owner] == partition))
            first = self._offsets[ORDERFLOW.name, int(partition)]
            self._offsets[ORDERFLOW.name, int(partition)] += len(mine)
            now = 0
            batch = batch_of(mine, ORDERFLOW.name, int(partition), first)
            for place, verdict in enumerate(self._engines[partition].step(batch)):
                now = max(now, verdict.ts)
                placed.append((now, 0, int(partition), place, verdict))
                if isinstance(verdict, Breach):
                    self._breaches[verdict.detector] += 1
        return placed

    def _nodes(self, part: Sequence[Chunk]) -> list[tuple[int, int, int, int, Verdict]]:
        placed: list[tuple[int, int, int, int, Verdict]] = []
        for place, record in enumerate(record for chunk in part for record in chunk.control):
            topic, rank = (NODES.name, 1) if isinstance(record, NodeState) else (DECLARED.name, 2)
            partition = partition_of(record.server.encode(), PARTITIONS)
            source = Source(topic, partition, self._offset(topic, partition))
            placed.append((record.ts, rank, partition, place, _seen(record, source)))
        return placed

    def _offset(self, topic: str, partition: int) -> int:
        self._offsets[topic, partition] += 1
        return self._offsets[topic, partition] - 1

    def _answers(self, now_ns: int) -> list[Ack]:
        """What the gates say about the halts ordered since."""
        said: list[Ack] = []
        again: list[tuple[AckStatus, HaltRecord]] = []
        for status, record in self._acks:
            kind, name = parse(record.scope)
            for server in (name,) if kind == "server" else self.scenario.servers:
                said.append(Ack(server, now_ns, record.halt_id, record.scope, record.epoch, status))
            if status == "blocked":
                again.append(("confirmed", record))
        self._acks = again
        return said

    def _take(self, records: Sequence[Verdict | Ack], topic: str) -> None:
        inputs = [DeskInput(topic, 0, self._offset(topic, 0), record) for record in records]
        if self._inputs is not None:
            self._inputs += inputs
        for output in self._desk.step(inputs):
            if output.topic is HALTS and isinstance(output.record, HaltRecord) and output.record.scope != CANARY:
                self._obey(output.record)

    def _obey(self, record: HaltRecord) -> None:
        seen = HaltSeen(
            record.scope, record.state, record.ts_decided, tuple(Counter(c.detector for c in record.cause)), record.text
        )
        if record.state == "WARNED":
            self._warnings.append(seen)
        elif record.state == "HALTING":
            if record.scope not in self._gate.closed:
                self._halts.append(seen)
                self._gate.always_open = False
                self._gate.close(record.scope, record.action)
            self._acks.append(("blocked", record))

    def _told(self, events: NDArray[Any]) -> NDArray[Any]:
        """What the routers tell of it, numbered anew where something is left out, so that nothing seems missing."""
        if not self._no_parents and self._lost is None:
            return events
        kind = events["kind"]
        left_out = np.zeros(len(events), np.bool_)
        if self._no_parents:
            left_out |= (kind == Kind.parent) | (kind == Kind.parent_done)
        if self._lost is not None:
            server, since = self._lost
            left_out |= (kind == Kind.fill) & (events["server"] == server.encode()) & (events["ts"] >= np.uint64(since))
        kept = np.ascontiguousarray(events[~left_out], EVENT)
        if self._no_parents:
            kept["parent_id"] = b""
        for name in np.unique(kept["server"]):
            mine = np.flatnonzero((kept["server"] == name) & ((kept["flags"] & FLAG_POSS_DUP) == 0))
            kept["seq"][mine] = self._seqs[name] + 1 + np.arange(len(mine))
            self._seqs[name] += len(mine)
        return kept

    def _note(
        self, trace: Trace, end: int, events: NDArray[Any], orders: NDArray[np.bool_], inputs: Sequence[Verdict]
    ) -> None:
        trace.ends.append(end)
        trace.loss_usd.append(self.simulation.loss_usd)
        names = np.array([name.encode() for name in self.scenario.servers])
        trace.orders.append((events["server"][orders][:, None] == names).sum(axis=0))
        trace.rows += [(v.ts, v.server, v.scores) for v in inputs if isinstance(v, FeatureRow)]
        trace.rows += [(v.ts, v.server, {v.detector: v.score / v.limit}) for v in inputs if isinstance(v, Breach)]

    def _outcome(self) -> Outcome:
        scenario, simulation = self.scenario, self.simulation
        decided = self._halted_at()
        bad = np.concatenate([np.zeros(0, np.uint64), *self._bad_ts])
        first = simulation.first_bad
        ledger = self._desk.ledger
        return Outcome(
            scenario=scenario.name, seed=scenario.seed, servers=scenario.servers, start_ns=scenario.start_ns,
            end_ns=simulation.now_ns, open_ns=scenario.open_ns, incident_ns=scenario.incident_ns,
            first_bad_ts=first.ts if first else scenario.incident_ns,
            wanted=dict(simulation.world.truth.scopes), halts=tuple(self._halts), warnings=tuple(self._warnings),
            bad_orders=int((bad <= np.uint64(decided)).sum()), bad_orders_out=len(bad),
            loss_usd=round(simulation.loss_usd, 2), events=self._events, breaches=dict(sorted(self._breaches.items())),
            states={name: ledger.scope(name).state for name in ledger.live},
        )  # fmt: skip


def _seen(record: NodeState | Declared, source: Source) -> NodeSeen | DeclaredSeen:
    return NodeSeen(record, source) if isinstance(record, NodeState) else DeclaredSeen(record, source)
