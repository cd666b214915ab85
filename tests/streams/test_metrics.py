"""Every series has a name of the table, starts at 0, and goes when its partition goes."""

import urllib.request
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from schemas import metrics as m
from schemas.events import Batch, empty_events
from schemas.records import (
    Ack,
    Breach,
    Cause,
    DeadLetter,
    Declared,
    DeclaredSeen,
    FeatureRow,
    FirstEvent,
    HaltRecord,
    Heartbeat,
    Money,
    NodeSeen,
    NodeState,
    Source,
)  # fmt: skip
from streams.batches import RecordBatch
from streams.metrics import Meter
from tests.streams.test_batches import Rec

FIRST = FirstEvent("orderflow", 2, 5, 1)


def part(partition: int = 2) -> RecordBatch:
    return RecordBatch("orderflow", partition, 0, 1, [Rec(0, timestamp=1)])


def row(events: int, **values: float) -> FeatureRow:
    counters = {"events": events, "late": 1}
    return FeatureRow("R1", 2_000_000_000, 20, values, {"rate": 0.5}, Source("orderflow", 2, 5), Money(7.0), counters)


def batch() -> Batch:
    return Batch("orderflow", 2, empty_events(1), np.zeros(1, np.int64), np.zeros(1, np.int32))


class Out:
    def __init__(self, record: Any) -> None:
        self.record = record


def names(meter: Meter) -> set[str]:
    return {metric.name for metric in meter.registry.collect()}


def test_rows_breaches_and_a_lost_partition() -> None:
    meter = Meter()
    value = meter.registry.get_sample_value
    meter.partitions([("orderflow", 2)])
    meter.stage1(part(), batch(), [row(10, orders=0.0)])
    assert value("knightwatch_orders_total", {"server": "R1"}) == 0, "0 before the first event"
    meter.stage1(part(), batch(), [row(25, orders=3.0, net_usd=-5.0), row(30, orders=4.0)])
    assert value("knightwatch_orders_total", {"server": "R1"}) == 7
    assert value("knightwatch_events_total", {"server": "R1"}) == 20, "growth since this worker first saw it"
    assert value("knightwatch_net_usd", {"server": "R1"}) == -5
    assert value("knightwatch_loss_usd", {"server": "R1"}) == 7
    assert value("knightwatch_score_ratio", {"server": "R1", "detector": "rate"}) == 0.5
    meter.stage1(part(), batch(), [row(12)])
    assert value("knightwatch_events_total", {"server": "R1"}) == 20, "rows that come again count nothing"
    source = Source("orderflow", 2, 5)
    meter.stage1(
        part(), batch(),
        [Breach("R1", 1, "overfill", "conservation", True, "open", "server:R1", 5, 1, 0, {}, FIRST, source)],
    )  # fmt: skip
    assert value("knightwatch_breach_score", {"server": "R1", "detector": "overfill"}) == 5
    meter.partitions([("orderflow", 3)])
    assert value("knightwatch_events_total", {"server": "R1"}) is None
    assert value("knightwatch_breach_score", {"server": "R1", "detector": "overfill"}) is None
    assert value("knightwatch_partitions_assigned") == 1


def test_desk_and_its_loss() -> None:
    meter = Meter()
    value = meter.registry.get_sample_value
    cause = Cause("overfill", 5, 1, 0, {}, FIRST)
    halt = HaltRecord(
        "h", 3, "server:R1", "HALTING", "block_and_cancel", 1, 2_000_000_000, (cause,), "t", Money(), "desk"
    )
    ack = Ack("R1", 1, "h", "server:R1", 3, "blocked")
    meter.desk.step(part(0), [ack], [Out(halt), Out(Heartbeat(4_000_000_000, 1))])
    assert value("knightwatch_scope_state", {"scope": "server:R1", "state": "HALTING"}) == 1
    assert value("knightwatch_scope_state", {"scope": "server:R1", "state": "ACTIVE"}) == 0
    assert value("knightwatch_scope_epoch", {"scope": "server:R1"}) == 3
    assert value("knightwatch_halt_causes_total", {"detector": "overfill"}) == 1
    assert value("knightwatch_acks_total", {"server": "R1", "state": "blocked"}) == 1
    assert value("knightwatch_heartbeat_timestamp_seconds") == 4
    meter.desk.view({"scopes": [{"scope": "server:R1", "awaiting": ["R1", "R2"]}]})
    assert value("knightwatch_gates_pending", {"scope": "server:R1"}) == 2
    meter.desk.view({"scopes": []})
    assert value("knightwatch_gates_pending", {"scope": "server:R1"}) is None
    meter.desk.gone()
    assert value("knightwatch_heartbeat_timestamp_seconds") is None
    assert value("knightwatch_scope_epoch", {"scope": "server:R1"}) is None


def test_nodes_and_the_firm() -> None:
    meter = Meter()
    value = meter.registry.get_sample_value
    source = Source("nodes", 0, 0)
    node, told = NodeState("R1", 5_000_000_000, "b2", "c"), Declared("R1", 1, "r", "b2", "c")
    meter.desk.step(part(0), [NodeSeen(node, source)], [])
    assert value("knightwatch_node_info", {"server": "R1", "build": "b2", "declared": ""}) == 1
    meter.desk.step(part(0), [DeclaredSeen(told, source)], [])
    assert value("knightwatch_node_drift", {"server": "R1"}) == 0
    meter.desk.step(part(0), [NodeSeen(NodeState("R1", 6_000_000_000, "b1", "c"), source)], [])
    assert value("knightwatch_node_drift", {"server": "R1"}) == 1
    assert value("knightwatch_node_info", {"server": "R1", "build": "b2", "declared": "b2"}) is None
    assert value("knightwatch_node_info", {"server": "R1", "build": "b1", "declared": "b2"}) == 1
    assert value("knightwatch_node_timestamp_seconds", {"server": "R1"}) == 6
    meter.desk.step(part(0), [row(1), replace(row(2), server="R2", money=Money(0, 0, 30.0))], [])
    assert value("knightwatch_firm_gross_usd") == 30


def test_only_names_of_the_table_and_a_port_of_its_own() -> None:
    meter = Meter()
    meter.partitions([("orderflow", 2)])
    meter.stage1(part(), batch(), [row(1, orders=1.0)])
    meter.step("stage1", 5, 0.1, 0.1)
    meter.dead_letter(DeadLetter("empty", "", "orderflow", 2, 1, 0, ""))
    table = {metric.name.removesuffix("_total") for metric in m.ALL}
    assert names(meter) <= table
    port = meter.serve(0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'knightwatch_dead_letters_total{reason="empty",topic="orderflow"} 1.0' in text
    with pytest.raises(OSError, match=r"[Aa]ddress"):
        Meter().serve(port)
