"""A worker says what it gets on with, and falls silent when the broker does."""

import asyncio
import doctest

from schemas.records import Watch, decode_verdict
from schemas.topics import VERDICTS, Topic
from streams import watching
from streams.watching import UNCONFIRMED_MAX, Watcher


class Box:
    """Keeps what is sent; confirms nothing until told to."""

    def __init__(self) -> None:
        self.sent: list[Watch] = []
        self.waiting: list[asyncio.Future[None]] = []

    async def send(self, topic: Topic, key: str, value: bytes) -> asyncio.Future[None]:
        assert (topic, key) == (VERDICTS, "")
        said = decode_verdict(value)
        assert isinstance(said, Watch)
        self.sent.append(said)
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    def unconfirmed(self) -> list[asyncio.Future[None]]:
        return self.waiting


def test_examples() -> None:
    assert doctest.testmod(watching).failed == 0


def test_says_what_moves_or_has_nothing_left() -> None:
    positions, ends, count = {1: 10, 2: 20}, {1: 50, 2: 20}, [8]

    async def run() -> list[Watch]:
        box = Box()
        watcher = Watcher(box, lambda: positions, lambda: ends, lambda: count[0], lambda: 7)  # type: ignore[arg-type]
        await watcher.tell()
        await watcher.tell()  # 1 stands still although it has something left
        positions[1] = 11
        await watcher.tell()
        ends.clear()  # nothing is known of the ends: only what moves counts
        positions[2] = 21
        await watcher.tell()
        positions.clear()
        await watcher.tell()
        count[0] = 0
        return box.sent

    sent = asyncio.run(run())
    assert [said.held for said in sent] == [(1, 2), (2,), (1, 2), (2,)]
    assert {(said.ts, said.partitions) for said in sent} == {(7, 8)}


def test_nothing_piles_up_before_a_broker_that_does_not_answer() -> None:
    async def run() -> tuple[int, int]:
        box = Box()
        watcher = Watcher(box, lambda: {0: 1}, dict, lambda: 1, lambda: 7)  # type: ignore[arg-type]
        for _ in range(3 * UNCONFIRMED_MAX):
            await watcher.tell()
        full = len(box.sent)
        box.waiting.clear()
        await watcher.tell()
        return full, len(box.sent)

    assert asyncio.run(run()) == (UNCONFIRMED_MAX, UNCONFIRMED_MAX + 1)


def test_says_nothing_before_the_broker_has_told_how_many_there_are() -> None:
    async def run() -> list[Watch]:
        box = Box()
        await Watcher(box, lambda: {0: 1}, dict, lambda: None).tell()  # type: ignore[arg-type]
        return box.sent

    assert asyncio.run(run()) == []
