"""Stage 1 on Kafka: one engine per assigned partition of ``orderflow``."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from mode import get_logger

from schemas.codec import decode, peek_server
from schemas.events import Batch
from schemas.records import Breach, DeadLetter, FeatureRow, encode
from schemas.topics import DEAD_LETTERS, ORDERFLOW, VERDICTS
from streams.batches import RecordBatch
from streams.holding import unless_revoked
from streams.keeper import Keeper
from streams.metrics import Meter
from streams.outbox import Outbox
from streams.restore import Start, following, starts
from streams.settings import Settings
from streams.snapshot_form import Snapshot
from streams.snapshots import SnapshotWriter, engine_name

logger = get_logger(__name__)
_STAGGER = 8
"""Over how many partitions the moments of their snapshots are spread."""


class Stage1Engine(Protocol):
    """What ``detectors.bank.Stage1`` offers."""

    def step(self, batch: Batch) -> Sequence[Breach | FeatureRow]: ...
    def snapshot(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Stage1Factory:
    """``new(topic, partition)`` and ``restore(state)`` of the engine."""

    new: Callable[[str, int], Stage1Engine]
    restore: Callable[[bytes], Stage1Engine]


class Stage1Partition:
    """The engine of one partition: decodes, steps, sends, and has itself stored."""

    def __init__(
        self, tp: Any, engine: Stage1Engine, start: Start, outbox: Outbox, keeper: Keeper, consumer: Any, meter: Meter
    ) -> None:
        self._tp = tp
        self._engine = engine
        self._next = start.positions[tp[0], tp[1]]
        self._outbox = outbox
        self._keeper = keeper
        self._consumer = consumer
        self._meter = meter
        self._lock = asyncio.Lock()
        self._closed = False

    async def take(self, batch: RecordBatch) -> None:
        """Process what of the batch is new. Any exception must end the worker: the engine has stopped in mid-step."""
        async with self._lock:
            if self._closed:
                return
            part = await following(self._consumer, batch, self._next)
            if part is None:
                return
            self._closed = True  # until the step is done: a state in mid-step must never be stored
            if len(part):
                await self._process(part)
            self._next = part.end
            self._closed = False
            self._keep()

    async def _process(self, part: RecordBatch) -> None:
        began = time.perf_counter()
        decoded = decode(ORDERFLOW.name, part.partition, part.values, part.offsets)
        middle = time.perf_counter()
        outputs = self._engine.step(decoded.batch) if len(decoded.batch) else ()
        self._meter.step("stage1", len(decoded.batch), middle - began, time.perf_counter() - middle)
        for letter in decoded.refused:
            await self._refuse(letter, part)
        for verdict in outputs:
            await self._outbox.send(VERDICTS, verdict.server, encode(verdict))
        self._meter.stage1(part, decoded.batch, outputs)

    async def _refuse(self, letter: DeadLetter, part: RecordBatch) -> None:
        at = int(part.offsets.searchsorted(letter.offset))
        server = letter.key or (part.keys[at] or b"").decode(errors="replace") or peek_server(part.values[at])
        await self._outbox.send(DEAD_LETTERS, server, encode(msgspec.structs.replace(letter, key=server)))
        self._meter.dead_letter(letter)

    def _snapshot(self) -> Snapshot:
        name = engine_name(ORDERFLOW.name, self._tp[1])
        return Snapshot(name, {(self._tp[0], self._tp[1]): self._next}, self._engine.snapshot())

    def _keep(self) -> None:
        if self._keeper.due({(self._tp[0], self._tp[1]): self._next}):
            self._keeper.begin(self._snapshot, self._outbox.unconfirmed())

    async def tend(self) -> None:
        """Store what a partition without further events has left to store."""
        async with self._lock:
            if not self._closed:
                self._keep()

    async def close(self) -> None:
        """Finish the step in work, store the state, take nothing more."""
        async with self._lock:
            if self._closed:
                return
            self._closed = True
            await self._keeper.finish(self._snapshot, self._outbox.unconfirmed())

    @property
    def position(self) -> tuple[Any, int]:
        """Input partition and the first offset not processed."""
        return self._tp, self._next


class Stage1Partitions:
    """The partitions this worker holds. They are restored in the background: a rebalance must not wait for it."""

    def __init__(self, app: Any, settings: Settings, factory: Stage1Factory, meter: Meter) -> None:
        self._app = app
        self._settings = settings
        self._factory = factory
        self._meter = meter
        self._restoring: asyncio.Task[dict[Any, Stage1Partition]] | None = None

    def assigned(self, tps: Iterable[Any]) -> None:
        """These are ours now, all of them, and no others."""
        mine = sorted(tp for tp in tps if tp[0] == self._settings.topic(ORDERFLOW))
        logger.info("Partitions of the order flow held: %s", ", ".join(str(tp[1]) for tp in mine) or "none")
        self._restoring = asyncio.create_task(self._restore(mine))
        self._meter.partitions(mine)

    async def of(self, batch: RecordBatch) -> Stage1Partition | None:
        """The engine for a batch; None when its partition is no longer ours."""
        found = await unless_revoked(lambda: self._restoring)
        return found.get((batch.topic, batch.partition)) if found is not None else None

    async def tend(self) -> None:
        for partition in self.ready():
            await partition.tend()

    def positions(self) -> list[tuple[Any, int]]:
        """Input partition and first offset not processed, of those that are restored."""
        return [partition.position for partition in self.ready()]

    async def revoked(self) -> None:
        """Give everything away: states are stored when this returns."""
        restoring, self._restoring = self._restoring, None
        if restoring is None:
            return
        if not restoring.done():
            restoring.cancel()
            return
        await asyncio.gather(*(partition.close() for partition in restoring.result().values()))

    def ready(self) -> list[Stage1Partition]:
        """Those that are restored. Raises what restoring failed with."""
        if self._restoring is None or not self._restoring.done():
            return []
        return list(self._restoring.result().values())

    async def _restore(self, tps: Sequence[Any]) -> dict[Any, Stage1Partition]:
        consumer = self._app.consumer
        engines = {engine_name(ORDERFLOW.name, tp[1]): (tp[1], [tp]) for tp in tps}
        found = await starts(consumer, self._settings.bootstrap, self._settings.prefix, engines, **self._settings.kafka)
        return {tp: self._partition(tp, found[engine_name(ORDERFLOW.name, tp[1])]) for tp in tps}

    def _engine(self, tp: Any, kept: Snapshot | None) -> Stage1Engine:
        if kept is not None:
            try:
                return self._factory.restore(kept.state)
            except ValueError as error:
                logger.error("%s-%s: %s. Going on without state: orders and baselines are forgotten.", *tp, error)
        return self._factory.new(ORDERFLOW.name, tp[1])

    def _partition(self, tp: Any, start: Start) -> Stage1Partition:
        engine = self._engine(tp, start.snapshot)
        logger.info("%s-%s: from offset %s%s", *tp, start.positions[tp], " with state" if start.snapshot else "")
        outbox = Outbox(self._app, self._settings.prefix)
        consumer, interval_s = self._app.consumer, self._settings.snapshot_interval_s
        keeper = Keeper(
            SnapshotWriter(outbox, tp[1], start.slot),
            consumer.mark_all_safe,
            lambda stored: self._meter.snapshot(ORDERFLOW.name, tp[1], stored),
            interval_s,
            kept=start.snapshot.positions if start.snapshot else None,
            first_s=interval_s * (1 + tp[1] % _STAGGER) / _STAGGER,
        )
        return Stage1Partition(tp, engine, start, outbox, keeper, consumer, self._meter)
