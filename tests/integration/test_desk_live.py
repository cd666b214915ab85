"""The real desk on a real broker: latches hold over restarts, with its state and without it."""

import time

from halts import audit
from schemas.records import (
    Ack,
    Breach,
    Command,
    FirstEvent,
    HaltRecord,
    Heartbeat,
    NodeSeen,
    NodeState,
    Source,
    Tick,
    decode,
    encode,
)
from schemas.topics import ACKS, AUDIT, COMMANDS, HALTS, HEARTBEAT_KEY, SNAPSHOTS, VERDICTS
from tests.integration.conftest import Stack


def breach(server: str, n: int = 0) -> Breach:
    """A broken invariant: halts alone."""
    now = time.time_ns()
    first = FirstEvent("orderflow", 0, n, now, f"{server}-{n}")
    source = Source("orderflow", 0, n)
    return Breach(
        server, now, "overfill", "conservation", True, "open", f"server:{server}", 5.0, 1.0, 0.0, {}, first, source
    )


def halts(stack: Stack) -> list[HaltRecord]:
    """Every halt record so far, in order."""
    return [decode(r.value, HaltRecord) for r in stack.read(HALTS) if r.key != HEARTBEAT_KEY.encode() and r.value]


def states(stack: Stack) -> dict[str, str]:
    return {record.scope: record.state for record in halts(stack)}


def last_beat(stack: Stack) -> Heartbeat | None:
    beats = [decode(r.value, Heartbeat) for r in stack.read(HALTS) if r.key == HEARTBEAT_KEY.encode()]
    return beats[-1] if beats else None


def say(stack: Stack, verb: str, number: int, by: str, halt: HaltRecord, approves: str = "") -> None:
    command = Command(f"c{number}", time.time_ns(), verb, halt.scope, "seen", by, halt.halt_id, halt.epoch, approves)  # type: ignore[arg-type]
    stack.send(COMMANDS, encode(command), halt.scope)


def ticks(stack: Stack) -> list[Tick]:
    return [verdict for verdict in stack.verdicts() if isinstance(verdict, Tick)]


def _silent(stack: Stack) -> bool:
    """No tick within a second; a tenth is usual."""
    before = len(ticks(stack))
    time.sleep(1.0)
    return len(ticks(stack)) == before


def test_latched_over_restarts(stack: Stack) -> None:
    worker = stack.worker()
    node = NodeSeen(NodeState("R1", time.time_ns(), "b", "c"), Source("nodes", 0, 0))
    stack.send(VERDICTS, encode(node), "R1")
    stack.send(VERDICTS, encode(breach("R1")), "R1")
    record = stack.wait("halt of R1", lambda: next(iter(halts(stack)), None))
    assert (record.scope, record.state) == ("server:R1", "HALTING")
    stack.send(ACKS, encode(Ack("R1", time.time_ns(), record.halt_id, record.scope, record.epoch, "blocked")), "R1")
    done = Ack("R1", time.time_ns(), record.halt_id, record.scope, record.epoch, "confirmed")
    stack.send(ACKS, encode(done), "R1")
    stack.wait("HALTED", lambda: states(stack).get("server:R1") == "HALTED")
    first = last_beat(stack)
    assert first is not None
    worker.kill()
    worker.wait()

    worker = stack.worker()
    stack.wait("new desk", lambda: (beat := last_beat(stack)) and beat.generation > first.generation)
    stack.send(VERDICTS, encode(breach("R2", 7)), "R2")
    stack.wait("halt of R2", lambda: "server:R2" in states(stack))
    assert stack.stop(worker) == 0

    # without its state: what stands on halts is enough, and the epochs go on
    stack.admin.delete_topics([stack.name(SNAPSHOTS)])
    stack.wait("the topic to go", lambda: stack.name(SNAPSHOTS) not in stack.admin.list_topics())
    stack.create(SNAPSHOTS)
    before = halts(stack)
    worker = stack.worker()
    stack.wait("third desk", lambda: (beat := last_beat(stack)) and beat.generation > first.generation + 1)
    stack.send(VERDICTS, encode(breach("R3", 9)), "R3")
    stack.wait("halt of R3", lambda: "server:R3" in states(stack))
    after = halts(stack)
    assert not [r for r in after if r.state in ("ACTIVE", "RESUMING")], "nobody resumed anything"
    assert states(stack)["server:R1"] in ("HALTING", "HALTED")
    epochs: dict[str, list[int]] = {}
    for halt in after:
        epochs.setdefault(halt.scope, []).append(halt.epoch)
    assert all(found == sorted(set(found)) for found in epochs.values()), "an epoch is used once and grows"
    generations = [halt.generation for halt in after]
    assert generations == sorted(generations)
    assert len(after) > len(before)
    assert audit.verify(record.value for record in stack.read(AUDIT)) is None
    numbers = [tick.generation for tick in ticks(stack)]
    assert numbers == sorted(numbers)


def test_replaced_desk_is_silent(stack: Stack) -> None:
    """Ticks of a higher generation: this desk decides nothing more, and ticks no more."""
    worker = stack.worker()
    stack.wait("heartbeat", lambda: last_beat(stack))
    stack.send(VERDICTS, encode(Tick(time.time_ns(), 0, 99)), "")
    stack.wait("word about it", lambda: "was replaced" in stack.log(worker))
    stack.wait("silence", lambda: _silent(stack))
    at = len(ticks(stack))
    stack.send(VERDICTS, encode(breach("R1")), "R1")
    time.sleep(1.5)
    assert len(ticks(stack)) == at
    assert halts(stack) == []
    assert stack.stop(worker) == 0
    assert stack.committed().get(("verdicts", 0), 0) <= stack.read(VERDICTS)[-1].offset, "not taken, not committed"


def test_two_people_resume(stack: Stack) -> None:
    """Commands reach the desk in order and open what one person alone cannot."""
    stack.worker()
    stack.send(VERDICTS, encode(breach("R1")), "R1")
    halt = stack.wait("halt of R1", lambda: next(iter(halts(stack)), None))
    say(stack, "resume", 1, "ann", halt)
    say(stack, "approve", 2, "bob", halt, "c1")
    stack.wait(
        "both commands in audit", lambda: sum(b'"c1"' in r.value or b'"c2"' in r.value for r in stack.read(AUDIT)) >= 2
    )
    assert audit.verify(record.value for record in stack.read(AUDIT)) is None
