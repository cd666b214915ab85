"""One worker and a real broker: nothing lost, nothing reordered, nothing committed too early."""

import random
import signal
import time

from schemas.codec import encode_json
from schemas.records import (
    DeadLetter,
    Declared,
    DeclaredSeen,
    NodeSeen,
    NodeState,
    decode,
    encode,
)
from schemas.topics import DEAD_LETTERS, DECLARED, NODES, ORDERFLOW, VERDICTS
from tests.integration.conftest import Stack, order


def test_flow_restart_and_commits(stack: Stack) -> None:
    worker = stack.worker()
    stack.orders(3000)
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    assert stack.stop(worker) == 0
    ends = {("orderflow", partition): len(sent) for partition, sent in stack.sent.items()}
    committed = stack.committed()
    assert {tp: committed.get(tp) for tp in ends} == ends, "stopping stores the state and commits what it covers"
    assert committed["verdicts", 0] > 0

    worker = stack.worker()
    stack.orders(1000)
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    stack.check_rows(repeats_allowed=False)
    assert stack.stop(worker) == 0


def test_killed_at_any_moment(stack: Stack) -> None:
    """kill -9, four times, while orders come in: state and rows are those of a worker that was never killed."""
    chance = random.Random(7)
    for _ in range(4):
        worker = stack.worker(session_timeout_s=6.0, snapshot_interval_s=0.3, commit_interval_s=0.2)
        seen = len(stack.covered())
        stack.orders(400)
        stack.wait("new row", lambda seen=seen: len(stack.covered()) > seen)
        end = time.monotonic() + chance.uniform(0.1, 1.5)
        while time.monotonic() < end:
            stack.orders(100)
        worker.kill()
        worker.wait()
        covered = stack.covered()
        for (topic, partition), offset in stack.committed().items():
            if topic == ORDERFLOW.name:
                skipped = [at for _, _, at in stack.sent[partition] if at < offset and (partition, at) not in covered]
                assert not skipped, f"partition {partition} committed to {offset}, but {skipped} have no rows"
    stack.worker()
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    stack.check_rows(repeats_allowed=True)


def test_what_is_refused(stack: Stack) -> None:
    """Refused values go to dead letters and do not stop anything; JSON, SBE and several events a record mix."""
    stack.worker()
    good = order("R0", 1)
    values = [b"not an event", good.tobytes(), encode_json(order("R0", 2)), b"", None, good.tobytes()[:50]]
    offsets = [stack.send(ORDERFLOW, value, "R0") for value in values]
    node = NodeState("R1", time.time_ns(), "b1", "c1")
    bad_node = stack.send(NODES, b'{"server":"R1"}', "R1", 1)
    foreign_node = stack.send(NODES, encode(node), "R2", 1)
    at_node = stack.send(NODES, encode(node), "R1", 1)
    declared = Declared("R1", time.time_ns(), "r1", "b1", "c1")
    at_declared = stack.send(DECLARED, encode(declared), "R1", 1)
    bad_verdict = stack.send(VERDICTS, b'{"type":"nothing"}', "R1")

    def letters() -> set[tuple[str, int, int, str]]:
        found = [decode(record.value, DeadLetter) for record in stack.read(DEAD_LETTERS)]
        return {(letter.topic, letter.partition, letter.offset, letter.reason) for letter in found}

    expected = {
        ("orderflow", 0, offsets[0], "undecodable"), ("orderflow", 0, offsets[3], "empty"),
        ("orderflow", 0, offsets[4], "empty"), ("orderflow", 0, offsets[5], "truncated"),
        ("nodes", 1, bad_node, "missing_field"), ("nodes", 1, foreign_node, "out_of_range"),
        ("verdicts", 0, bad_verdict, "wrong_type"),
    }  # fmt: skip
    stack.wait("dead letter for each", lambda: letters() == expected)
    stack.wait("both rows", lambda: stack.covered() == {(0, offsets[1]), (0, offsets[2])})
    seen = stack.verdicts()
    nodes = [v for v in seen if isinstance(v, NodeSeen)]
    assert [(v.node, v.source.topic, v.source.partition, v.source.offset) for v in nodes] == [
        (node, "nodes", 1, at_node)
    ]
    tells = [v for v in seen if isinstance(v, DeclaredSeen)]
    assert [(v.declared, v.source.offset) for v in tells] == [(declared, at_declared)]


def test_engine_that_fails_ends_the_worker(stack: Stack) -> None:
    """Going on would skip the batch: the process ends, nothing at or after the poison is committed or stored."""
    worker = stack.worker()
    stack.orders(200)
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    poison = stack.send(ORDERFLOW, order("POISON", 0).tobytes(), "POISON", 2)
    assert worker.wait(60) != 0
    assert "the engine was told to fail" in stack.log(worker)
    assert stack.committed().get(("orderflow", 2), 0) <= poison
    again = stack.worker()
    assert again.wait(60) != 0, "the event is read again, not skipped"
    assert stack.committed().get(("orderflow", 2), 0) <= poison


def test_no_broker_at_start(stack: Stack) -> None:
    worker = Stack.worker(
        Stack("127.0.0.1:1", stack.prefix, stack.folder, stack.producer, stack.admin, workers=stack.workers)
    )
    stack.wait("message", lambda: stack.log(worker).count("no Kafka at 127.0.0.1:1") >= 2)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(60) == 0
    assert "Traceback" not in stack.log(worker)
    assert "knightwatch broker" in stack.log(worker)
