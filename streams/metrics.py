"""The worker's numbers for Prometheus: every name comes from ``schemas.metrics``."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from schemas import metrics as m
from schemas.events import Batch
from schemas.records import Ack, Breach, DeadLetter, FeatureRow, HaltRecord, Heartbeat, State
from schemas.topics import ORDERFLOW
from schemas.units import S_NS
from streams.batches import RecordBatch
from streams.snapshots import Stored

KINDS: Final = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
RUNNING_TOTALS: Final = {
    "events": m.EVENTS,
    "gaps": m.SEQ_GAPS,
    "repeats": m.SEQ_REPEATS,
    "late": m.LATE,
    "clamped": m.CLAMPED,
}
"""Key of ``FeatureRow.counters`` -> the counter that follows it."""


class Series:
    """The metrics that this process exposes, made when first used, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made: dict[str, Any] = {}

    def __call__(self, metric: m.Metric, *labels: str) -> Any:
        """The child of ``metric`` with these label values."""
        made = self._made.get(metric.name)
        if made is None:
            extra = {"buckets": metric.buckets} if metric.buckets else {}
            made = KINDS[metric.kind](metric.name, metric.help, metric.labels, registry=self._registry, **extra)
            self._made[metric.name] = made
        return made.labels(*labels) if labels else made

    def remove(self, metric: m.Metric, **labels: str) -> None:
        """Forget every child with these label values."""
        made = self._made.get(metric.name)
        if made is not None and metric.labels:
            made.remove_by_labels(labels)

    def clear(self, metric: m.Metric) -> None:
        """Forget the metric altogether; it is made anew when next used."""
        made = self._made.pop(metric.name, None)
        if made is not None:
            self._registry.unregister(made)


