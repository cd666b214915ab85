"""The audit chain: each of 1,000 random tamperings is found, in a log with a desk that took over and one that lagged."""

import random
from collections.abc import Callable

import msgspec
import pytest

from halts import audit
from halts.desk import Desk
from schemas.records import AuditRecord, Heartbeat, encode
from tests.halts.desk_world import World, breach

Log = list[bytes]


@pytest.fixture(scope="module")
def log() -> tuple[Log, audit.Chain]:
    """Audit of two desks, one after the other, and the head that the last heartbeat named."""
    world = World()
    world.halted()
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    world.tick(12_000)
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    lines = world.audit()
    after = World(generation=2)
    after.desk = Desk.restore(after.config, world.desk.snapshot(), 2)
    after.now, after.offsets = world.now, dict(world.offsets)
    tail = msgspec.json.decode(lines[-1], type=AuditRecord)
    after.out += after.desk.adopt([], tail)
    after.put(breach("R5", offset=70))
    for status in ("blocked", "confirmed"):
        after.ack(status, "R5", "server:R5")
    after.say("halt", "cat", "symbol:ABC")
    after.tick(600)
    beat = [o.record for o in after.out if isinstance(o.record, Heartbeat)][-1]
    return [*lines, *after.audit()], audit.Chain(beat.audit_n, beat.audit_head)


def flip(rng: random.Random, lines: Log) -> None:
    at = rng.randrange(len(lines))
    value = bytearray(lines[at])
    value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
    lines[at] = bytes(value)


def remove(rng: random.Random, lines: Log) -> None:
    at = rng.randrange(len(lines))
    del lines[at : at + rng.choice((1, 1, 1, 2, 5))]


def swap(rng: random.Random, lines: Log) -> None:
    a, b = sorted(rng.sample(range(len(lines)), 2))
    lines[a], lines[b] = lines[b], lines[a]


def rewrite(rng: random.Random, lines: Log) -> None:
    """Another content under the same number and ``prev``."""
    at = rng.randrange(len(lines))
    record = msgspec.json.decode(lines[at], type=AuditRecord)
    lines[at] = encode(msgspec.structs.replace(record, body={**record.body, "by": "nobody"}))


def generation(rng: random.Random, lines: Log) -> None:
    """Records of a lower generation are passed over: one that is raised must not hide those that follow."""
    at = rng.randrange(len(lines))
    record = msgspec.json.decode(lines[at], type=AuditRecord)
    lines[at] = encode(msgspec.structs.replace(record, generation=record.generation + rng.choice((-1, 1, 7))))


def fork(rng: random.Random, lines: Log) -> None:
    """The rest is written anew, with hashes that fit, by a desk that claims to be the next."""
    at = rng.randrange(1, len(lines))
    chain = audit.after(msgspec.json.decode(lines[at - 1], type=AuditRecord))
    forged: Log = []
    for line in lines[at:]:
        record = msgspec.json.decode(line, type=AuditRecord)
        chain, other = chain.append(record.kind, {**record.body, "by": "nobody"}, 9)
        forged.append(encode(other))
    lines[at:] = forged if rng.random() < 0.5 else [*forged, *lines[at:]]


def cut(rng: random.Random, lines: Log) -> None:
    del lines[-rng.randrange(1, 6) :]


TAMPERINGS: tuple[Callable[[random.Random, Log], None], ...] = (flip, remove, swap, rewrite, generation, fork, cut)


def test_an_untouched_log_is_intact(log: tuple[Log, audit.Chain]) -> None:
    lines, head = log
    assert len(lines) > 20
    assert audit.verify(lines, audit.Chain(), head) is None


def test_each_of_a_thousand_tamperings_is_found(log: tuple[Log, audit.Chain]) -> None:
    lines, head = log
    rng = random.Random(20120801)
    missed = []
    for i in range(1_000):
        changed, tamper = list(lines), TAMPERINGS[i % len(TAMPERINGS)]
        tamper(rng, changed)
        if changed != lines and audit.verify(changed, audit.Chain(), head) is None:
            missed.append((i, tamper.__name__))
    assert missed == []


def test_without_the_head_only_the_end_goes_unseen(log: tuple[Log, audit.Chain]) -> None:
    lines, head = log
    assert audit.verify(lines[:-1], audit.Chain()) is None
    assert "cut off" in str(audit.verify(lines[:-1], audit.Chain(), head))


def test_what_a_replaced_desk_wrote_is_passed_over_only_if_it_goes_on_from_here(log: tuple[Log, audit.Chain]) -> None:
    lines, head = log
    first = next(i for i, line in enumerate(lines) if b'"generation":2' in line)
    chain = audit.after(msgspec.json.decode(lines[first - 1], type=AuditRecord))
    chain, late = chain.append("ack", {"late": 1}, 1)
    _, later = chain.append("ack", {"late": 2}, 1)
    zombie = [encode(late), encode(later)]
    assert audit.verify([*lines[: first + 1], *zombie, *lines[first + 1 :]], audit.Chain(), head) is None
    assert audit.verify([*lines[: first + 1], zombie[1], *lines[first + 1 :]], audit.Chain(), head) is not None
