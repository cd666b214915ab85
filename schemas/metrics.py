"""The one table of metric names: the only place that spells them. Worker, gate, publisher and desk expose them,
boards and alerts read them, and a test holds every PromQL expression against this table.

Prometheus naming: prefix ``knightwatch_``, base units (seconds, bytes, dollars as ``_usd``), counters end in
``_total``, moments are ``_timestamp_seconds`` (an age is ``time() - x``, so that a stuck exporter looks old).
Labels are bounded: servers by ``Stage1Config.servers_max``, scopes by the desk's ledger, the rest by this code.

How to expose one (prometheus_client)::

    KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
    extra = {"buckets": m.buckets} if m.buckets else {}
    child = KINDS[m.kind](m.name, m.help, m.labels, registry=registry, **extra)

A worker that loses a partition removes that partition's series, a worker that loses the desk removes those of the
desk: otherwise two workers tell two stories about one server until the scrape target is gone.
A counter starts at 0 for every server known, before its first event: the rate of a series born at 7 misses the 7.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

PREFIX: Final = "knightwatch_"
LABELS: Final = frozenset(
    {"server", "scope", "detector", "state", "reason", "topic", "partition", "stage", "build", "declared", "version"}
)
"""Every label there is. ``state`` holds a halt state, a breach state or an ack status; ``stage`` as each help says."""

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds, 1 ms to 10 s; 60 ms and 150 ms are the promises (p50, p99), so the grid is finest there."""
WORK_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds of computing per batch."""
BATCH_BUCKETS: Final = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0)
"""Events per batch."""

LATENCY_STAGES: Final = ("event_to_verdict", "verdict_to_halt", "halt_to_blocked", "blocked_to_confirmed")
"""The kill path, in order: values of label ``stage`` of LATENCY."""
WORK_STAGES: Final = ("stage1", "desk")
"""The two engines: values of label ``stage`` of BATCH, DECODE and STEP."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. ``unit`` is the Prometheus base unit of the value ('' where it is a count or a ratio)."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str, unit: str = "") -> Metric:
    return Metric(f"{PREFIX}{name}_total", "counter", unit, labels, text)


def _gauge(name: str, text: str, *labels: str, unit: str = "") -> Metric:
    return Metric(PREFIX + name, "gauge", unit, labels, text)


