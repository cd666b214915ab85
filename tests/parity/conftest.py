"""Recordings made without a broker: the files are the recorder's own, what stands in them is made here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from detectors.bank import Stage1
from detectors.config import Stage1Config
from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from producers import scenarios
from replay.journal import decode_input
from replay.merge import Ticker, merged
from replay.partition import partition_of
from schemas.codec import encode_sbe_each
from schemas.events import Batch
from schemas.recording import Session
from schemas.records import Ack, AuditRecord, HaltRecord, Verdict, encode
from schemas.topics import ACKS, ALL, AUDIT, HALTS, ORDERFLOW, VERDICTS, partition_count
from streams.recorder_files import KafkaRecord, PartitionFile, Recording

PARTITIONS = 4
STAGE1, DESK = Stage1Config(), DeskConfig()


def write_recording(directory: Path, topics: Mapping[tuple[str, int], Sequence[KafkaRecord]]) -> Path:
    """A finished recording of these records."""
    counts = {topic.name: partition_count(topic, PARTITIONS) for topic in ALL}
    recording = Recording(directory, "", counts, Session(1, 0, "test", ""))
    entries = []
    for (topic, partition), records in topics.items():
        if records:
            file = PartitionFile(directory, topic, partition, 0)
            file.add(records)
            entries.append(file.close())
    recording.add_files(entries)
    recording.close(2)
    return directory


@dataclass
class Day:
    """What stood on the topics after a live run, to be harmed before it is written."""

    orders: dict[int, list[bytes]]
    verdicts: list[bytes] = field(default_factory=list)
    acks: list[bytes] = field(default_factory=list)
    halts: list[tuple[str, bytes]] = field(default_factory=list)
    audit: list[bytes] = field(default_factory=list)

    def write(self, directory: Path) -> Path:
        def kept(values: Sequence[bytes], key: bytes = b"k") -> list[KafkaRecord]:
            return [KafkaRecord(i, 1_000 + i, key, value) for i, value in enumerate(values)]

        topics = {(ORDERFLOW.name, p): kept(values) for p, values in self.orders.items()}
        topics[VERDICTS.name, 0] = kept(self.verdicts)
        topics[ACKS.name, 0] = kept(self.acks)
        topics[AUDIT.name, 0] = kept(self.audit)
        topics[HALTS.name, 0] = [KafkaRecord(i, 1_000 + i, k.encode(), v) for i, (k, v) in enumerate(self.halts)]
        return write_recording(directory, topics)


class LiveDesk:
    """A desk at work: gives what it says to the day, answers its halts as gates would, can die and be replaced."""

    def __init__(self, day: Day, config: DeskConfig = DESK) -> None:
        self.day, self.config = day, config
        self.desk = Desk(config, 1)
        self.waiting: list[Ack] = []
        self.state = (self.desk.snapshot(), 0, 0)

    def verdict(self, verdict: Verdict, said: bool = True) -> None:
        """Take a verdict that stands on the topic now."""
        if said:
            self.day.verdicts.append(encode(verdict))
        self._step(VERDICTS.name, len(self.day.verdicts) - 1, verdict)

    def gates(self) -> None:
        """Take in the acks to what was halted."""
        waiting, self.waiting = self.waiting, []
        for ack in waiting:
            self.day.acks.append(encode(ack))
            self._step(ACKS.name, len(self.day.acks) - 1, ack)

    def replaced(self, state: bytes, generation: int) -> None:
        """Another takes over from a stored state: it adopts what stands on halts, and takes what its state does not
        cover again: verdicts first, then acks."""
        standing = [msgspec.json.decode(v, type=HaltRecord) for k, v in self.day.halts if k != "_heartbeat"]
        latest = list({record.scope: record for record in standing}.values())
        tail = msgspec.json.decode(self.day.audit[-1], type=AuditRecord) if self.day.audit else None
        self.desk = Desk.restore(self.config, state, generation)
        self._say(self.desk.adopt(latest, tail))
        positions = self.desk.positions
        for topic, values in ((VERDICTS.name, self.day.verdicts), (ACKS.name, self.day.acks)):
            for offset in range(positions.get((topic, 0), 0), len(values)):
                record = decode_input(topic, values[offset])
                assert isinstance(record, Verdict | Ack)
                self._step(topic, offset, record)

    def _step(self, topic: str, offset: int, record: Verdict | Ack) -> None:
        self._say(self.desk.step([DeskInput(topic, 0, offset, record)]))

    def _say(self, outputs: Sequence[object]) -> None:
        for output in outputs:
            value = encode(output.record)  # type: ignore[attr-defined]
            if output.topic is HALTS:  # type: ignore[attr-defined]
                self.day.halts.append((output.key, value))  # type: ignore[attr-defined]
                halt = output.record  # type: ignore[attr-defined]
                if isinstance(halt, HaltRecord) and halt.state == "HALTING" and halt.scope.startswith("server:"):
                    name = halt.scope.removeprefix("server:")
                    args = (name, halt.ts_decided + 5, halt.halt_id, halt.scope, halt.epoch)
                    self.waiting += [Ack(*args, "blocked"), Ack(*args, "confirmed")]
            else:
                self.day.audit.append(value)


@cache
def _flow() -> tuple[tuple[int, "np.ndarray"], ...]:
    chunks = []
    for chunk in scenarios.build("power-peg", 3, 4, 0.4, incident_s=6):
        chunks.append(chunk.events)
    events = np.concatenate(chunks)
    parts = np.array([partition_of(bytes(name), PARTITIONS) for name in events["server"]])
    return tuple((int(p), events[parts == p]) for p in np.unique(parts))


def verdict_log() -> list[Verdict]:
    """What stage 1 says about the flow, with ticks (of generation 1) between."""
    streams = []
    for partition, events in _flow():
        n = len(events)
        batch = Batch(ORDERFLOW.name, partition, events, np.arange(n), np.zeros(n, np.int32))
        said = Stage1(STAGE1, ORDERFLOW.name, partition).step(batch)
        now, timed = 0, []
        for place, verdict in enumerate(said):
            now = max(now, verdict.ts)
            timed.append((now, 0, partition, place, verdict))
        streams.append(iter([timed]))
    return [verdict for part in Ticker().between(merged(streams)) for verdict in part]  # type: ignore[arg-type]


@pytest.fixture
def empty_day() -> Day:
    """The flow alone."""
    return Day({partition: encode_sbe_each(events) for partition, events in _flow()})