class Meter:
    """Turns what the engines take and give into metrics."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.series = Series(self.registry)
        self._totals: dict[tuple[str, str], int] = {}
        self._servers: dict[int, set[str]] = {}

    def serve(self, port: int) -> int:
        """Answer ``/metrics`` on ``port`` (0: any free one); returns the port. OSError when it is taken."""
        server, _ = start_http_server(port, registry=self.registry)
        return int(server.server_port)

    def step(self, stage: str, events: int, decode_s: float, step_s: float) -> None:
        """One batch through one engine."""
        self.series(m.BATCH, stage).observe(events)
        self.series(m.DECODE, stage).observe(decode_s)
        self.series(m.STEP, stage).observe(step_s)

    def stage1(self, part: RecordBatch, batch: Batch, outputs: Sequence[Breach | FeatureRow]) -> None:
        """What a partition took and what its engine said about it."""
        if len(part):
            age_s = time.time() - part.records[-1].timestamp / 1000
            self.series(m.LATENCY, "event_to_verdict").observe(max(0.0, age_s))
        for output in outputs:
            self._server(part.partition, output.server)
            if isinstance(output, Breach):
                self._breach(output)
            else:
                self._row(output)

    def _server(self, partition: int, server: str) -> None:
        known = self._servers.setdefault(partition, set())
        if server in known:
            return
        known.add(server)
        for metric in (*m.FEATURE_COUNTERS.values(), *RUNNING_TOTALS.values()):
            self.series(metric, server)  # at 0 before the first event

    def _row(self, row: FeatureRow) -> None:
        for name, metric in m.FEATURE_COUNTERS.items():
            value = row.values.get(name, 0.0)
            if value > 0:
                self.series(metric, row.server).inc(value)
        for name, metric in RUNNING_TOTALS.items():
            total = row.counters.get(name, 0)
            grown = total - self._totals.get((row.server, name), total)
            self._totals[row.server, name] = total
            if grown > 0:
                self.series(metric, row.server).inc(grown)
        self.series(m.EVENT_TIME, row.server).set(row.ts / S_NS)
        self.series(m.SYMBOLS, row.server).set(row.values.get("symbols", 0.0))
        self.series(m.NET_USD, row.server).inc(row.values.get("net_usd", 0.0))
        self.series(m.LOSS_USD, row.server).set(row.money.loss_usd)
        self.series(m.LOSS_USD_PER_S, row.server).set(row.money.loss_usd_per_s)
        self.series(m.GROSS_USD, row.server).set(row.money.gross_usd)
        for detector, ratio in row.scores.items():
            self.series(m.SCORE_RATIO, row.server, detector).set(ratio)

    def _breach(self, breach: Breach) -> None:
        self.series(m.VERDICTS, breach.detector, breach.state).inc()
        where = (breach.server, breach.detector)
        self.series(m.BREACH_SCORE, *where).set(breach.score)
        self.series(m.BREACH_LIMIT, *where).set(breach.limit)
        self.series(m.BREACH_BASELINE, *where).set(breach.baseline)

    def desk(self, part: RecordBatch, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """What the desk took and decided."""
        for output in outputs:
            record = output.record
            if isinstance(record, Heartbeat):
                self.series(m.HEARTBEAT_TIME).set(record.ts / S_NS)
            elif isinstance(record, HaltRecord):
                self._halt(part, record)
        for said in inputs:
            if isinstance(said, Ack):
                self.series(m.ACKS, said.server, said.status).inc()

    def _halt(self, part: RecordBatch, record: HaltRecord) -> None:
        for state in get_args(State):
            self.series(m.SCOPE_STATE, record.scope, state).set(1.0 if state == record.state else 0.0)
        self.series(m.SCOPE_SINCE, record.scope).set(record.ts_decided / S_NS)
        self.series(m.SCOPE_EPOCH, record.scope).set(record.epoch)
        self.series(m.TRANSITIONS, record.scope, record.state).inc()
        if record.state == "HALTING":
            for cause in record.cause:
                self.series(m.HALT_CAUSES, cause.detector).inc()
            if part.records:
                age_s = time.time() - part.records[-1].timestamp / 1000
                self.series(m.LATENCY, "verdict_to_halt").observe(max(0.0, age_s))

    def no_desk(self) -> None:
        """The desk runs elsewhere: its series go."""
        for metric in (m.SCOPE_STATE, m.SCOPE_SINCE, m.SCOPE_EPOCH, m.HEARTBEAT_TIME):
            self.series.clear(metric)

    def dead_letter(self, letter: DeadLetter) -> None:
        self.series(m.DEAD_LETTERS, letter.topic, letter.reason).inc()

    def snapshot(self, topic: str, partition: int, stored: Stored) -> None:
        self.series(m.SNAPSHOT_TIME, topic, str(partition)).set_to_current_time()
        self.series(m.SNAPSHOT_BYTES, topic, str(partition)).set(stored.bytes)

    def lag(self, topic: str, partition: int, messages: int) -> None:
        self.series(m.LAG, topic, str(partition)).set(messages)

    def partitions(self, tps: Iterable[tuple[str, int]]) -> None:
        """A rebalance: these partitions of order flow are ours, the series of all others go."""
        held = {partition for _, partition in tps}
        self.series(m.REBALANCES).inc()
        self.series(m.PARTITIONS).set(len(held))
        for partition in list(self._servers):
            if partition not in held:
                for server in self._servers.pop(partition):
                    self._forget(server)
                for metric in (m.SNAPSHOT_TIME, m.SNAPSHOT_BYTES, m.LAG):
                    self.series.remove(metric, topic=ORDERFLOW.name, partition=str(partition))

    def _forget(self, server: str) -> None:
        for metric in PER_SERVER:
            self.series.remove(metric, server=server)
        for name in RUNNING_TOTALS:
            self._totals.pop((server, name), None)


PER_SERVER: Final = (
    *m.FEATURE_COUNTERS.values(), *RUNNING_TOTALS.values(), m.EVENT_TIME, m.SYMBOLS, m.NET_USD, m.LOSS_USD,
    m.LOSS_USD_PER_S, m.GROSS_USD, m.SCORE_RATIO, m.BREACH_SCORE, m.BREACH_LIMIT, m.BREACH_BASELINE,
)  # fmt: skip
"""Series that a partition's worker tells about its servers."""
