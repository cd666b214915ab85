"""What the worker that runs the desk tells Prometheus besides: scopes, nodes, and the firm as a whole."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

from schemas import metrics as m
from schemas.records import Ack, Declared, DeclaredSeen, FeatureRow, HaltRecord, Heartbeat, NodeSeen, NodeState, State
from schemas.units import S_NS
from streams.batches import RecordBatch
from streams.series import Series

OWN: Final = (
    m.SCOPE_STATE, m.SCOPE_SINCE, m.SCOPE_EPOCH, m.HEARTBEAT_TIME, m.GATES_PENDING, m.NODE_INFO, m.NODE_DRIFT,
    m.NODE_TIME, m.FIRM_GROSS_USD,
)  # fmt: skip
"""Gauges that only the worker with the desk may show."""


class DeskMeter:
    """Follows the inputs and outputs of the desk."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._nodes: dict[str, NodeState] = {}
        self._declared: dict[str, Declared] = {}
        self._gross_usd: dict[str, float] = {}
        self._pending: set[str] = set()

    def step(self, part: RecordBatch, inputs: Iterable[Any], outputs: Sequence[Any]) -> None:
        """What the desk took and decided."""
        for output in outputs:
            if isinstance(output.record, Heartbeat):
                self._series(m.HEARTBEAT_TIME).set(output.record.ts / S_NS)
            elif isinstance(output.record, HaltRecord):
                self._halt(part, output.record)
        for said in inputs:
            match said:
                case Ack():
                    self._series(m.ACKS, said.server, said.status).inc()
                case FeatureRow():
                    self._gross_usd[said.server] = said.money.gross_usd
                    self._series(m.FIRM_GROSS_USD).set(sum(self._gross_usd.values()))
                case NodeSeen():
                    self._nodes[said.node.server] = said.node
                    self._series(m.NODE_TIME, said.node.server).set(said.node.ts / S_NS)
                    self._node(said.node.server)
                case DeclaredSeen():
                    self._declared[said.declared.server] = said.declared
                    self._node(said.declared.server)

    def _halt(self, part: RecordBatch, record: HaltRecord) -> None:
        for state in get_args(State):
            self._series(m.SCOPE_STATE, record.scope, state).set(1.0 if state == record.state else 0.0)
        self._series(m.SCOPE_SINCE, record.scope).set(record.ts_decided / S_NS)
        self._series(m.SCOPE_EPOCH, record.scope).set(record.epoch)
        self._series(m.TRANSITIONS, record.scope, record.state).inc()
        if record.state == "HALTING":
            for cause in record.cause:
                self._series(m.HALT_CAUSES, cause.detector).inc()
            if part.records:
                age_s = time.time() - part.records[-1].timestamp / 1000
                self._series(m.LATENCY, "verdict_to_halt").observe(max(0.0, age_s))

    def _node(self, server: str) -> None:
        node, declared = self._nodes.get(server), self._declared.get(server)
        if node is None:
            return
        self._series.remove(m.NODE_INFO, server=server)
        self._series(m.NODE_INFO, server, node.build, declared.build if declared else "").set(1.0)
        if declared is not None:
            same = (node.build, node.config, node.flags) == (declared.build, declared.config, declared.flags)
            self._series(m.NODE_DRIFT, server).set(0.0 if same else 1.0)

    def view(self, view: Mapping[str, Any]) -> None:
        """``Desk.view()``: which gates have not answered."""
        pending = {scope["scope"]: len(scope["awaiting"]) for scope in view.get("scopes", ())}
        for name in self._pending - set(pending):
            self._series.remove(m.GATES_PENDING, scope=name)
        for name, gates in pending.items():
            self._series(m.GATES_PENDING, name).set(gates)
        self._pending = set(pending)

    def gone(self) -> None:
        """The desk runs elsewhere: its gauges go."""
        for metric in OWN:
            self._series.clear(metric)
        self._nodes.clear()
        self._declared.clear()
        self._gross_usd.clear()
        self._pending.clear()
