"""Stage 1: one pure engine for the events of one partition, with a ``ServerEngine`` for each server in it."""

from typing import Any, Final

import numpy as np

from detectors.arrays import I64, U64, where
from detectors.config import Stage1Config
from detectors.onepass import CHUNK, Room, room_of
from detectors.server import Placed, ServerEngine
from detectors.snapshot import from_bytes, load, to_bytes
from schemas.events import Batch, as_words, word_of
from schemas.jit import compiled
from schemas.records import Breach, FeatureRow

SPAN: Final = 16_384
"""Events that are dealt out to their servers at once. Of fewer, each server has a pass over but a few; of more, a batch in
which every event has another server's name is searched for ever."""
_SERVER = word_of("server")


class Stage1:
    """``step(batch) -> verdicts``. No clock, no chance, no I/O; any cutting of the log gives the same verdicts.

    next_offset: first input offset not yet processed. refused: events of servers beyond ``servers_max``. room: to work
    in; engines that are never at work at the same time (of one thread) may share it.
    """

    def __init__(self, config: Stage1Config, topic: str, partition: int, room: Room | None = None) -> None:
        self._room = room or room_of()
        self.config = config
        self.topic = topic
        self.partition = partition
        self.next_offset = 0
        self.refused = 0
        self.servers: dict[str, ServerEngine] = {}

    def step(self, batch: Batch) -> list[Breach | FeatureRow]:
        """Verdicts, in the order of the events that decided them."""
        out: list[Breach | FeatureRow] = []
        for start in range(0, len(batch), SPAN):
            part = batch if len(batch) <= SPAN else batch[start : start + SPAN]
            out += [verdict for _, _, verdict in self._span(part)]
        if len(batch):
            self.next_offset = int(batch.offsets[-1]) + 1
        return out

    def _span(self, batch: Batch) -> list[Placed]:
        """Server after server, each ``CHUNK`` events at a time; verdicts in the order of the events all the same."""
        owner, firsts = np.empty((2, len(batch)), np.int64)
        servers = owners(as_words(batch.events), owner, firsts)
        placed: list[Placed] = []
        for k in range(servers):
            at = where(owner == k)
            for start in range(0, len(at), CHUNK):
                end = start + CHUNK
                part = batch[start:end] if servers == 1 else batch.pick(at[start:end])
                placed += self._server(part, at[start:end])
        if servers > 1:
            placed.sort(key=lambda p: p[:2])
        return placed

    def _server(self, batch: Batch, places: I64) -> list[Placed]:
        """Work off events of one server, which stand at ``places`` in the span."""
        name = bytes(batch.events["server"][0]).decode("ascii", "replace")
        engine = self.servers.get(name)
        if engine is None:
            if len(self.servers) >= self.config.servers_max:
                self.refused += len(batch)
                return []
            engine = self.servers[name] = ServerEngine(name, self.config, self._room)
        return engine.step(batch, places)

    def totals(self) -> dict[str, dict[str, int]]:
        """Counters by server (names in ``detectors.server.COUNTERS``)."""
        return {name: dict(engine.counters) for name, engine in self.servers.items()}

    def snapshot(self) -> bytes:
        """Plain, versioned bytes of the whole state, with the input position it belongs to."""
        return to_bytes(
            {
                "topic": self.topic,
                "partition": self.partition,
                "next_offset": self.next_offset,
                "refused": self.refused,
                "servers": {name: engine.kept() for name, engine in self.servers.items()},
            }
        )

    @classmethod
    def restore(cls, config: Stage1Config, data: bytes, room: Room | None = None) -> "Stage1":
        """The engine that made the snapshot, under the same configuration; SnapshotError otherwise."""
        state: dict[str, Any] = from_bytes(data)
        engine = cls(config, state["topic"], state["partition"], room)
        engine.next_offset, engine.refused = state["next_offset"], state["refused"]
        for name, saved in state["servers"].items():
            engine.servers[name] = ServerEngine(name, config, engine._room)
            load(engine.servers[name], saved)
        return engine


@compiled
def owners(words: U64, owner: I64, firsts: I64) -> int:
    """Number the servers of a batch by first appearance: owner (n,); returns how many there are. firsts: (n,) room for
    the place of each one's first event."""
    count = 0
    k = 0
    for i in range(len(words)):
        a, b = words[i, _SERVER], words[i, _SERVER + 1]
        if count == 0 or words[firsts[k], _SERVER] != a or words[firsts[k], _SERVER + 1] != b:
            k = 0
            while k < count and (words[firsts[k], _SERVER] != a or words[firsts[k], _SERVER + 1] != b):
                k += 1
            if k == count:
                firsts[k] = i
                count += 1
        owner[i] = k
    return count
