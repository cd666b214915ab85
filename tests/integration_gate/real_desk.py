"""The real desk engine on a real broker, in a thread: what ``streams.desk`` does, without Faust."""

import threading
import time
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from halts.gate_state import GateState
from schemas.records import Ack, Command, HaltRecord, NodeSeen, NodeState, Source, Tick, decode, encode
from schemas.topics import ACKS, COMMANDS, HALTS, topic_name

TICK_S = 0.05


class RealDesk:
    """Ticks every 50 ms; knows ``nodes`` to be alive. Starts by adopting what stands on ``halts``."""

    def __init__(self, bootstrap: str, prefix: str, config: DeskConfig, nodes: tuple[str, ...] = ()) -> None:
        self._names = {topic_name(topic, prefix): topic for topic in (ACKS, COMMANDS)}
        self._prefix, self._config, self._nodes = prefix, config, nodes
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=50
        )
        self._stop = threading.Event()
        self._offset = 0
        self._desk = self._start()
        self._consumer.assign([TopicPartition(name, 0) for name in self._names])
        self._consumer.seek_to_beginning()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _start(self) -> Desk:
        tp = TopicPartition(topic_name(HALTS, self._prefix), 0)
        self._consumer.assign([tp])
        self._consumer.seek_to_beginning()
        end = self._consumer.end_offsets([tp])[tp]
        state = GateState("-", fail_closed_after_ns=1, clock_skew_ns_max=0)
        while self._consumer.position(tp) < end:
            for record in self._consumer.poll(timeout_ms=100).get(tp, []):
                state.apply(record.offset, record.key, record.value, 0, 0)
        desk = Desk(self._config, generation=state.generation + 1)
        records: list[HaltRecord] = list(state.records.values())
        self._publish(desk.adopt(records))
        return desk

    def _publish(self, outputs: list[Any]) -> None:
        for out in outputs:
            self._producer.send(topic_name(out.topic, self._prefix), key=out.key.encode(), value=encode(out.record))

    def _verdict(self, record: Any) -> DeskInput:
        self._offset += 1
        return DeskInput("verdicts", 0, self._offset, record)

    def _run(self) -> None:
        due = nodes_due = 0.0
        while not self._stop.is_set():
            inputs: list[DeskInput] = []
            for tp, records in self._consumer.poll(timeout_ms=10).items():
                kind: Any = Ack if self._names[tp.topic] is ACKS else Command
                name = self._names[tp.topic].name
                inputs += [DeskInput(name, 0, r.offset, decode(r.value, kind)) for r in records]
            now = time.monotonic()
            if now >= nodes_due:
                nodes_due = now + 1.0
                for server in self._nodes:
                    node = NodeState(server, time.time_ns(), "b", "c")
                    inputs.append(self._verdict(NodeSeen(node, Source("nodes", 0, 0))))
            if now >= due:
                due = now + TICK_S
                inputs.append(self._verdict(Tick(time.time_ns(), self._offset, self._desk.generation)))
            self._publish(self._desk.step(inputs))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self._producer.close(timeout=2)
        self._consumer.close()
