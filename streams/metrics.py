"""The worker's numbers for Prometheus: every name comes from ``schemas.metrics``."""

import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server

from halts.config import Config
from schemas import metrics as m
from schemas.codec_rules import Reason
from schemas.events import Batch
from schemas.records import Breach, DeadLetter, FeatureRow
from schemas.topics import ORDERFLOW
from schemas.units import S_NS
from streams.batches import RecordBatch
from streams.desk_metrics import DeskMeter
from streams.series import Series
from streams.snapshots import Stored

RUNNING_TOTALS: Final = {
    "events": m.EVENTS,
    "gaps": m.SEQ_GAPS,
    "repeats": m.SEQ_REPEATS,
    "late": m.LATE,
    "clamped": m.CLAMPED,
}
"""Key of ``FeatureRow.counters`` -> the counter that follows it."""


class Meter:
    """Turns what the engines take and give into metrics. config: where the limits stand."""

    def __init__(self, registry: CollectorRegistry | None = None, config: Config | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.series = Series(self.registry)
        self._config = config or Config()
        self.desk = DeskMeter(self.series, self._config.desk.fleet.exposure)
        self.series(m.BUILD_INFO, version("knightwatch")).set(1)
        self._totals: dict[tuple[str, str], int] = {}
        self._servers: dict[int, set[str]] = {}
        self._detectors: set[str] = set()

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
        rows: dict[str, list[FeatureRow]] = {}
        for output in outputs:
            self._server(part.partition, output.server)
            if isinstance(output, Breach):
                self._breach(output)
            else:
                rows.setdefault(output.server, []).append(output)
        for of_server in rows.values():
            self._rows(of_server)

    def _server(self, partition: int, server: str) -> None:
        known = self._servers.setdefault(partition, set())
        if server in known:
            return
        known.add(server)
        for metric in (*m.FEATURE_COUNTERS.values(), *RUNNING_TOTALS.values()):
            self.series(metric, server)  # at 0 before the first event
        self.series(m.GROSS_USD_LIMIT, server).set(self._config.stage1.exposure.server_gross_usd)
        for reason in Reason:
            self.series(m.DEAD_LETTERS, ORDERFLOW.name, reason.value)

    def _rows(self, rows: Sequence[FeatureRow]) -> None:
        """Rows of one server, all at once: nobody looks between two of a batch."""
        row = rows[-1]
        for name, metric in m.FEATURE_COUNTERS.items():
            value = sum(each.values.get(name, 0.0) for each in rows)
            if value > 0:
                self.series(metric, row.server).inc(value)
        for name, metric in RUNNING_TOTALS.items():
            total = row.counters.get(name, 0)
            grown = total - self._totals.get((row.server, name), rows[0].counters.get(name, 0))
            self._totals[row.server, name] = total
            if grown > 0:
                self.series(metric, row.server).inc(grown)
        self.series(m.EVENT_TIME, row.server).set(row.ts / S_NS)
        self.series(m.SYMBOLS, row.server).set(row.values.get("symbols", 0.0))
        self.series(m.NET_USD, row.server).inc(sum(each.values.get("net_usd", 0.0) for each in rows))
        self.series(m.LOSS_USD, row.server).set(row.money.loss_usd)
        self.series(m.LOSS_USD_PER_S, row.server).set(row.money.loss_usd_per_s)
        self.series(m.GROSS_USD, row.server).set(row.money.gross_usd)
        for detector, ratio in row.scores.items():
            if detector not in self._detectors:
                self._detectors.add(detector)
                for state in ("open", "update", "close"):
                    self.series(m.VERDICTS, detector, state)  # at 0 before the first
            self.series(m.SCORE_RATIO, row.server, detector).set(ratio)

    def _breach(self, breach: Breach) -> None:
        self.series(m.VERDICTS, breach.detector, breach.state).inc()
        where = (breach.server, breach.detector)
        self.series(m.BREACH_SCORE, *where).set(breach.score)
        self.series(m.BREACH_LIMIT, *where).set(breach.limit)
        self.series(m.BREACH_BASELINE, *where).set(breach.baseline)

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
    m.LOSS_USD_PER_S, m.GROSS_USD, m.GROSS_USD_LIMIT, m.SCORE_RATIO, m.BREACH_SCORE, m.BREACH_LIMIT, m.BREACH_BASELINE,
)  # fmt: skip
"""Series that a partition's worker tells about its servers."""
