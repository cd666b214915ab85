"""The canary in a real worker: it flies the whole path over Kafka, is measured, and touches nothing else."""

import urllib.request
from itertools import pairwise

from knightwatch.rehearsal import free_ports
from schemas.records import Ack, HaltRecord, decode
from schemas.scopes import CANARY, CANARY_SERVER
from schemas.topics import ACKS, HALTS, HEARTBEAT_KEY
from tests.integration.conftest import Stack


def metric(port: int, name: str) -> float:
    """A series without labels; -1 when there is none, or nobody answers yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return -1.0
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), -1.0)


def test_it_comes_back_again_and_again(stack: Stack) -> None:
    port = free_ports(1)
    stack.worker(canary_ms=500, metrics_port=port)
    stack.wait("three probes", lambda: metric(port, "knightwatch_canary_seconds_count") >= 3, 60)
    assert metric(port, "knightwatch_canary_timestamp_seconds") > 0
    records = [decode(r.value, HaltRecord) for r in stack.read(HALTS) if r.key != HEARTBEAT_KEY.encode() and r.value]
    assert {r.scope for r in records} == {CANARY}, "nothing else is halted, whatever happens to the probes"
    assert [r.epoch for r in records] == list(range(1, len(records) + 1))
    following = {"HALTING": {"HALTED", "ACTIVE"}, "HALTED": {"ACTIVE"}, "ACTIVE": {"HALTING"}}
    assert all(b.state in following[a.state] for a, b in pairwise(records))
    acks = [decode(r.value, Ack) for r in stack.read(ACKS) if r.value]
    assert {a.server for a in acks} == {CANARY_SERVER}
    assert {"blocked", "confirmed"} <= {a.status for a in acks}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert CANARY not in answer.read().decode(), "people see scopes, not probes"
