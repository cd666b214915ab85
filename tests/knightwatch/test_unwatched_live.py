"""A worker dies while the desk lives elsewhere: only the gates of the routers that it watched close, until another has
taken its partitions over."""

import re
from pathlib import Path

from halts.gate_io import partition_of
from knightwatch.follow import wait_until
from producers.gateway import LiveGates
from tests.knightwatch.test_live import SERVERS, log_of, workers


def test_gates_of_a_dead_workers_routers_close_and_open_again(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    with workers(kafka, topic_prefix, tmp_path, 2) as running, LiveGates(kafka, SERVERS, prefix=topic_prefix) as gates:

        def held(name: str) -> set[int]:
            """Partitions that the worker holds, by its log."""
            said = re.findall(r"Partitions of the order flow held: ([\d, ]+)", log_of(tmp_path, name))
            return {int(p) for p in said[-1].split(",")} if said else set()

        def shared() -> bool:
            parts = [held(name) for name in running]
            return all(parts) and len(parts[0] | parts[1]) == 8 and all(g.is_open for g in gates.gates.values())

        assert wait_until(shared, 60), "\n".join(log_of(tmp_path, name) for name in running)
        desk = max(running, key=lambda n: log_of(tmp_path, n).rfind("The desk is here"))
        victim = next(name for name in running if name != desk)
        theirs = {server for server in SERVERS if partition_of(server, 8) in held(victim) - held(desk)}
        assert 0 < len(theirs) < len(SERVERS), "routers of both"
        running[victim].kill()

        def closed() -> set[str]:
            return {server for server, gate in gates.gates.items() if not gate.is_open}

        assert wait_until(lambda: closed() == theirs, 6, 0.01), f"{closed()} closed, expected {theirs}"
        for server in theirs:
            decision = gates.gates[server].may_send(symbol="ACME")
            assert not decision.allowed
            assert "no worker reads this router's orders" in decision.reason
            assert gates.gates[server].state().unwatched
        assert wait_until(lambda: not closed(), 30), f"{closed()} never opened again\n{log_of(tmp_path, desk)}"
