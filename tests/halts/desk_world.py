"""A desk fed by hand: verdicts, ticks, acks and commands, each on its own offset."""

from dataclasses import dataclass, field
from typing import Any

from halts.config import DeskConfig
from halts.desk import Desk, DeskInput, DeskOutput
from schemas.records import (
    Ack,
    AuditRecord,
    Breach,
    Command,
    FeatureRow,
    FirstEvent,
    HaltRecord,
    Heartbeat,
    Money,
    Source,
    Tick,
    encode,
)  # fmt: skip
from schemas.topics import ACKS, COMMANDS, VERDICTS
from schemas.units import MS_NS

T0 = 1_343_827_800_000_000_000
FEATURES = {"orders": 0.0, "replaces": 0.0, "fills": 0.0}


def breach(server: str = "R3", offset: int = 10, **other: Any) -> Breach:
    """A hard conservation breach of ``server`` unless told otherwise."""
    fields: dict[str, Any] = {
        "ts": T0, "detector": "conservation", "family": "conservation", "hard": True, "state": "open",
        "scope": f"server:{server}", "score": 2.0, "limit": 2.0, "baseline": 0.0,
        "evidence": {"what": "overorder", "parent_id": "P1", "parent_qty": 100, "child_qty": 300},
        "first_event": FirstEvent("orderflow", 3, offset, T0 - MS_NS, "C1"), "source": Source("orderflow", 3, offset),
        "money": Money(10.0, 100.0, 5_000.0),
    }  # fmt: skip
    return Breach(server=server, **(fields | other))


@dataclass
class World:
    """A desk, what it gave out, and the inputs so far. ``tick`` passes desk time."""

    config: DeskConfig = field(default_factory=DeskConfig)
    generation: int = 1
    now: int = T0

    def __post_init__(self) -> None:
        self.desk = Desk(self.config, self.generation)
        self.offsets: dict[str, int] = {}
        self.inputs: list[DeskInput] = []
        self.out: list[DeskOutput] = []

    def put(self, record: Any) -> list[DeskOutput]:
        """Take one record in; returns what came out of it."""
        topic = ACKS if isinstance(record, Ack) else COMMANDS if isinstance(record, Command) else VERDICTS
        offset = self.offsets.get(topic.name, 0)
        self.offsets[topic.name] = offset + 1
        given = DeskInput(topic.name, 0, offset, record)
        self.inputs.append(given)
        found = self.desk.step([given])
        self.out += found
        return found

    def tick(self, ms: int = 100, generation: int | None = None) -> list[DeskOutput]:
        """Let desk time pass in ticks of at most 100 ms."""
        found: list[DeskOutput] = []
        while ms > 0:
            step = min(ms, 100)
            self.now += step * MS_NS
            ms -= step
            found += self.put(Tick(self.now, len(self.inputs), self.generation if generation is None else generation))
        return found

    def halts(self) -> list[HaltRecord]:
        return [o.record for o in self.out if isinstance(o.record, HaltRecord)]

    def beats(self) -> list[Heartbeat]:
        return [o.record for o in self.out if isinstance(o.record, Heartbeat)]

    def audit(self) -> list[bytes]:
        return [encode(o.record) for o in self.out if isinstance(o.record, AuditRecord)]

    def audited(self, kind: str) -> list[dict[str, Any]]:
        return [o.record.body for o in self.out if isinstance(o.record, AuditRecord) and o.record.kind == kind]

    def state(self, scope: str = "server:R3") -> str:
        return self.desk.ledger.scope(scope).state

    def ack(
        self, status: Any, server: str = "R3", scope: str = "server:R3", ts: int | None = None, **other: Any
    ) -> None:
        """The gate's answer to the scope's present epoch."""
        s = self.desk.ledger.scope(scope)
        ts = self.now if ts is None else ts
        self.put(Ack(server, ts, s.halt_id, scope, other.pop("epoch", s.halt_epoch), status, **other))

    def halted(self, server: str = "R3") -> None:
        """Run a halt of ``server`` through to HALTED."""
        self.tick()
        self.put(breach(server))
        for status in ("blocked", "cancelling", "confirmed"):
            self.ack(status, server, f"server:{server}")

    def say(self, verb: Any, by: str, scope: str = "server:R3", **other: Any) -> str:
        """A command; returns its id."""
        name = f"c{len(self.inputs)}"
        other.setdefault("epoch", self.desk.ledger.scope(scope).epoch)
        other.setdefault("reason", "found the cause")
        self.put(Command(name, self.now, verb, scope, by=by, **other))
        return name

    def row(self, server: str, frame_ts: int, **values: float) -> None:
        """A feature row of the frame that began at ``frame_ts``."""
        frame = frame_ts // (100 * MS_NS)
        ts = (frame + 1) * 100 * MS_NS
        self.put(FeatureRow(server, ts, frame, {**FEATURES, **values}, {}, Source("orderflow", 0, frame % 10**6)))
