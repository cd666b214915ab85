"""Stage 1: one pure engine for the events of one partition, with a ``ServerEngine`` for each server in it."""

from typing import Any, Final

import numpy as np

from detectors.arrays import I64, U64, where
from detectors.config import Stage1Config
from detectors.onepass import CHUNK, Room, room_of
from detectors.rows import Said
from detectors.server import ServerEngine
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
        said = Said()
        self.take(batch, np.arange(len(batch)), said)
        if len(batch):
            self.next_offset = int(batch.offsets[-1]) + 1
        return [verdict for _, _, verdict in said.placed()]

    def take(self, batch: Batch, places: I64, said: Said) -> None:
        """As ``step``, with events of single servers together: in order for each server, but not for the partition. places:
        (n,) where in the partition's order each event stands; verdicts are added to ``said``, which puts them in order."""
        for start in range(0, len(batch), SPAN):
            self._span(batch[start : start + SPAN], places[start : start + SPAN], said)

    def _span(self, batch: Batch, places: I64, said: Said) -> None:
        """Server after server, each ``CHUNK`` events at a time."""
        owner, firsts = np.empty((2, len(batch)), np.int64)
        servers = owners(as_words(batch.events), owner, firsts)
        for k in range(servers):
            at = where(owner == k) if servers > 1 else None
            n = len(batch) if at is None else len(at)
            engine = self._server(bytes(batch.events["server"][firsts[k]]).decode("ascii", "replace"))
            if engine is None:
                self.refused += n
                continue
            for start in range(0, n, CHUNK):
                part = slice(start, start + CHUNK)
                if at is None:
                    engine.step(batch[part], places[part], said)
                else:
                    engine.step(batch.pick(at[part]), places[at[part]], said)

    def _server(self, name: str) -> ServerEngine | None:
        """The engine of a server; None for one too many."""
        engine = self.servers.get(name)
        if engine is None and len(self.servers) < self.config.servers_max:
            engine = self.servers[name] = ServerEngine(name, self.config, self._room)
        return engine

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