def _histogram(name: str, text: str, *labels: str, unit: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(PREFIX + name, "histogram", unit, labels, text, buckets)


# --- flow per server: stage 1, by summing the feature rows (detectors.features.NAMES) ---------------------------------
EVENTS: Final = _counter("events", "Order events taken in", "server")
PARENTS: Final = _counter("parents", "Parent orders accepted by the router", "server")
ORDERS: Final = _counter("orders", "Child orders sent (35=D)", "server")
REPLACES: Final = _counter("replaces", "Replace requests sent (35=G)", "server")
CANCELS: Final = _counter("cancels", "Cancel requests sent (35=F)", "server")
ACKS_VENUE: Final = _counter("venue_acks", "Orders acknowledged by the venue (150=0)", "server")
FILLS: Final = _counter("fills", "Executions (150=F)", "server")
CANCELED: Final = _counter("canceled", "Cancels confirmed by the venue (150=4)", "server")
REJECTS: Final = _counter("rejects", "Rejects (150=8)", "server")
ORDER_QTY: Final = _counter("order_shares", "Shares ordered", "server")
FILL_QTY: Final = _counter("fill_shares", "Shares filled", "server")
FILL_USD: Final = _counter("fill_usd", "Notional filled", "server", unit="usd")
AGGRESSIVE_USD: Final = _counter("aggressive_usd", "Notional filled at the far side of the NBBO", "server", unit="usd")
BUYS_AT_ASK: Final = _counter("buys_at_ask", "Executions that bought at the ask or above", "server")
SELLS_AT_BID: Final = _counter("sells_at_bid", "Executions that sold at the bid or below", "server")
SPREAD_BURN_USD: Final = _counter(
    "spread_burn_usd", "Half-spread and slippage paid against the NBBO (gains not netted)", "server", unit="usd"
)
SYMBOLS: Final = _gauge("symbols_active", "Distinct symbols touched in the newest frame (100 ms)", "server")
EVENT_TIME: Final = _gauge(
    "event_timestamp_seconds", "Stream time of the newest event of the server", "server", unit="seconds"
)

# --- quality of the input ---------------------------------------------------------------------------------------------
SEQ_GAPS: Final = _counter("seq_gaps", "Sequence numbers that never arrived", "server")
SEQ_REPEATS: Final = _counter("seq_repeats", "Events already seen (server, seq) or exec_id, not scored twice", "server")
LATE: Final = _counter("late", "Events older than the newest by more than the lateness limit", "server")
CLAMPED: Final = _counter("clamped", "Events whose stamp lay too far ahead and was clamped", "server")
DEAD_LETTERS: Final = _counter("dead_letters", "Values or events refused, by reason", "topic", "reason")

# --- scores and exposure ----------------------------------------------------------------------------------------------
SCORE_RATIO: Final = _gauge(
    "score_ratio", "Score / limit of a detector on one server: 1 is the bound, whatever the unit", "server", "detector"
)
FIRM_SCORE_RATIO: Final = _gauge("firm_score_ratio", "Score / limit of a fleet detector: 1 is the bound", "detector")
BREACH_SCORE: Final = _gauge(
    "breach_score", "Score of the newest breach, in the detector's own unit", "server", "detector"
)
BREACH_LIMIT: Final = _gauge(
    "breach_limit", "Limit of the newest breach, in the detector's own unit", "server", "detector"
)
BREACH_BASELINE: Final = _gauge(
    "breach_baseline", "Baseline of the newest breach, in the detector's own unit", "server", "detector"
)
VERDICTS: Final = _counter("verdicts", "Breaches by detector and state (open, update, close)", "detector", "state")
LOSS_USD: Final = _gauge("loss_usd", "Loss since the start of the day, marked at the NBBO", "server", unit="usd")
LOSS_USD_PER_S: Final = _gauge(
    "loss_usd_per_second", "What each second of waiting costs, on the present flow", "server", unit="usd"
)
LOSS_USD_LIMIT: Final = _gauge("loss_usd_limit", "Loss at which the scope is halted", "scope", unit="usd")
GROSS_USD: Final = _gauge("gross_usd", "Gross exposure incl. working orders", "server", unit="usd")
NET_USD: Final = _gauge("net_usd", "Signed net position at the last prices", "server", unit="usd")
GROSS_USD_LIMIT: Final = _gauge("gross_usd_limit", "Gross exposure at which the server is halted", "server", unit="usd")
FIRM_GROSS_USD: Final = _gauge("firm_gross_usd", "Gross exposure of all servers", unit="usd")
FIRM_GROSS_USD_LIMIT: Final = _gauge("firm_gross_usd_limit", "Gross exposure at which the firm is halted", unit="usd")

# --- halts: the desk --------------------------------------------------------------------------------------------------
SCOPE_STATE: Final = _gauge("scope_state", "1 for the state a scope is in, 0 for the other states", "scope", "state")
SCOPE_SINCE: Final = _gauge(
    "scope_since_timestamp_seconds", "When the scope entered its present state", "scope", unit="seconds"
)
SCOPE_EPOCH: Final = _gauge("scope_epoch", "Transitions of the scope so far", "scope")
TRANSITIONS: Final = _counter("halt_transitions", "Transitions into a state", "scope", "state")
HALT_CAUSES: Final = _counter("halt_causes", "Halts to which a detector contributed", "detector")
GATES_PENDING: Final = _gauge("gates_pending", "Gates that have not confirmed the halt of a scope", "scope")
ACKS: Final = _counter(
    "acks", "What gates reported: blocked, cancelling, confirmed, refused (a bad halt record)", "server", "state"
)
HEARTBEAT_TIME: Final = _gauge("heartbeat_timestamp_seconds", "When the desk last said it lives", unit="seconds")
UNWATCHED: Final = _gauge(
    "partitions_unwatched", "Partitions of the order flow that no worker reads; their routers' gates are closed"
)

# --- gates and nodes --------------------------------------------------------------------------------------------------
GATE_OPEN: Final = _gauge("gate_open", "1: the gate of the server lets orders through", "server")
GATE_HEARTBEAT_AGE: Final = _gauge(
    "gate_heartbeat_age_seconds", "Age of the desk's heartbeat as the gate sees it", "server", unit="seconds"
)
ORDERS_BLOCKED: Final = _counter(
    "orders_blocked",
    "Orders the gate refused: halt, catching_up, heartbeat, undecodable, unwatched",
    "server",
    "reason",
)
ORDERS_WORKING: Final = _gauge("orders_working", "Orders not yet known to be gone", "server")
NODE_INFO: Final = _gauge(
    "node_info", "1: the build a node reports beside the one declared", "server", "build", "declared"
)
NODE_DRIFT: Final = _gauge("node_drift", "1: build, config or a flag differs from what was declared", "server")
NODE_TIME: Final = _gauge("node_timestamp_seconds", "When the node last reported its state", "server", unit="seconds")

# --- pipeline ---------------------------------------------------------------------------------------------------------
PUBLISHED: Final = _counter("published", "Order events handed to Kafka by the router's publisher", "server")
PUBLISH_ERRORS: Final = _counter("publish_errors", "Order events the publisher could not deliver", "server", "reason")
PUBLISH_QUEUE: Final = _gauge("publish_queue_events", "Events waiting in the publisher", "server")
LAG: Final = _gauge("consumer_lag_events", "Messages on the broker not yet processed", "topic", "partition")
LATENCY: Final = _histogram(
    "latency_seconds", f"Kill path of real halts and drills by stage: {', '.join(LATENCY_STAGES)}", "stage", unit="seconds",
    buckets=LATENCY_BUCKETS,
)  # fmt: skip
BATCH: Final = _histogram("batch_events", "Events per step (stage1, desk)", "stage", unit="", buckets=BATCH_BUCKETS)
DECODE: Final = _histogram(
    "decode_seconds", "Decoding per batch (stage1, desk)", "stage", unit="seconds", buckets=WORK_BUCKETS
)
STEP: Final = _histogram(
    "step_seconds", "Engine step per batch (stage1, desk)", "stage", unit="seconds", buckets=WORK_BUCKETS
)
SNAPSHOT_TIME: Final = _gauge(
    "snapshot_timestamp_seconds", "When the newest snapshot was stored", "topic", "partition", unit="seconds"
)
SNAPSHOT_BYTES: Final = _gauge("snapshot_bytes", "Size of the newest snapshot", "topic", "partition", unit="bytes")
REBALANCES: Final = _counter("rebalances", "Rebalances the worker went through")
PARTITIONS: Final = _gauge("partitions_assigned", "Order flow partitions the worker holds")
CANARY: Final = _histogram(
    "canary_seconds", "A probe halt through the whole kill path, there and back", unit="seconds",
    buckets=LATENCY_BUCKETS,
)  # fmt: skip
CANARY_TIME: Final = _gauge("canary_timestamp_seconds", "When a probe last came back", unit="seconds")
CANARY_FAILURES: Final = _counter("canary_failures", "Probes that did not come back in time")
BUILD_INFO: Final = _gauge("build_info", "1: the version of Knightwatch that runs", "version")

ALL: Final[tuple[Metric, ...]] = (
    EVENTS, PARENTS, ORDERS, REPLACES, CANCELS, ACKS_VENUE, FILLS, CANCELED, REJECTS, ORDER_QTY, FILL_QTY, FILL_USD,
    AGGRESSIVE_USD, BUYS_AT_ASK, SELLS_AT_BID, SPREAD_BURN_USD, SYMBOLS, EVENT_TIME,
    SEQ_GAPS, SEQ_REPEATS, LATE, CLAMPED, DEAD_LETTERS,
    SCORE_RATIO, FIRM_SCORE_RATIO, BREACH_SCORE, BREACH_LIMIT, BREACH_BASELINE, VERDICTS,
    LOSS_USD, LOSS_USD_PER_S, LOSS_USD_LIMIT, GROSS_USD, NET_USD, GROSS_USD_LIMIT, FIRM_GROSS_USD, FIRM_GROSS_USD_LIMIT,
    SCOPE_STATE, SCOPE_SINCE, SCOPE_EPOCH, TRANSITIONS, HALT_CAUSES, GATES_PENDING, ACKS, HEARTBEAT_TIME, UNWATCHED,
    GATE_OPEN, GATE_HEARTBEAT_AGE, ORDERS_BLOCKED, ORDERS_WORKING, NODE_INFO, NODE_DRIFT, NODE_TIME,
    PUBLISHED, PUBLISH_ERRORS, PUBLISH_QUEUE, LAG, LATENCY, BATCH, DECODE, STEP, SNAPSHOT_TIME, SNAPSHOT_BYTES,
    REBALANCES, PARTITIONS, CANARY, CANARY_TIME, CANARY_FAILURES, BUILD_INFO,
)  # fmt: skip

FEATURE_COUNTERS: Final[dict[str, Metric]] = {
    "parents": PARENTS,
    "orders": ORDERS,
    "replaces": REPLACES,
    "cancels": CANCELS,
    "acks": ACKS_VENUE,
    "fills": FILLS,
    "canceled": CANCELED,
    "rejects": REJECTS,
    "order_qty": ORDER_QTY,
    "fill_qty": FILL_QTY,
    "fill_usd": FILL_USD,
    "buys_at_ask": BUYS_AT_ASK,
    "sells_at_bid": SELLS_AT_BID,
    "aggressive_usd": AGGRESSIVE_USD,
    "spread_burn_usd": SPREAD_BURN_USD,
}
"""Value of a feature row (detectors.features.NAMES) -> the counter it is added to. ``net_usd`` is the change of
NET_USD, ``symbols`` is SYMBOLS itself."""
