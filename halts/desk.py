"""Stage 2: the desk. Verdicts, acks and commands in; halt records, heartbeats and the audit chain out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from detectors.features import FRAME_NS
from detectors.fleet.bank import Fleet
from halts import audit, overview
from halts.clock import Clock
from halts.config import DeskConfig
from halts.coverage import Coverage
from halts.idle import Deadline, flow_is_news, node_is_news
from halts.keys import Ring
from halts.ledger import decide, evolve
from halts.opens import Opens, OpensState
from halts.policy import Judgement
from halts.runs import Run, Runs
from halts.state import (
    NEVER,
    Advanced,
    CommandTaken,
    Event,
    Flow,
    Input,
    LedgerState,
    Moved,
    NodeAlive,
    Probe,
    Said,
    TimePasses,
    Touch,
)
from schemas.records import (
    Ack,
    AuditRecord,
    Breach,
    Command,
    DeclaredSeen,
    FeatureRow,
    FirstEvent,
    HaltRecord,
    Heartbeat,
    NodeSeen,
    Source,
    Tick,
    Verdict,
    Watch,
)
from schemas.scopes import parse, scope
from schemas.topics import AUDIT, HALTS, HEARTBEAT_KEY, Topic
from schemas.units import MS_NS

SNAPSHOT_VERSION: Final = 3

Verify = Callable[[Command], str | None]
"""What is wrong with a command's signature; None if nothing."""


class DeskInput(Struct, frozen=True):
    """One record and where it stands. topic: with or without prefix, but always the same for one topic."""

    topic: str
    partition: int
    offset: int
    record: Verdict | Ack | Command


class DeskOutput(Struct, frozen=True):
    """One record to publish."""

    topic: Topic
    key: str
    record: HaltRecord | Heartbeat | AuditRecord


class Snapshot(Struct, frozen=True):
    """The whole desk as plain data."""

    v: int
    generation: int
    clock: Clock
    ledger: LedgerState
    opens: OpensState
    chain: audit.Chain
    positions: tuple[tuple[str, int, int], ...]
    runs: tuple[Run, ...]
    runs_at: int
    repeats: int
    fenced: bool
    fleet: dict[str, Any] = {}
    coverage: Coverage = Coverage()


