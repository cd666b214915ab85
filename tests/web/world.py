"""A firm on a real broker: the real desk engine and real gates, without Faust; breaches are put in by hand."""

import threading
import time
from collections.abc import Iterable
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from halts.config import DeskConfig, KafkaConfig
from halts.desk import Desk, DeskInput
from halts.gate import HaltGate
from schemas.records import (
    Ack,
    Breach,
    Command,
    FeatureRow,
    FirstEvent,
    Gate,
    Money,
    NodeSeen,
    NodeState,
    Source,
    Tick,
    decode,
    encode,
)
from schemas.topics import ACKS, COMMANDS, NODES, VERDICTS, Topic, topic_name
from streams.admin import create_topics

TICK_S = 0.05
NODE_S = 1.0
ROW_S = 0.5


class Firm:
    """Routers with gates, and the desk. ``beating`` may be cleared: the desk is dead then.

    gates: servers with a real gate; the others only show themselves and never answer.
    """

    def __init__(
        self, bootstrap: str, prefix: str, config: DeskConfig, servers: Iterable[str], gates: Iterable[str] = ()
    ) -> None:
        create_topics(KafkaConfig(bootstrap=bootstrap, prefix=prefix))
        self.bootstrap, self.prefix, self.servers = bootstrap, prefix, tuple(servers)
        self.beating = threading.Event()
        self.beating.set()
        self.working: dict[str, int] = {}
        self.money: dict[str, Money] = {}
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=20
        )
        self._inputs = {topic_name(ACKS, prefix): Ack, topic_name(COMMANDS, prefix): Command}
        self._consumer.assign([TopicPartition(name, 0) for name in self._inputs])
        self._consumer.seek_to_beginning()
        self._desk, self._offset = Desk(config, generation=1), 0
        self._given: list[Any] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self.gates = {s: self._gate(s) for s in gates}
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._run_desk, self._run_nodes)]

    def _gate(self, server: str) -> HaltGate:
        return HaltGate(
            self.bootstrap, server=server, prefix=self.prefix, cancel_all=lambda halt: None,
            working=lambda halt: self.working.get(server, 0),
        )  # fmt: skip

    def __enter__(self) -> "Firm":
        for gate in self.gates.values():
            gate.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        for gate in self.gates.values():
            gate.close()
        self._producer.close(timeout=2)
        self._consumer.close()

    def give(self, *records: Any) -> None:
        """Verdicts for the desk to take in."""
        with self._lock:
            self._given += records

    def runaway(self, server: str, scope: str = "", detector: str = "conservation", **other: Any) -> None:
        """One hard breach of ``server``: the desk halts its scope."""
        self.give(runaway(server, scope, detector, **other))

    def _send(self, topic: Topic, key: str, record: Any) -> None:
        self._producer.send(topic_name(topic, self.prefix), key=key.encode(), value=encode(record))

    def _verdict(self, record: Any) -> DeskInput:
        self._offset += 1
        return DeskInput("verdicts", 0, self._offset, record)

    def _run_desk(self) -> None:
        due = nodes_due = 0.0
        while not self._stop.is_set():
            inputs = []
            for tp, records in self._consumer.poll(timeout_ms=10).items():
                kind: Any = self._inputs[tp.topic]
                topic = tp.topic.removeprefix(self.prefix)
                inputs += [DeskInput(topic, 0, r.offset, decode(r.value, kind)) for r in records]
            with self._lock:
                given, self._given = self._given, []
            now = time.monotonic()
            if now >= nodes_due:
                nodes_due = now + NODE_S
                given = [
                    NodeSeen(self._node(s), Source("nodes", 0, 0)) for s in self.servers if s in self.gates
                ] + given
            inputs += [self._verdict(record) for record in given]
            if now >= due and self.beating.is_set():
                due = now + TICK_S
                inputs.append(self._verdict(Tick(time.time_ns(), self._offset, 1)))
            for out in self._desk.step(inputs) if self.beating.is_set() else ():
                self._send(out.topic, out.key, out.record)

    def _node(self, server: str) -> NodeState:
        gate = self.gates[server].node_gate() if server in self.gates else Gate("ACTIVE")
        return NodeState(server, time.time_ns(), "smars-7.2.1", "c0ffee01", gate=gate)

    def _run_nodes(self) -> None:
        n = 0
        while not self._stop.wait(ROW_S):
            n += 1
            for i, server in enumerate(self.servers):
                money = self.money.get(server, Money(-1_000.0 * i - 37 * n, 0.0, 4e5 * i + 1_000 * n))
                now = time.time_ns()
                row = FeatureRow(server, now, now // 100_000_000, {}, {}, Source("orderflow", 0, n), money)
                self._send(VERDICTS, server, row)
                if n % 2:
                    self._send(NODES, server, self._node(server))


def runaway(server: str, scope: str = "", detector: str = "conservation", **other: Any) -> Breach:
    """What Knight's eighth server would have set off."""
    now = time.time_ns()
    first = FirstEvent("orderflow", 2, 48_213, now - 412_000_000, "R3-0000048213")
    fields: dict[str, Any] = {
        "family": "conservation", "hard": True, "state": "open", "score": 7.0, "limit": 2.0, "baseline": 0.0,
        "evidence": {"what": "after_done", "orders": 7, "parent_id": "P-000212", "excess_usd": 251_300.0},
        "money": Money(3_412.0, 168_400.0, 512_900.0),
    }  # fmt: skip
    return Breach(
        server=server, ts=now, detector=detector, scope=scope or f"server:{server}", first_event=first,
        source=Source("orderflow", 2, 48_220), **(fields | other),
    )  # fmt: skip
