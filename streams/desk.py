"""Stage 2 on Kafka: the desk, where the one partition of ``verdicts``, ``acks`` and ``commands`` is."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
from mode import get_logger
from msgspec import Struct

from halts.gate_trust import Trust
from schemas.records import Ack, AuditRecord, Command, HaltRecord, Tick, Verdict, decode, decode_verdict, encode
from schemas.topics import ACKS, COMMANDS, DEAD_LETTERS, VERDICTS, Topic
from streams.batches import RecordBatch
from streams.canary import Canary
from streams.halts_log import read_audit_tail, read_halts
from streams.holding import unless_revoked
from streams.keeper import Keeper
from streams.metrics import Meter
from streams.outbox import Outbox
from streams.refusals import refusal
from streams.restore import Start, following, starts
from streams.settings import Settings
from streams.snapshot_form import Snapshot
from streams.snapshots import SnapshotWriter
from streams.ticker import Ticker

logger = get_logger(__name__)

NAME: Final = "desk"
SNAPSHOT_PARTITION: Final = 0
INPUTS: Final[Mapping[str, tuple[Topic, Callable[[bytes], Verdict | Ack | Command]]]] = {
    VERDICTS.name: (VERDICTS, decode_verdict),
    ACKS.name: (ACKS, lambda data: decode(data, Ack)),
    COMMANDS.name: (COMMANDS, lambda data: decode(data, Command)),
}


class DeskOutput(Protocol):
    """A record that the desk wants published."""

    @property
    def topic(self) -> Topic: ...
    @property
    def key(self) -> str: ...
    @property
    def record(self) -> Struct: ...


class DeskEngine(Protocol):
    """What ``halts.desk.Desk`` offers."""

    def step(self, inputs: Sequence[Any]) -> Sequence[DeskOutput]: ...
    def snapshot(self) -> bytes: ...
    def view(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class DeskFactory:
    """``new(generation)`` and ``restore(state, generation)`` make the desk; ``adopt(desk, records, tail)`` tells it
    what stands on ``halts`` and how ``audit`` ends; ``wrap(topic, partition, offset, record)`` makes an input;
    ``seal(record)`` is how a record is published (signed, or as it is); ``trust``: whose records on ``halts`` count."""

    new: Callable[[int], DeskEngine]
    restore: Callable[[bytes, int], DeskEngine]
    adopt: Callable[[DeskEngine, Sequence[HaltRecord], AuditRecord | None], Sequence[DeskOutput]]
    wrap: Callable[[str, int, int, Verdict | Ack | Command], Any]
    seal: Callable[[Struct], Struct] = lambda record: record
    trust: Trust | None = None


class RunningDesk:
    """The desk with its inputs and outputs. The order in which batches come to ``take`` is the order of its inputs;
    the desk itself writes it to ``audit``."""

    def __init__(
        self, engine: DeskEngine, generation: int, positions: Mapping[tuple[str, int], int], logical: Mapping[str, str],
        factory: DeskFactory, outbox: Outbox, keeper: Keeper, consumer: Any, meter: Meter,
    ) -> None:  # fmt: skip
        self.generation = generation
        self._engine = engine
        self._next = dict(positions)
        self._logical = logical
        self._factory = factory
        self._outbox = outbox
        self._keeper = keeper
        self._consumer = consumer
        self._meter = meter
        self._lock = asyncio.Lock()
        self._closed = False
        self.fenced = False

    async def take(self, batch: RecordBatch) -> None:
        """Step over what of the batch is new, publish what follows. Any exception must end the worker."""
        async with self._lock:
            if self._closed or self.fenced:
                return
            tp = (batch.topic, batch.partition)
            part = await following(self._consumer, batch, self._next[tp])
            if part is None:
                return
            self._closed = True  # until the step is done: a state in mid-step must never be stored
            await self._process(part)
            self._next[tp] = part.end
            self._closed = False
            if not self.fenced:
                self._keep()

    async def _process(self, part: RecordBatch) -> None:
        began = time.perf_counter()
        said = await self._decode(part)
        if self.fenced:
            return
        middle = time.perf_counter()
        name = self._logical[part.topic]
        outputs = self._engine.step([self._factory.wrap(name, part.partition, at, record) for at, record in said])
        self._meter.step("desk", len(said), middle - began, time.perf_counter() - middle)
        await self.publish(outputs)
        self._meter.desk.step(part, [record for _, record in said], outputs)

    async def publish(self, outputs: Sequence[DeskOutput]) -> None:
        """Hand outputs to the producer, in order."""
        for output in outputs:
            await self._outbox.send(output.topic, output.key, encode(self._factory.seal(output.record)))

    async def _decode(self, part: RecordBatch) -> list[tuple[int, Verdict | Ack | Command]]:
        """Offset and record of each input; what is none goes to dead letters."""
        name = self._logical[part.topic]
        read = INPUTS[name][1]
        inputs: list[tuple[int, Verdict | Ack | Command]] = []
        for record in part.records:
            if record.value is None:
                continue
            try:
                said = read(record.value)
            except msgspec.DecodeError as error:
                letter = refusal(name, part.partition, record.offset, record.key, record.value, error)
                await self._outbox.send(DEAD_LETTERS, letter.key, encode(letter))
                self._meter.dead_letter(letter)
                continue
            if isinstance(said, Tick) and said.generation > self.generation:
                self.fenced = True
                logger.error(
                    "A desk of generation %s ticks, this one is %s: it was replaced. It decides nothing any more.",
                    said.generation, self.generation,
                )  # fmt: skip
                return []
            inputs.append((record.offset, said))
        return inputs

    def _snapshot(self) -> Snapshot:
        return Snapshot(NAME, dict(self._next), self._engine.snapshot(), self.generation)

    def _keep(self) -> None:
        if self._keeper.due(self._next):
            self._keeper.begin(self._snapshot, self._outbox.unconfirmed())

    async def tend(self) -> None:
        """Raise what storing failed with; store what is left."""
        async with self._lock:
            if not self._closed and not self.fenced:
                self._keep()
                self._meter.desk.view(self._engine.view())

    async def close(self) -> None:
        """Finish the step in work, store the state, take nothing more."""
        async with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self.fenced:
                await self._keeper.finish(self._snapshot, self._outbox.unconfirmed())


class DeskHolder:
    """Holds the desk while its partitions are ours."""

    def __init__(self, app: Any, settings: Settings, factory: DeskFactory, meter: Meter) -> None:
        self._app = app
        self._settings = settings
        self._factory = factory
        self._meter = meter
        self._topics = {settings.topic(topic): name for name, (topic, _) in INPUTS.items()}
        self._starting: asyncio.Task[RunningDesk] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._canary: Canary | None = None

    def assigned(self, tps: Iterable[Any]) -> None:
        """Start the desk if its partitions are among these. RuntimeError when only some are."""
        mine = sorted(tp for tp in tps if tp[0] in self._topics)
        if not mine:
            self._meter.desk.gone()
            return
        if len(mine) != len(self._topics):
            raise RuntimeError(
                f"the desk was assigned {[f'{t}-{p}' for t, p in mine]}; expected {', '.join(self._topics)}, one"
                " partition each: create the topics anew (`knightwatch topics` verifies them)"
            )
        self._starting = asyncio.create_task(self._start(mine))

    async def of(self, batch: RecordBatch) -> RunningDesk | None:
        """The desk, when it has started; None when it is no longer ours."""
        return await unless_revoked(lambda: self._starting)

    @property
    def desk(self) -> RunningDesk | None:
        """The desk if it runs here. Raises what starting it failed with."""
        if self._starting is None or not self._starting.done():
            return None
        return self._starting.result()

    async def tend(self) -> None:
        desk = self.desk
        if desk is None:
            return
        if self._ticking is not None and self._ticking.done():
            self._ticking.result()
        if desk.fenced:
            self._stop_ticking()
        await desk.tend()

    async def revoked(self) -> None:
        """Give the desk away: its state is stored when this returns."""
        starting, self._starting = self._starting, None
        self._stop_ticking()
        if starting is None:
            return
        if not starting.done():
            starting.cancel()
            return
        await starting.result().close()

    def _stop_ticking(self) -> None:
        ticking, self._ticking = self._ticking, None
        if ticking is not None:
            ticking.cancel()
        canary, self._canary = self._canary, None
        if canary is not None:
            canary.stop()

    def _tick(self, generation: int) -> None:
        """Let time pass for the desk, and the canary fly."""
        settings = self._settings
        interval_ms = settings.config.canary.interval_ms
        if interval_ms:
            self._canary = Canary(
                settings.bootstrap, interval_ms, prefix=settings.prefix, kafka=settings.kafka,
                fail_closed_after_ms=settings.config.gate.fail_closed_after_ms, trust=self._factory.trust,
            )  # fmt: skip
            self._canary.start()
        due = self._canary.due if self._canary is not None else lambda: False
        ticker = Ticker(Outbox(self._app, settings.prefix), generation, settings.tick_ms, probe_due=due)
        self._ticking = asyncio.create_task(ticker.run())

    async def _start(self, tps: Sequence[Any]) -> RunningDesk:
        settings, consumer = self._settings, self._app.consumer
        found = await starts(
            consumer, settings.bootstrap, settings.prefix, {NAME: (SNAPSHOT_PARTITION, tps)}, **settings.kafka
        )
        start = found[NAME]
        halts = await read_halts(settings.bootstrap, settings.prefix, self._factory.trust, **settings.kafka)
        tail = await read_audit_tail(settings.bootstrap, settings.prefix, **settings.kafka)
        kept = start.snapshot
        generation = 1 + max(halts.generation, kept.generation if kept else 0)
        engine = self._engine(kept, generation)
        desk = self._running(engine, generation, start)
        adopted = self._factory.adopt(engine, list(halts.records.values()), tail)
        await desk.publish(adopted)
        self._meter.desk.adopted(adopted, halts.records.values())
        logger.info("The desk is here, generation %s, from %s", generation, dict(start.positions))
        self._tick(generation)
        return desk

    def _engine(self, kept: Snapshot | None, generation: int) -> DeskEngine:
        if kept is not None:
            try:
                return self._factory.restore(kept.state, generation)
            except ValueError as error:
                logger.error(
                    "desk: %s. Starting from what stands on halts: latches hold, open breaches are lost.", error
                )
        return self._factory.new(generation)

    def _running(self, engine: DeskEngine, generation: int, start: Start) -> RunningDesk:
        consumer, outbox = self._app.consumer, Outbox(self._app, self._settings.prefix)
        keeper = Keeper(
            SnapshotWriter(outbox, SNAPSHOT_PARTITION, start.slot),
            consumer.mark_all_safe,
            lambda stored: self._meter.snapshot(NAME, SNAPSHOT_PARTITION, stored),
            self._settings.snapshot_interval_s,
        )
        return RunningDesk(
            engine, generation, start.positions, self._topics, self._factory, outbox, keeper, consumer, self._meter
        )