class Desk:
    """The stage-2 engine: pure but for its own state. Outputs depend on the sequence of inputs, not on its cutting.

    config: the policy and the ledger. generation: of this desk; a tick of a higher one fences it (``fenced``: it takes
    in and emits nothing more). verify: checks a command's signature; None: against ``config.operators``, if any.
    """

    def __init__(self, config: DeskConfig, generation: int = 0, verify: Verify | None = None) -> None:
        if verify is None and config.operators:
            verify = Ring(config.operators, config.audience).problem
        self.config, self.generation, self._verify = config, generation, verify
        self._signed_only = config.require_signatures or bool(config.operators)
        self.fenced = False
        self._clock = Clock()
        self._ledger = LedgerState()
        self._deadline = Deadline(config)
        self._opens = Opens(config)
        self._fleet = Fleet(config.fleet)
        self._chain = audit.Chain()
        self._coverage = Coverage()
        self._positions: dict[tuple[str, int], int] = {}
        self._runs = Runs()
        self._runs_at = 0
        self._repeats = 0
        self._out: list[DeskOutput] = []
        self._at: DeskInput | Source = _STANDING

    @property
    def ledger(self) -> LedgerState:
        """State of all scopes (immutable)."""
        return self._ledger

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """(topic, partition) -> offset of the first input not yet taken in: re-read from there after ``restore``."""
        return dict(self._positions)

    def step(self, inputs: Sequence[DeskInput]) -> list[DeskOutput]:
        """Take ``inputs`` in, in order. An input below its topic's position was taken in before and does nothing."""
        self._out = []
        for given in inputs:
            if self.fenced:
                break
            topic, partition, offset = given.topic, given.partition, given.offset
            place = (topic, partition)
            if offset < self._positions.get(place, 0):
                self._repeats += 1
                continue
            self._positions[place] = offset + 1
            self._at = given
            if not self._runs.goes_on(topic, partition, offset):
                if self._runs.full:
                    self._flush_runs()
                self._runs.begin(topic, partition, offset)
            self._take(given)
        return self._out

    def _take(self, given: DeskInput) -> None:
        record = given.record
        match record:
            case FeatureRow():
                self._fleet.row(record, given, self._clock.now)
                self._row(record)
            case Tick():
                self._tick(record, given)
            case Breach():
                self._breach(record, given)
            case Watch():
                self._coverage = self._coverage.taken(record, self._clock.ts)
            case NodeSeen():
                self._fleet.node(record.node, given, self._clock.now)
                self._alive(record.node.server)
            case Ack():
                self._apply(record)
            case Command():
                at = FirstEvent(given.topic, given.partition, given.offset, record.ts)
                self._apply(Said(record, at, self._signature_problem(record), self._clock.ts))
            case DeclaredSeen():
                self._fleet.declared(record.declared, given, self._clock.now)

    def _tick(self, tick: Tick, given: DeskInput) -> None:
        if tick.generation != self.generation:
            self.fenced = tick.generation > self.generation
            return
        self._clock = self._clock.tick(tick.ts, self.config.tick_step_ms_max * MS_NS)
        now = self._clock.now
        if now < self._deadline.at(self._ledger):
            self._ledger = evolve(self._ledger, Advanced(now))
        else:
            self._apply(TimePasses(now, frozenset(name for name in self._ledger.live if self._opens.has(name))))
        for breach in self._fleet.tick(now):
            self._taken(breach)
        if self._opens.is_due(now):
            for judgement in self._opens.due(now, self._fleet.view(now)):
                self._apply(judgement)
        if tick.probe:
            self._apply(Probe(FirstEvent(given.topic, given.partition, given.offset, tick.ts)))
        if self._clock.beat_is_due:
            self._opens.sweep(now)
            beat = Heartbeat(
                ts=tick.ts, seq=self._clock.beats, generation=self.generation,
                config_version=self._ledger.config.version, config_digest=self._ledger.config.digest,
                audit_n=self._chain.n, audit_head=self._chain.prev, partitions=self._coverage.partitions,
                unwatched=self._coverage.unwatched(tick.ts, self.config.unwatched_after_ms * MS_NS),
            )  # fmt: skip
            self._clock = self._clock.beaten()
            self._out.append(DeskOutput(HALTS, HEARTBEAT_KEY, beat))
        if len(self._runs) > 1 or now - self._runs_at >= self.config.inputs_audit_ms * MS_NS:
            self._flush_runs()

    def _row(self, row: FeatureRow) -> None:
        server, values = row.server, row.values
        if node_is_news(self.config, self._ledger, server) and any(values.values()):
            self._apply(NodeAlive(server))
        if not self._ledger.live:
            return
        orders, began_ts = values.get("orders", 0) + values.get("replaces", 0), row.frame * FRAME_NS
        if orders > 0 and flow_is_news(self.config, self._ledger, server, began_ts):
            source = row.source
            first = FirstEvent(source.topic, source.partition, source.offset, row.ts, item=source.item)
            self._apply(Flow(server, row.ts, began_ts, int(orders), first, row.money))

    def _alive(self, server: str) -> None:
        if node_is_news(self.config, self._ledger, server):
            self._apply(NodeAlive(server))

    def _breach(self, breach: Breach, given: DeskInput) -> None:
        breach = _with_valid_scope(breach)
        if self._opens.is_repeat(breach):
            self._repeats += 1
            return
        self._fleet.breach(breach, given, self._clock.now)
        if breach.server:
            self._alive(breach.server)
        self._taken(breach)

    def _taken(self, breach: Breach) -> None:
        """What follows from a verdict, of stage 1 or of the fleet (which does not make a node alive)."""
        now = self._clock.now
        self._apply(Touch(breach.scope, breach.ts, breach.money))
        judgement = self._opens.take(breach, now, self._fleet.view(now))
        if judgement is not None:
            self._apply(judgement)

    def _signature_problem(self, command: Command) -> str | None:
        if self._verify is not None and (self._signed_only or command.signature):
            return self._verify(command)
        if self._signed_only:
            return "signatures are required, but this desk has no keys to check them with: configure the keys"
        return None

    def _apply(self, given: Input | Judgement) -> None:
        for event in decide(self.config, self._ledger, given):
            before = self._ledger
            self._ledger = evolve(before, event)
            self._tell(before, event)

    def _tell(self, before: LedgerState, event: Event) -> None:
        """What goes out because of ``event``."""
        if isinstance(event, Moved):
            if event.state == "RESUMING":
                self._opens.forget(event.scope)
            record = self._publish(event.scope)
            was = before.scope(event.scope)
            self._audit("transition", overview.transition_body(was, self._ledger.scope(event.scope), record))
            return
        if (
            isinstance(event, CommandTaken)
            and event.command.verb == "halt"
            and before.scope(event.command.scope).closed
        ):
            self._publish(event.command.scope)  # says again what stands, over whatever else was written there
        if (kind := overview.audit_kind(event)) is not None:
            self._audit(kind, msgspec.to_builtins(event))

    def _publish(self, name: str) -> HaltRecord:
        record = overview.halt_record(self._ledger, name, self.generation)
        self._out.append(DeskOutput(HALTS, name, record))
        return record

    def _audit(self, kind: str, body: dict[str, Any]) -> None:
        at = self._at
        self._chain, record = self._chain.append(
            kind, {**body, "input": [at.topic, at.partition, at.offset]}, self.generation
        )
        self._out.append(DeskOutput(AUDIT, "", record))

    def _flush_runs(self) -> None:
        """The order in which inputs were taken in goes to ``audit``."""
        runs, self._runs, self._runs_at = self._runs.listed(), Runs(), self._clock.now
        if runs:
            self._audit("inputs", {"runs": msgspec.to_builtins(list(runs))})

    def waiting(self) -> bool:
        """Whether an ack is still due, or a statistical halt is being held for a second input: ticks will decide."""
        scopes = (self._ledger.scope(name) for name in self._ledger.live)
        due = any(
            not g.status and not g.acted and g.due_at < NEVER for s in scopes if s.closed for g in s.gates.values()
        )
        return not self.fenced and (due or self._opens.holding)

    def adopt(self, records: Iterable[HaltRecord], tail: AuditRecord | None = None) -> list[DeskOutput]:
        """Reconcile with what stands on ``halts``, before the first step (after ``restore`` or without a snapshot).

        What is newer there is taken over, a latch here is never opened by it, epochs go on upward; what is newer here
        is published again. tail: the last record on ``audit``; if the chain there is longer than the snapshot knew, it
        goes on from there.
        """
        self._out = []
        if tail is not None and tail.n >= self._chain.n:
            self._chain = audit.after(tail)
        standing = {record.scope: record for record in records}
        if any(record.generation > self.generation for record in standing.values()):
            self.fenced = True
            return []
        self._at = _STANDING
        for name in self._ledger.live:
            if name not in standing or standing[name].epoch < self._ledger.scope(name).epoch:
                self._publish(name)
        for record in sorted(standing.values(), key=lambda r: (r.state == "ACTIVE", r.scope)):
            own = self._ledger.scopes.get(record.scope)
            if own is None or own.epoch <= record.epoch:
                self._apply(record)
            elif own.state == "ACTIVE":
                self._publish(record.scope)
        return self._out

    def snapshot(self) -> bytes:
        """Everything, as versioned plain bytes (MessagePack). Belongs to ``positions``."""
        positions = tuple((topic, partition, offset) for (topic, partition), offset in self._positions.items())
        state = Snapshot(
            v=SNAPSHOT_VERSION,
            generation=self.generation,
            clock=self._clock,
            ledger=self._ledger,
            opens=self._opens.state(),
            chain=self._chain,
            positions=positions,
            runs=self._runs.listed(),
            runs_at=self._runs_at,
            repeats=self._repeats,
            fenced=self.fenced,
            fleet=self._fleet.snapshot(),
            coverage=self._coverage,
        )
        return msgspec.msgpack.encode(state)

    @classmethod
    def restore(
        cls, config: DeskConfig, data: bytes, generation: int | None = None, verify: Verify | None = None
    ) -> "Desk":
        """The desk of a snapshot. generation: of the new desk; None keeps that of the snapshot. ValueError if ``data``
        is no snapshot of this version."""
        try:
            state = msgspec.msgpack.decode(data, type=Snapshot)
        except msgspec.MsgspecError as error:
            raise ValueError(
                f"desk snapshot does not decode ({error}): discard it and adopt what is on halts"
            ) from error
        if state.v != SNAPSHOT_VERSION:
            raise ValueError(f"desk snapshot has version {state.v}, expected {SNAPSHOT_VERSION}: discard it")
        desk = cls(config, state.generation if generation is None else generation, verify)
        desk.fenced = state.fenced and desk.generation <= state.generation
        desk._clock, desk._ledger, desk._chain = state.clock, state.ledger, state.chain
        desk._coverage = state.coverage
        desk._opens = Opens(config, state.opens)
        desk._fleet = Fleet.restore(config.fleet, state.fleet)
        desk._positions = {(topic, partition): offset for topic, partition, offset in state.positions}
        desk._runs, desk._runs_at, desk._repeats = Runs(state.runs), state.runs_at, state.repeats
        return desk

    def view(self) -> dict[str, Any]:
        """All scopes for status and metrics: what was dispatched, acknowledged and effective, apart."""
        return {
            "ts": self._clock.ts,
            "generation": self.generation,
            "fenced": self.fenced,
            "heartbeats": self._clock.beats,
            "repeats": self._repeats,
            "audit_records": self._chain.n,
            **overview.view(self._ledger),
            "open_breaches": self._opens.listed(),
            "fleet": self._fleet.ratios(),
        }


_STANDING: Final = Source(HALTS.name, 0, -1)
"""Stands for what ``adopt`` was told."""


def _with_valid_scope(breach: Breach) -> Breach:
    """A breach whose scope is none counts for its server: a detector's slip must not lose a halt."""
    try:
        parse(breach.scope)
    except ValueError:
        return msgspec.structs.replace(breach, scope=scope("server", breach.server or "unknown"))
    return breach
