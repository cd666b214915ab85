"""What the worker that runs the desk tells Prometheus besides: scopes, nodes, and the firm as a whole."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

from detectors.fleet.config import FirmExposureConfig
from schemas import metrics as m
from schemas.records import (
    Ack,
    AckStatus,
    Declared,
    DeclaredSeen,
    FeatureRow,
    HaltRecord,
    Heartbeat,
    NodeSeen,
    NodeState,
    State,
)
from schemas.scopes import CANARY, FIRM, parse, scope
from schemas.units import S_NS
from streams.batches import RecordBatch
from streams.kill_path import KillPath
from streams.series import Series

OWN: Final = (
    m.SCOPE_STATE, m.SCOPE_SINCE, m.SCOPE_EPOCH, m.HEARTBEAT_TIME, m.GATES_PENDING, m.NODE_INFO, m.NODE_DRIFT,
    m.NODE_TIME, m.FIRM_GROSS_USD, m.FIRM_SCORE_RATIO, m.FIRM_GROSS_USD_LIMIT, m.LOSS_USD_LIMIT, m.CANARY_TIME, m.UNWATCHED,
)  # fmt: skip
"""Gauges that only the worker with the desk may show."""
OF_SCOPE: Final = (m.SCOPE_STATE, m.SCOPE_SINCE, m.SCOPE_EPOCH, m.GATES_PENDING, m.TRANSITIONS)
SCOPES_SHOWN_MAX: Final = 512
"""Scopes with series of their own. Beyond it the symbol, strategy or account that was ACTIVE for longest goes."""
_STATES: Final[tuple[State, ...]] = get_args(State)


class DeskMeter:
    """Follows the inputs and outputs of the desk."""

    def __init__(self, series: Series, limits: FirmExposureConfig) -> None:
        self._series = series
        self._limits = limits
        self.kill_path = KillPath(series)
        self._here = False
        self._nodes: dict[str, NodeState] = {}
        self._declared: dict[str, Declared] = {}
        self._gross_usd: dict[str, float] = {}
        self._scopes: dict[str, State] = {}
        """Scopes shown, the one that moved last at the end."""

    def adopted(self, outputs: Iterable[Any], standing: Iterable[HaltRecord] = ()) -> None:
        """The desk is here. What stood on ``halts`` is shown, and what the desk said to it."""
        self._begin()
        for record in (*standing, *(output.record for output in outputs)):
            if isinstance(record, HaltRecord) and record.scope != CANARY:
                self._show(record.scope, record.state, record.ts_decided, record.epoch)

    def step(self, part: RecordBatch, inputs: Iterable[Any], outputs: Sequence[Any]) -> None:
        """What the desk took and decided."""
        self._begin()
        for output in outputs:
            if isinstance(output.record, Heartbeat):
                self._series(m.HEARTBEAT_TIME).set(output.record.ts / S_NS)
                self._series(m.UNWATCHED).set(len(output.record.unwatched))
            elif isinstance(output.record, HaltRecord):
                self._halt(part, output.record)
        for said in inputs:
            match said:
                case Ack():
                    self._ack(said)
                case FeatureRow():
                    self._gross_usd[said.server] = said.money.gross_usd
                    self._series(m.FIRM_GROSS_USD).set(sum(self._gross_usd.values()))
                case NodeSeen():
                    self._node_seen(said.node)
                case DeclaredSeen():
                    self._declared[said.declared.server] = said.declared
                    self._node(said.declared.server)

    def _begin(self) -> None:
        """What can be counted starts at 0, and the firm's scope is there, before anything happens."""
        if self._here:
            return
        self._here = True
        self.kill_path.begin()
        self._series(m.FIRM_GROSS_USD_LIMIT).set(self._limits.gross_usd_limit)
        self._series(m.LOSS_USD_LIMIT, FIRM).set(self._limits.loss_usd_limit)
        self._show(FIRM, "ACTIVE", time.time_ns(), 0)

    def _ack(self, ack: Ack) -> None:
        if ack.scope == CANARY:
            return
        self._series(m.ACKS, ack.server, ack.status).inc()
        self.kill_path.ack(ack)

    def _halt(self, part: RecordBatch, record: HaltRecord) -> None:
        self.kill_path.halt(record)
        if record.scope == CANARY:
            return
        self._show(record.scope, record.state, record.ts_decided, record.epoch)
        self._series(m.TRANSITIONS, record.scope, record.state).inc()
        if record.state == "HALTING":
            for cause in record.cause:
                self._series(m.HALT_CAUSES, cause.detector).inc()
            if part.records:
                age_s = time.time() - part.records[-1].timestamp / 1000
                self._series(m.LATENCY, "verdict_to_halt").observe(max(0.0, age_s))

    def _show(self, name: str, state: State, since_ns: int, epoch: int) -> None:
        known = self._scopes.pop(name, None) is not None
        self._scopes[name] = state
        for each in _STATES:
            self._series(m.SCOPE_STATE, name, each).set(1.0 if each == state else 0.0)
            self._series(m.TRANSITIONS, name, each)  # at 0 before the first
        self._series(m.SCOPE_SINCE, name).set(since_ns / S_NS)
        self._series(m.SCOPE_EPOCH, name).set(epoch)
        if not known:
            self._series(m.GATES_PENDING, name).set(0)
        if len(self._scopes) > SCOPES_SHOWN_MAX:
            self._forget_one()

    def _forget_one(self) -> None:
        for name, state in self._scopes.items():
            if state == "ACTIVE" and parse(name)[0] not in ("server", FIRM):
                self._scopes.pop(name)
                for metric in OF_SCOPE:
                    self._series.remove(metric, scope=name)
                return

    def _node_seen(self, node: NodeState) -> None:
        new = node.server not in self._nodes
        self._nodes[node.server] = node
        self._series(m.NODE_TIME, node.server).set(node.ts / S_NS)
        self._node(node.server)
        if not new:
            return
        for status in get_args(AckStatus):
            self._series(m.ACKS, node.server, status)  # at 0 before the first
        name = scope("server", node.server)
        if name not in self._scopes:
            self._show(name, "ACTIVE", time.time_ns(), 0)

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
        """``Desk.view()``: which gates have not answered, how near the fleet's detectors are to their bounds."""
        if not self._here:
            return
        pending = {found["scope"]: len(found["awaiting"]) for found in view.get("scopes", ())}
        for name in self._scopes:
            self._series(m.GATES_PENDING, name).set(pending.get(name, 0))
        for detector, ratio in view.get("fleet", {}).items():
            self._series(m.FIRM_SCORE_RATIO, detector).set(ratio)

    def gone(self) -> None:
        """The desk runs elsewhere: its gauges go."""
        self._here = False
        for metric in OWN:
            self._series.clear(metric)
        self.kill_path.gone()
        self._nodes.clear()
        self._declared.clear()
        self._gross_usd.clear()
        self._scopes.clear()
