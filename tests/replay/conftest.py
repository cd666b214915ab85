"""Order events to make logs of, and engines small enough to know their output by heart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from msgspec import Struct
from numpy.typing import NDArray

from replay.runner import Engines
from schemas.codec import from_dicts
from schemas.events import Batch
from schemas.records import Breach, FeatureRow, FirstEvent, HaltRecord, Heartbeat, Money, Source, Tick
from schemas.topics import HALTS, Topic

T0 = 1_343_827_800_000_000_000
FRAME = 100_000_000


def event_dicts(n: int, servers: int = 3, seed: int = 7) -> list[dict[str, Any]]:
    """n orders of several servers, 0 to 40 ms apart, in order of time."""
    rng = np.random.default_rng(seed)
    ts = T0 + np.cumsum(rng.integers(0, 40_000_000, n))
    seq = [0] * servers
    found = []
    for i in range(n):
        s = int(rng.integers(0, servers))
        seq[s] += 1
        found.append(
            {
                "v": 1, "kind": "order", "server": f"R{s}", "seq": seq[s], "ts": int(ts[i]), "parent_id": f"P{i % 9}",
                "cl_ord_id": f"C{i}", "symbol": f"SYM{i % 5}", "strategy": "smars", "account": "A1", "venue": "XNYS",
                "side": "B" if i % 2 else "SS", "qty": int(rng.integers(1, 9)) * 100, "px": 10.25 + i % 7,
                "bid": 10.0, "ask": 10.5, "phase": "cont", "poss_dup": i % 11 == 0,
            }
        )  # fmt: skip
    return found


def node_dict(server: str, ts: int) -> dict[str, Any]:
    return {"v": 1, "server": server, "ts": ts, "build": "b1", "config": "c1", "flags": {}, "seq": 1}


def declared_dict(server: str, ts: int) -> dict[str, Any]:
    return {"v": 1, "server": server, "ts": ts, "release": "r1", "build": "b1", "config": "c1", "flags": {}}


class FrameStage1:
    """A row a server for each frame that its partition has left, and a breach at every order of ``qty`` above 700."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.now = 0
        self.counts: dict[str, int] = {}

    def step(self, batch: Batch) -> list[Breach | FeatureRow]:
        out: list[Breach | FeatureRow] = []
        for event, offset, item in zip(batch.events, batch.offsets.tolist(), batch.items.tolist(), strict=True):
            ts, server = int(event["ts"]), event["server"].decode()
            source = Source(batch.topic, self.partition, offset, item)
            if self.now and ts // FRAME > self.now // FRAME:
                for name, n in sorted(self.counts.items()):
                    out.append(FeatureRow(name, max(ts, self.now), self.now // FRAME, {"orders": float(n)}, {}, source))
                self.counts = {}
            self.now = max(self.now, ts)
            self.counts[server] = self.counts.get(server, 0) + 1
            if event["qty"] > 700:
                first = FirstEvent(batch.topic, self.partition, offset, ts, event["cl_ord_id"].decode(), item)
                score = float(event["qty"])
                breach = ("size", "limits", True, "open", f"server:{server}", score, 700.0, 0.0, {}, first, source)
                out.append(Breach(server, self.now, *breach))  # type: ignore[arg-type]
        return out


@dataclass(frozen=True)
class Given:
    topic: str
    partition: int
    offset: int
    record: Any


@dataclass(frozen=True)
class Output:
    topic: Topic
    key: str
    record: Struct


@dataclass
class FirstBreachDesk:
    """Halts a server at its first breach; HALTED three ticks later. Beats at every fifth tick."""

    due: dict[str, list[Any]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    taken: list[Given] = field(default_factory=list)

    def step(self, inputs: Sequence[Given]) -> list[Output]:
        out = []
        for given in inputs:
            self.taken.append(given)
            record = given.record
            if isinstance(record, Breach) and record.scope not in self.done:
                self.done.add(record.scope)
                self.due[record.scope] = [3, record]
                out.append(Output(HALTS, record.scope, self.halt(record, 1, "HALTING", record.ts)))
            if isinstance(record, Tick):
                if record.seq % 5 == 0:
                    out.append(Output(HALTS, "_heartbeat", Heartbeat(record.ts, record.seq)))
                for scope, entry in sorted(self.due.items()):
                    entry[0] -= 1
                    if not entry[0]:
                        del self.due[scope]
                        out.append(Output(HALTS, scope, self.halt(entry[1], 2, "HALTED", record.ts)))
        return out

    def waiting(self) -> bool:
        return bool(self.due)

    @staticmethod
    def halt(breach: Breach, epoch: int, state: Any, ts: int) -> HaltRecord:
        name = f"{breach.scope}@{breach.first_event.offset}"
        return HaltRecord(name, epoch, breach.scope, state, "block", breach.ts, ts, (), "too large", Money(), "desk")


@pytest.fixture
def orders() -> Callable[..., NDArray[Any]]:
    """``orders(n, servers=3, seed=7)`` -> (n,) EVENT."""
    return lambda n, servers=3, seed=7: from_dicts(event_dicts(n, servers, seed))


@pytest.fixture
def engines() -> Engines:
    """The small engines above."""
    return Engines(FrameStage1, lambda generation: FirstBreachDesk(), Given)
