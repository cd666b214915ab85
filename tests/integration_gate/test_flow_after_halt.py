"""A router that ignores its gate: its gate answers, its orders go on, and the desk closes the firm."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from halts.config import KafkaConfig
from halts.orders import AFTER_HALT_FLOW
from knightwatch.follow import Follower, wait_until
from knightwatch.process import Child
from producers import scenarios
from producers.gateway import LiveGates, LiveRun
from producers.publish import Publisher
from streams.admin import create_topics

SERVERS = tuple(f"R{i + 1}" for i in range(4))


def test_flow_after_the_block_halts_the_firm(
    kafka: str, topic_prefix: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    patient = tmp_path / "patient.toml"  # a busy machine: no gate is late here, what widens is the flow
    patient.write_text(
        "[desk]\nack_timeout_ms = 20000\njoin_timeout_ms = 20000\n[gate]\nfail_closed_after_ms = 30000\n"
    )
    command = [sys.executable, "-m", "knightwatch", "worker", "--bootstrap", kafka, "--prefix", topic_prefix]
    command += ["--config", str(patient)]
    worker = Child([*command, "--data", str(tmp_path / "w")], tmp_path / "w.log")
    try:
        with (
            Follower(kafka, topic_prefix) as follower,
            Publisher(kafka, prefix=topic_prefix) as publisher,
            LiveGates(kafka, SERVERS, prefix=topic_prefix, fail_closed_after_ms=30_000) as gates,
        ):
            opened = wait_until(lambda: all(g.is_open for g in gates.gates.values()), 90)
            assert opened, (tmp_path / "w.log").read_text()[-2_000:]
            scenario = scenarios.build("flow-after-halt", 3, len(SERVERS), 2, time.time_ns(), incident_s=3)
            run, seen = LiveRun(scenario, publisher, gates), follower.seen
            routers = threading.Thread(target=run.run, daemon=True)
            routers.start()
            try:
                stands = wait_until(lambda: "firm" in seen.scopes and seen.scopes["firm"].state == "HALTING", 60, 0.002)
                arrived_ns = time.time_ns()
                assert stands, [(r.scope, r.state) for r in seen.halts]
                assert wait_until(lambda: not any(g.may_send(symbol="A") for g in gates.gates.values()), 10, 0.002)
                closed_ns = time.time_ns()
            finally:
                run.stop()
                routers.join(10)
        first, firm = seen.halts[0], next(r for r in seen.halts if r.scope == "firm")
        guilty = first.scope.removeprefix("server:")
        told = [(r.scope, r.state, [c.detector for c in r.cause], r.text) for r in seen.halts]
        flow = next((cause for cause in firm.cause if cause.detector == AFTER_HALT_FLOW), None)
        assert flow is not None, told
        assert flow.evidence["orders"] > 0
        blocked = seen.first_ack(first.scope, "blocked")
        assert blocked is not None
        assert blocked.server == guilty, "its gate did answer"
        took = {
            "decided_ms (event time)": (firm.ts_decided - blocked.ts) / 1e6,
            "firm_halted_ms": (arrived_ns - blocked.ts) / 1e6,
            "every_gate_closed_ms": (closed_ns - blocked.ts) / 1e6,
        }
        for name, ms in took.items():
            record_property(name, round(ms, 1))
        print(f"from the guilty gate's blocked on: {took}")
    finally:
        worker.stop(8.0)
