"""Every series has a name of the table, starts at 0, and goes when its partition goes."""

import urllib.request
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from prometheus_client import generate_latest

from halts.config import Config, parse
from schemas import metrics as m
from schemas.codec_rules import Reason
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
    State,
)  # fmt: skip
from schemas.scopes import CANARY
from schemas.units import S_NS
from streams.batches import RecordBatch
from streams.desk_metrics import SCOPES_SHOWN_MAX
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
    assert value("knightwatch_gates_pending", {"scope": "server:R1"}) == 0
    meter.desk.gone()
    assert value("knightwatch_gates_pending", {"scope": "server:R1"}) is None
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


def halt(scope: str, state: State, epoch: int = 1, halt_id: str = "h", ts: int = 2 * S_NS) -> HaltRecord:
    return HaltRecord(halt_id, epoch, scope, state, "block", ts, ts, (), "t", Money(), "desk")


def test_every_node_and_the_firm_have_a_state_before_anything_happens() -> None:
    meter = Meter()
    value = meter.registry.get_sample_value
    meter.desk.adopted([], [halt("server:R9", "HALTED", 7), halt(CANARY, "HALTING")])
    node = NodeState("R1", 5 * S_NS, "b", "c")
    meter.desk.step(part(0), [NodeSeen(node, Source("nodes", 0, 0))], [])
    for scope, state in (("firm", "ACTIVE"), ("server:R1", "ACTIVE"), ("server:R9", "HALTED")):
        assert value("knightwatch_scope_state", {"scope": scope, "state": state}) == 1, scope
        assert value("knightwatch_gates_pending", {"scope": scope}) == 0
        assert value("knightwatch_halt_transitions_total", {"scope": scope, "state": "HALTING"}) == 0
    assert value("knightwatch_acks_total", {"server": "R1", "state": "blocked"}) == 0
    assert value("knightwatch_scope_state", {"scope": CANARY, "state": "HALTING"}) is None
    meter.desk.step(part(0), [NodeSeen(node, Source("nodes", 0, 1))], [Out(halt("server:R1", "HALTED"))])
    meter.desk.step(part(0), [NodeSeen(node, Source("nodes", 0, 2))], [])
    assert value("knightwatch_scope_state", {"scope": "server:R1", "state": "HALTED"}) == 1, (
        "a node's report opens nothing"
    )


def test_scopes_shown_are_bounded_and_what_is_halted_stays() -> None:
    meter = Meter()
    value = meter.registry.get_sample_value
    outs = [Out(halt("symbol:STOP", "HALTED"))]
    outs += [Out(halt(f"symbol:S{i}", state)) for i in range(SCOPES_SHOWN_MAX + 50) for state in ("WARNED", "ACTIVE")]
    meter.desk.step(part(0), [], outs)
    text = generate_latest(meter.registry).decode()
    assert text.count("knightwatch_scope_epoch{") == SCOPES_SHOWN_MAX
    assert text.count("knightwatch_halt_transitions_total{") == 5 * SCOPES_SHOWN_MAX
    assert value("knightwatch_scope_epoch", {"scope": "symbol:STOP"}) == 1
    assert value("knightwatch_scope_epoch", {"scope": "firm"}) == 0
    assert value("knightwatch_scope_epoch", {"scope": "symbol:S0"}) is None


def test_the_fleets_scores_and_who_tells_them() -> None:
    meter = Meter()
    value = meter.registry.get_sample_value
    meter.desk.view({"scopes": [], "fleet": {"divergence": 0.5}})
    assert value("knightwatch_firm_score_ratio", {"detector": "divergence"}) is None, "the desk is not here"
    meter.desk.adopted([])
    meter.desk.view({"scopes": [], "fleet": {"divergence": 0.5}})
    assert value("knightwatch_firm_score_ratio", {"detector": "divergence"}) == 0.5
    meter.desk.gone()
    assert value("knightwatch_firm_score_ratio", {"detector": "divergence"}) is None


def test_limits_stand_beside_what_they_limit() -> None:
    meter = Meter(
        config=parse("[stage1.exposure]\nserver_gross_usd = 5.0\n[desk.fleet.exposure]\nloss_usd_limit = 7.0\n", "t")
    )
    value = meter.registry.get_sample_value
    meter.partitions([("orderflow", 2)])
    meter.stage1(part(), batch(), [row(1)])
    meter.desk.adopted([])
    assert value("knightwatch_gross_usd_limit", {"server": "R1"}) == 5
    assert value("knightwatch_loss_usd_limit", {"scope": "firm"}) == 7
    assert value("knightwatch_firm_gross_usd_limit") == Config().desk.fleet.exposure.gross_usd_limit
    meter.partitions([("orderflow", 3)])
    meter.desk.gone()
    for name, labels in (
        ("gross_usd_limit", {"server": "R1"}),
        ("loss_usd_limit", {"scope": "firm"}),
        ("firm_gross_usd_limit", {}),
    ):
        assert value(f"knightwatch_{name}", labels) is None


def test_what_can_be_counted_stands_at_0_first() -> None:
    meter = Meter()
    value = meter.registry.get_sample_value
    meter.partitions([("orderflow", 2)])
    meter.stage1(part(), batch(), [row(1)])
    assert value("knightwatch_verdicts_total", {"detector": "rate", "state": "open"}) == 0
    for reason in Reason:
        assert value("knightwatch_dead_letters_total", {"topic": "orderflow", "reason": reason}) == 0
    meter.desk.adopted([])
    for stage in m.LATENCY_STAGES:
        assert value("knightwatch_latency_seconds_count", {"stage": stage}) is not None
    assert value("knightwatch_canary_seconds_count") == 0
    assert value("knightwatch_canary_failures_total") == 0


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
