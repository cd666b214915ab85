"""Several workers: partitions move with their state, the desk moves whole, the gates see no long silence."""

import signal
import time
from itertools import pairwise

from aiokafka import AIOKafkaProducer

from schemas.records import Heartbeat, decode
from schemas.topics import HALTS, HEARTBEAT_KEY, ORDERFLOW
from tests.integration.conftest import PARTITIONS, Stack, order


def heartbeats(stack: Stack) -> list[tuple[int, Heartbeat]]:
    """Kafka timestamp (ms) and heartbeat."""
    return [(r.timestamp, decode(r.value, Heartbeat)) for r in stack.read(HALTS) if r.key == HEARTBEAT_KEY.encode()]


def owners(stack: Stack) -> dict[str, set[tuple[str, int]]]:
    """Member -> what it holds (names without the prefix); empty in mid-rebalance."""
    group = f"{stack.prefix}knightwatch"
    found = stack.admin.describe_groups([group])[group]
    held: dict[str, set[tuple[str, int]]] = {}
    if found["group_state"] != "Stable":
        return held
    for member in found["members"]:
        topics = (member.get("member_assignment") or {}).get("assigned_partitions") or []
        held[member["member_id"]] = {
            (entry["topic"].removeprefix(stack.prefix), partition)
            for entry in topics
            for partition in entry["partitions"]
        }
    return held


def test_join_leave_and_death(stack: Stack) -> None:
    """A second and a third worker join, one leaves, the one with the desk dies; orders come in all the while."""
    workers = [stack.worker(heartbeat_s=0.5, snapshot_interval_s=0.3) for _ in range(1)]
    stack.orders(500)
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    for _ in range(2):
        workers.append(stack.worker(heartbeat_s=0.5, snapshot_interval_s=0.3))
        end = time.monotonic() + 5
        while time.monotonic() < end:
            stack.orders(50)
            time.sleep(0.05)
    held = stack.wait("three members", lambda: len(found := owners(stack)) == 3 and found)
    for tps in held.values():
        desk = {topic for topic, _ in tps if topic in ("verdicts", "acks", "commands")}
        assert desk in (set(), {"verdicts", "acks", "commands"}), "the desk's inputs are on one worker"
        assert {p for t, p in tps if t == "orderflow"} == {p for t, p in tps if t == "nodes"}
    assert {p for tps in held.values() for t, p in tps if t == "orderflow"} == set(range(PARTITIONS))
    assert stack.stop(workers[1]) == 0
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    stack.check_rows(repeats_allowed=False)

    beats = heartbeats(stack)
    longest_s = max(b[0] - a[0] for a, b in pairwise(beats)) / 1000
    # gates close after 2 s; a busy machine gets more, but less than the death of a worker would take to be noticed
    print(f"longest silence of the desk: {longest_s} s")
    assert longest_s < 5.0, f"workers joining and leaving silenced the desk for {longest_s} s: gates would close"
    generations = [beat.generation for _, beat in beats]
    assert generations == sorted(generations)

    died = time.time()
    workers[0].kill()
    workers[0].wait()
    stack.orders(200)
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    took_s = time.time() - died
    # noticed after 6 s; benchmarks/recovery.py has the figures of a quiet machine
    assert took_s < 60, f"{took_s} s from the death of a worker to the last row"
    stack.check_rows(repeats_allowed=True)


def test_paused_worker_wakes_as_a_zombie(stack: Stack) -> None:
    """SIGSTOP for longer than the session: another takes over; the one that wakes does no harm and joins in again."""
    paused = stack.worker(heartbeat_s=0.5, snapshot_interval_s=0.3, commit_interval_s=0.2)
    stack.orders(400)
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    paused.send_signal(signal.SIGSTOP)
    stack.orders(400)
    other = stack.worker(heartbeat_s=0.5, snapshot_interval_s=0.3, commit_interval_s=0.2)
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    before = stack.committed()
    paused.send_signal(signal.SIGCONT)
    for _ in range(6):
        stack.orders(100)
        time.sleep(0.5)
    stack.wait("row for every order", lambda: stack.covered() >= stack.all_sent())
    stack.check_rows(repeats_allowed=True)
    assert all(offset >= before[tp] for tp, offset in stack.committed().items() if tp in before), "no commit goes back"
    stack.wait("both in the group, with partitions", lambda: len(held := owners(stack)) == 2 and all(held.values()))
    assert [stack.stop(worker) for worker in (paused, other)] == [0, 0]
    generations = [beat.generation for _, beat in heartbeats(stack)]
    alive = [g for i, g in enumerate(generations) if g >= max(generations[: i + 1])]
    assert alive[-1] > alive[0]


async def _transactions(stack: Stack) -> list[int]:
    """Aborted and committed transactions on partition 0; offsets of the orders that count."""
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, transactional_id=stack.prefix)
    await producer.start()
    kept = []
    for seq, keep in enumerate([True, False, False, True, False]):
        await producer.begin_transaction()
        sent = await producer.send_and_wait(stack.name(ORDERFLOW), order("R0", seq).tobytes(), partition=0)
        if keep:
            kept.append(sent.offset)
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()
    await producer.stop()
    return kept


def test_holes_in_the_log(stack: Stack) -> None:
    """Markers of transactions and aborted orders leave holes; commits go past the last of them, no row is made up."""
    import asyncio

    worker = stack.worker()
    kept = asyncio.run(_transactions(stack))
    stack.wait("two rows", lambda: stack.covered() == {(0, offset) for offset in kept})
    assert stack.stop(worker) == 0
    assert stack.committed()["orderflow", 0] == 10, "five orders and five markers"
    worker = stack.worker()
    more = asyncio.run(_transactions(stack))
    stack.wait("four rows", lambda: stack.covered() == {(0, offset) for offset in (*kept, *more)})
    assert "reading again" not in stack.log(worker)
