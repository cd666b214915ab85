"""Engines small enough to check by hand, to test the shell around them: each output is a function of the log alone."""

import json
from collections.abc import Sequence
from typing import Any

from halts.config import DeskConfig
from schemas.events import Batch
from schemas.records import Breach, FeatureRow, Source
from streams import engines
from streams.desk import DeskFactory
from streams.stage1 import Stage1Factory


class Counting:
    """Says of every event how many of its server there were so far, and a checksum over all of them."""

    def __init__(self, topic: str, partition: int, state: dict[str, list[int]] | None = None, next_offset: int = 0):
        self.topic, self.partition = topic, partition
        self.state = state or {}
        self.next_offset = next_offset

    def step(self, batch: Batch) -> list[Breach | FeatureRow]:
        out: list[Breach | FeatureRow] = []
        for event, offset, item in zip(batch.events, batch.offsets.tolist(), batch.items.tolist(), strict=True):
            assert offset >= self.next_offset, f"{offset} was processed before ({self.next_offset})"
            server = event["server"].decode()
            if server == "POISON":
                raise RuntimeError("the engine was told to fail")
            seq = int(event["seq"])
            count, checksum = self.state.get(server, [0, 0])
            count, checksum = count + 1, (checksum * 31 + seq) % 1_000_003
            self.state[server] = [count, checksum]
            counters = {"events": count, "checksum": checksum, "seq": seq}
            source = Source(self.topic, self.partition, offset, item)
            out.append(FeatureRow(server, int(event["ts"]), seq, {"orders": 0.0}, {}, source, counters=counters))
        if len(batch):
            self.next_offset = int(batch.offsets[-1]) + 1
        return out

    def snapshot(self) -> bytes:
        return json.dumps([self.topic, self.partition, self.state, self.next_offset]).encode()


def counting() -> Stage1Factory:
    """One row per event."""
    return Stage1Factory(Counting, lambda state: Counting(*json.loads(state)))


class Silent(Counting):
    """Takes everything and says nothing: for measuring the shell alone."""

    def step(self, batch: Batch) -> list[Any]:
        self.next_offset = int(batch.offsets[-1]) + 1
        return []


def silent() -> Stage1Factory:
    return Stage1Factory(Silent, lambda state: Silent(*json.loads(state)))


def desk(config: DeskConfig | None = None) -> DeskFactory:
    """The real desk."""
    return engines.desk_factory(config or DeskConfig())


def expected_rows(events: Sequence[tuple[str, int]]) -> list[tuple[str, int, int, int]]:
    """(server, seq, count, checksum) for each event of a partition, in order."""
    engine: dict[str, list[int]] = {}
    out = []
    for server, seq in events:
        count, checksum = engine.get(server, [0, 0])
        engine[server] = [count + 1, (checksum * 31 + seq) % 1_000_003]
        out.append((server, seq, *engine[server]))
    return out
