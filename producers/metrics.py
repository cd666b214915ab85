"""What a router's side tells Prometheus: its gates and its publisher. Read at each scrape, so that nothing is older.

    serve(RouterCollector(gates, stats, publisher), 9465)

Names come from ``schemas.metrics``. Every counter stands at 0 for every server from the first scrape on.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from halts.gate import Decision, GateSnapshot
from schemas import metrics as m

BLOCK_REASONS: Final = ("halt", "catching_up", "heartbeat", "undecodable", "unwatched")
"""Why a gate refuses: a scope is stopped, or the gate itself fails closed."""
PUBLISH_REASONS: Final = ("dropped", "refused")
"""``dropped``: the backlog was full. ``refused``: the client gave the value up."""


class Gate(Protocol):
    """What is read of a ``halts.gate.HaltGate``."""

    def state(self) -> GateSnapshot: ...


class Flow(Protocol):
    """Counts of a run, by server (``producers.gateway.LiveStats``)."""

    @property
    def published(self) -> Mapping[str, int]: ...
    @property
    def blocked_by(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def working(self) -> Mapping[str, int]: ...


class Publishing(Protocol):
    """What is read of a ``producers.publish.Publisher``."""

    def waiting(self) -> Mapping[str, int]: ...
    @property
    def errors(self) -> Mapping[tuple[str, str], int]: ...


def block_reason(decision: Decision, gate: Gate) -> str:
    """One of BLOCK_REASONS for a refusal."""
    if decision.halt_id:
        return "halt"
    snapshot = gate.state()
    if snapshot.undecodable:
        return "undecodable"
    if snapshot.unwatched:
        return "unwatched"
    return "heartbeat" if snapshot.caught_up else "catching_up"


class RouterCollector(Collector):
    """The series of the routers in this process, one set a gate."""

    def __init__(self, gates: Mapping[str, Gate], flow: Flow, publisher: Publishing) -> None:
        self._gates, self._flow, self._publisher = gates, flow, publisher
        self._since_s = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """Everything as of now."""
        gates = {server: gate.state() for server, gate in self._gates.items()}
        yield _gauge(m.GATE_OPEN, {(server,): float(gate.open) for server, gate in gates.items()})
        yield _gauge(m.GATE_HEARTBEAT_AGE, {(server,): self._age_s(gate) for server, gate in gates.items()})
        yield _gauge(m.ORDERS_WORKING, {(server,): self._flow.working.get(server, 0) for server in gates})
        yield _counter(m.ORDERS_BLOCKED, gates, BLOCK_REASONS, dict(self._flow.blocked_by))
        published = CounterMetricFamily(m.PUBLISHED.name, m.PUBLISHED.help, labels=m.PUBLISHED.labels)
        for server in gates:
            published.add_metric((server,), self._flow.published.get(server, 0))
        yield published
        yield _counter(m.PUBLISH_ERRORS, gates, PUBLISH_REASONS, dict(self._publisher.errors))
        waiting = self._publisher.waiting()
        yield _gauge(m.PUBLISH_QUEUE, {(server,): waiting.get(server, 0) for server in gates})

    def _age_s(self, gate: GateSnapshot) -> float:
        """Age of the heartbeat; where none was ever heard, how long we have been waiting."""
        return gate.heartbeat_age_ms / 1000 if gate.heartbeat_age_ms >= 0 else time.monotonic() - self._since_s


def _gauge(metric: m.Metric, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _counter(
    metric: m.Metric, servers: Mapping[str, object], reasons: tuple[str, ...], counts: Mapping[tuple[str, str], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for server in servers:
        for reason in reasons:
            family.add_metric((server, reason), counts.get((server, reason), 0))
    return family


def serve(collector: Collector, port: int) -> int:
    """Answer ``/metrics`` on ``port`` (0: any free one); returns the port. OSError when it is taken."""
    registry = CollectorRegistry()
    registry.register(collector)
    server, _ = start_http_server(port, registry=registry)
    return int(server.server_port)
