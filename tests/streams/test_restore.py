"""Where an engine takes up its work."""

import asyncio
from typing import Any

import pytest

from streams.batches import RecordBatch
from streams.restore import Log, Start, decide, following
from streams.snapshot_form import Snapshot
from tests.streams.test_batches import Rec

TP = ("t", 0)


def snapshot(at: int) -> Snapshot:
    return Snapshot("e", {TP: at}, b"state")


@pytest.mark.parametrize(
    ("found", "log", "position", "kept"),
    [
        (None, Log(0, 100, None), 0, False),
        (None, Log(40, 100, None), 40, False),
        (snapshot(70), Log(0, 100, 70), 70, True),
        (snapshot(90), Log(0, 100, 70), 90, True),
        (snapshot(60), Log(0, 100, 70), 60, True),
        (snapshot(20), Log(40, 100, 70), 20, True),
        (None, Log(0, 100, 70), 70, False),
        (snapshot(500), Log(0, 100, 500), 0, False),
        (None, Log(3, 100, 500), 3, False),
    ],
    ids=[
        "new", "new, old events deleted", "as committed", "stored, not yet committed", "a zombie stored an older one",
        "behind retention", "state lost", "topic made anew", "topic made anew, without state",
    ],
)  # fmt: skip
def test_decide(found: Snapshot | None, log: Log, position: int, kept: bool) -> None:
    assert decide("e", found, {TP: log}, 1) == Start({TP: position}, found if kept else None, 1)


def test_an_input_the_snapshot_does_not_know_begins_at_its_commit() -> None:
    start = decide("desk", snapshot(5), {TP: Log(0, 9, 5), ("acks", 0): Log(2, 9, 4), ("commands", 0): Log(1, 9, None)})
    assert start.positions == {TP: 5, ("acks", 0): 4, ("commands", 0): 1}


class FakeConsumer:
    """Knows where the log begins; remembers where it was told to go."""

    def __init__(self, earliest: int) -> None:
        self.earliest = earliest
        self.sought: dict[Any, int] = {}

    def assignment(self) -> set[tuple[str, int]]:
        return {TP, ("other", 0)}

    async def earliest_offsets(self, tp: tuple[str, int]) -> dict[tuple[str, int], int]:
        return {tp: self.earliest}

    async def seek_wait(self, where: dict[Any, int]) -> None:
        self.sought.update(where)


def follow(start: int, end: int, expected: int, earliest: int = 0) -> tuple[RecordBatch | None, dict[Any, int]]:
    consumer = FakeConsumer(earliest)
    batch = RecordBatch("t", 0, start, end, [Rec(offset) for offset in range(start, end)])
    return asyncio.run(following(consumer, batch, expected)), consumer.sought


def test_following() -> None:
    part, sought = follow(10, 20, 10)
    assert part is not None
    assert (part.start, sought) == (10, {})
    part, _ = follow(10, 20, 15)
    assert part is not None
    assert [record.offset for record in part.records] == [15, 16, 17, 18, 19]
    assert follow(10, 20, 20) == (None, {})


def test_what_was_not_delivered_is_read_again() -> None:
    assert follow(10, 20, 7) == (None, {TP: 7})
    assert follow(10, 20, 3, earliest=7) == (None, {TP: 7})


def test_what_the_broker_deleted_is_said_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    part, sought = follow(10, 20, 7, earliest=10)
    assert part is not None
    assert (part.start, sought) == (10, {})
    assert "offsets 7 to 10 were deleted" in caplog.text
