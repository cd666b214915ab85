"""The real engine, live with kills, says byte for byte what it says offline over the same log."""

import random
import time
from typing import Any

import numpy as np

from detectors.bank import Stage1
from detectors.config import Stage1Config
from schemas.codec import decode
from schemas.events import Kind, Phase, Side, empty_events
from schemas.records import Breach, FeatureRow, encode
from schemas.topics import ORDERFLOW
from tests.integration.conftest import PARTITIONS, Stack


def flow(server: str, first_seq: int, n: int, rng: np.random.Generator, start_ns: int) -> Any:
    """Parents, orders, acks and fills with a price; dense enough for rows, wild enough for breaches."""
    events = empty_events(n)
    seq = np.arange(first_seq, first_seq + n)
    events["server"], events["seq"], events["ts"] = server.encode(), seq, start_ns + seq * 2_000_000
    events["kind"] = np.array([Kind.parent, Kind.order, Kind.ack, Kind.fill])[seq % 4]
    group = seq // 4
    events["parent_id"] = [f"P{g // 3}".encode() for g in group]
    events["cl_ord_id"] = [f"{server}-{g}".encode() for g in group]
    events["exec_id"] = [f"E{s}".encode() if s % 4 == 3 else b"" for s in seq]
    events["symbol"], events["strategy"], events["account"], events["venue"] = b"ACME", b"vwap", b"ACC1", b"XNYS"
    events["side"], events["phase"] = rng.choice([Side.B, Side.S], n), Phase.cont
    events["qty"] = rng.integers(1, 500, n)
    events["bid"], events["ask"], events["px"] = 99_990_000_000, 100_010_000_000, 100_010_000_000
    return events


def key(verdict: Breach | FeatureRow) -> tuple[Any, ...]:
    if isinstance(verdict, FeatureRow):
        return "row", verdict.server, verdict.frame
    return "breach", verdict.server, verdict.detector, verdict.scope, verdict.state, verdict.source


def offline(stack: Stack, partition: int) -> list[bytes]:
    engine = Stage1(Stage1Config(), ORDERFLOW.name, partition)
    records = stack.read(ORDERFLOW, partition)
    decoded = decode(ORDERFLOW.name, partition, [r.value for r in records], [r.offset for r in records])
    assert not decoded.refused, decoded.refused[0]
    return [encode(verdict) for verdict in engine.step(decoded.batch)]


def test_live_is_offline(stack: Stack, rng: np.random.Generator) -> None:
    chance, start_ns = random.Random(3), time.time_ns() - 600_000_000_000
    sent = [0] * PARTITIONS
    worker = stack.worker(stage1="real", snapshot_interval_s=0.3, commit_interval_s=0.2, records_max=300)
    for burst in range(24):
        for partition in range(PARTITIONS):
            n = chance.randint(50, 400)
            for part in np.array_split(flow(f"R{partition}", sent[partition], n, rng, start_ns), 5):
                value = part.tobytes()
                stack.producer.send(stack.name(ORDERFLOW), key=b"R%d" % partition, value=value, partition=partition)
            sent[partition] += n
        stack.producer.flush()
        time.sleep(0.1)
        if burst in (9, 17):
            worker.kill()
            worker.wait()
            worker = stack.worker(stage1="real", snapshot_interval_s=0.3, commit_interval_s=0.2, records_max=700)
            time.sleep(3)
    ends = {("orderflow", p): len(stack.read(ORDERFLOW, p)) for p in range(PARTITIONS)}
    stack.wait("everything committed", lambda: {tp: stack.committed().get(tp) for tp in ends} == ends)
    assert stack.stop(worker) == 0

    live: dict[int, dict[tuple[Any, ...], bytes]] = {p: {} for p in range(PARTITIONS)}
    for verdict in stack.verdicts():
        if isinstance(verdict, Breach | FeatureRow):
            held = live[verdict.source.partition].setdefault(key(verdict), encode(verdict))
            assert held == encode(verdict), "said again after a kill, but not the same"
    for partition in range(PARTITIONS):
        assert list(live[partition].values()) == offline(stack, partition)
    assert sum(map(len, live.values())) > 100
