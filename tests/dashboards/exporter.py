"""A small exporter built from schemas.metrics: every metric of the table, with sample values of a power-peg morning.
Server R3 runs away, the other seven are calm; time moves, so that rates and slopes are real."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas import metrics as m

SERVERS = tuple(f"R{n}" for n in range(1, 9))
ROGUE = "R3"
DETECTORS = ("conservation", "rate", "crossing", "repetition", "malformed", "exposure", "novelty")
FIRM_DETECTORS = ("divergence", "drift", "breadth", "participation", "silence")
STATES = ("ACTIVE", "WARNED", "HALTING", "HALTED", "RESUMING")
KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class Sample:
    """All metrics in ``registry``; ``step(seconds)`` lets that much flow pass. ``incident_at`` seconds after the start
    the rogue server runs away, a second later it is halted; None: calm all day."""

    def __init__(self, incident_at: float | None = 0.0) -> None:
        self.registry = CollectorRegistry()
        self.incident_at = incident_at
        self.clock = 0.0
        self._of = {}
        self._done: set[str] = set()
        for metric in m.ALL:
            extra = {"buckets": metric.buckets} if metric.buckets else {}
            self._of[metric.name] = KINDS[metric.kind](
                metric.name, metric.help, metric.labels, registry=self.registry, **extra
            )
        self.of(m.BUILD_INFO, version="0.1.0").set(1)
        self.step(0.0)

    def _once(self, what: str) -> int:
        """1 the first time, 0 ever after."""
        first = what not in self._done
        self._done.add(what)
        return int(first)

    def of(self, metric: m.Metric, **labels: str):  # type: ignore[no-untyped-def]
        """The prometheus_client object of a row of the table."""
        found = self._of[metric.name]
        return found.labels(**labels) if metric.labels else found

    def step(self, seconds: float) -> None:
        """Pass ``seconds`` of flow and tell everything as of now."""
        self.clock += seconds
        now = time.time()
        bad = self.incident_at is not None and self.clock >= self.incident_at
        halted = bad and self.clock >= self.incident_at + 1.0
        for n, server in enumerate(SERVERS):
            self._flow(server, seconds, 20 + 3 * n, runaway=bad and server == ROGUE, halted=halted and server == ROGUE)
            self._node(server, now, halted and server == ROGUE)
        self._scores(bad, halted)
        self._desk(now, bad, halted)
        self._pipeline(seconds, now, bad)

    def _flow(self, server: str, seconds: float, pace: int, runaway: bool, halted: bool) -> None:
        orders = 0 if halted else (900 if runaway else pace)
        for metric, per_s in (
            (m.EVENTS, orders * 3), (m.PARENTS, 4), (m.ORDERS, orders), (m.REPLACES, 1), (m.CANCELS, 3),
            (m.ACKS_VENUE, orders), (m.FILLS, orders * 0.9), (m.CANCELED, 2), (m.REJECTS, 0.3),
            (m.ORDER_QTY, orders * 100), (m.FILL_QTY, orders * 90), (m.FILL_USD, orders * 2000),
            (m.AGGRESSIVE_USD, orders * (1900 if runaway else 600)),
            (m.BUYS_AT_ASK, orders * (0.45 if runaway else 0.15)),
            (m.SELLS_AT_BID, orders * (0.44 if runaway else 0.12)),
            (m.SPREAD_BURN_USD, orders * (12 if runaway else 0.4)), (m.SEQ_GAPS, 0), (m.SEQ_REPEATS, 0.1),
            (m.LATE, 0.2), (m.CLAMPED, 0), (m.PUBLISHED, orders * 3),
        ):  # fmt: skip
            self.of(metric, server=server).inc(per_s * seconds)
        self.of(m.PUBLISH_ERRORS, server=server, reason="timeout").inc(0)
        loss = 170_000.0 if runaway and not halted else 2.0
        self.of(m.LOSS_USD, server=server).inc(loss * seconds)
        self.of(m.LOSS_USD_PER_S, server=server).set(0.0 if halted else loss)
        growth = 2.4e6 if runaway and not halted else 100.0
        self.of(m.GROSS_USD, server=server).inc(growth * seconds if seconds else 1e5 + 4e4 * (pace % 7))
        self.of(m.NET_USD, server=server).set(-2e4)
        self.of(m.GROSS_USD_LIMIT, server=server).set(2e6)
        self.of(m.SYMBOLS, server=server).set(60 if runaway else 5)
        for reason in ("halt", "catching_up", "heartbeat", "undecodable"):
            self.of(m.ORDERS_BLOCKED, server=server, reason=reason).inc(
                600 * seconds if halted and reason == "halt" else 0
            )

    def _node(self, server: str, now: float, halted: bool) -> None:
        self.of(m.EVENT_TIME, server=server).set(now - 0.05)
        self.of(m.NODE_TIME, server=server).set(now - 0.4)
        build = "2005-smars" if server == ROGUE else "2012-rlp"
        self.of(m.NODE_INFO, server=server, build=build, declared="2012-rlp").set(1)
        self.of(m.NODE_DRIFT, server=server).set(server == ROGUE)
        self.of(m.GATE_OPEN, server=server).set(not halted)
        self.of(m.GATE_HEARTBEAT_AGE, server=server).set(0.2)
        self.of(m.ORDERS_WORKING, server=server).set(0 if halted else 40)
        self.of(m.PUBLISH_QUEUE, server=server).set(3)
        for status in ("blocked", "cancelling", "confirmed"):
            self.of(m.ACKS, server=server, state=status).inc(self._once(f"{server}{status}") if halted else 0)

    def _scores(self, bad: bool, halted: bool) -> None:
        for n, server in enumerate(SERVERS):
            for k, detector in enumerate(DETECTORS):
                high = bad and server == ROGUE and detector in ("conservation", "rate", "crossing", "novelty")
                ratio = 3.5 + k if high else 0.08 + 0.03 * ((n + k) % 5)
                self.of(m.SCORE_RATIO, server=server, detector=detector).set(ratio)
                if high:
                    self.of(m.BREACH_SCORE, server=server, detector=detector).set(ratio * 12)
                    self.of(m.BREACH_LIMIT, server=server, detector=detector).set(12)
                    self.of(m.BREACH_BASELINE, server=server, detector=detector).set(1.5)
                    for state in ("open", "update", "close"):
                        self.of(m.VERDICTS, detector=detector, state=state).inc(0.1)
                    self.of(m.HALT_CAUSES, detector=detector).inc(self._once(detector) if halted else 0)
        for k, detector in enumerate(FIRM_DETECTORS):
            self.of(m.FIRM_SCORE_RATIO, detector=detector).set(2.0 if bad and k == 0 else 0.1 + 0.05 * k)

    def _desk(self, now: float, bad: bool, halted: bool) -> None:
        self.of(m.HEARTBEAT_TIME).set(now - 0.1)
        self.of(m.FIRM_GROSS_USD).set(9e5)
        self.of(m.FIRM_GROSS_USD_LIMIT).set(2e7)
        for scope in (*(f"server:{s}" for s in SERVERS), "firm"):
            rogue = scope == f"server:{ROGUE}"
            state = ("HALTED" if halted else "HALTING") if bad and rogue else "ACTIVE"
            for name in STATES:
                self.of(m.SCOPE_STATE, scope=scope, state=name).set(name == state)
            self.of(m.SCOPE_SINCE, scope=scope).set(now - (5 if rogue else 600))
            self.of(m.SCOPE_EPOCH, scope=scope).set(2 if bad and rogue else 0)
            self.of(m.GATES_PENDING, scope=scope).set(1 if bad and rogue and not halted else 0)
            self.of(m.LOSS_USD_LIMIT, scope=scope).set(1e5)
            if bad and rogue:
                self.of(m.TRANSITIONS, scope=scope, state=state).inc(self._once(scope + state))

    def _pipeline(self, seconds: float, now: float, bad: bool) -> None:
        for partition in range(8):
            labels = {"topic": "orderflow", "partition": str(partition)}
            self.of(m.LAG, **labels).set(12)
            self.of(m.SNAPSHOT_TIME, **labels).set(now - 3)
            self.of(m.SNAPSHOT_BYTES, **labels).set(2_000_000)
        for k, stage in enumerate(m.LATENCY_STAGES):
            for n in range(20):
                self.of(m.LATENCY, stage=stage).observe(0.004 * (k + 1) + 0.0015 * n)
        for stage in m.WORK_STAGES:
            self.of(m.BATCH, stage=stage).observe(300)
            self.of(m.DECODE, stage=stage).observe(0.0004)
            self.of(m.STEP, stage=stage).observe(0.003)
        self.of(m.CANARY).observe(0.04)
        self.of(m.CANARY_TIME).set(now - 2)
        self.of(m.PARTITIONS).set(8)
        self.of(m.REBALANCES).inc(1 if not seconds else 0)
        if bad:
            self.of(m.DEAD_LETTERS, topic="orderflow", reason="version").inc(0.1)
