"""A snapshot is safe to commit only when it and everything sent before it is durable."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from streams.keeper import SHARE_MAX, Keeper
from streams.snapshot_form import Snapshot
from streams.snapshots import Stored

TP = ("t", 0)


class Writer:
    """Stores when told to."""

    def __init__(self, size: int = 10) -> None:
        self.go = asyncio.Event()
        self.stored: list[Snapshot] = []
        self.size = size
        self.fails = False

    async def store(self, snapshot: Snapshot) -> Stored:
        await self.go.wait()
        if self.fails:
            raise OSError("broker is gone")
        self.stored.append(snapshot)
        return Stored(77, self.size)


class World:
    def __init__(self, size: int = 10) -> None:
        self.now = 100.0
        self.safe: list[tuple[Mapping[tuple[str, int], int], str]] = []
        self.writer = Writer(size)
        self.keeper = Keeper(
            self.writer, lambda at, note: self.safe.append((dict(at), note)), interval_s=1.0, clock=lambda: self.now  # type: ignore[arg-type]
        )  # fmt: skip

    def take(self, at: int, cost_s: float = 0.0) -> Any:
        def state() -> Snapshot:
            self.now += cost_s
            return Snapshot("e", {TP: at}, b"s")

        return state


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_order_of_things() -> None:
    async def run() -> None:
        world = World()
        sent = asyncio.get_running_loop().create_future()
        assert not world.keeper.due({TP: 5}), "not before the interval is over"
        world.now += 1
        assert world.keeper.due({TP: 5})
        world.keeper.begin(world.take(5), [sent])
        world.writer.go.set()
        await turns()
        assert world.writer.stored == [], "what was sent before is not confirmed"
        assert not world.keeper.due({TP: 9}), "one at a time"
        sent.set_result(None)
        await turns()
        assert world.safe == [({TP: 5}, "77")]
        world.now += 5
        assert not world.keeper.due({TP: 5}), "nothing new to store"
        assert world.keeper.due({TP: 6})

    asyncio.run(run())


def test_dear_and_large_snapshots_are_rare() -> None:
    async def run(size: int, cost_s: float) -> float:
        world = World(size)
        world.now += 1
        assert world.keeper.due({TP: 1})
        world.keeper.begin(world.take(1, cost_s), [])
        world.writer.go.set()
        await turns()
        began = world.now
        while not world.keeper.due({TP: 2}):
            world.now += 0.1
        return world.now - began + cost_s

    assert asyncio.run(run(10, 0.0)) == pytest.approx(1.0, abs=0.11)
    assert asyncio.run(run(10, 0.1)) == pytest.approx(0.1 / SHARE_MAX, abs=0.11), "no more than its share of the loop"
    assert asyncio.run(run(20_000_000, 0.0)) == pytest.approx(10.0, abs=0.11), "20 MB at 2 MB/s"


@pytest.mark.parametrize("what", ["sent", "stored"])
def test_failures_come_out_and_nothing_is_safe(what: str) -> None:
    async def run() -> None:
        world = World()
        sent = asyncio.get_running_loop().create_future()
        if what == "sent":
            sent.set_exception(OSError("refused"))
        else:
            sent.set_result(None)
            world.writer.fails = True
        world.writer.go.set()
        world.now += 1
        world.keeper.begin(world.take(5), [sent])
        await turns()
        with pytest.raises(OSError, match=r"refused|gone"):
            world.keeper.due({TP: 6})
        assert world.safe == []

    asyncio.run(run())


def test_finish_waits_for_the_one_in_work_and_stores_the_last() -> None:
    async def run() -> None:
        world = World()
        world.now += 1
        world.keeper.begin(world.take(5), [])
        last = asyncio.create_task(world.keeper.finish(world.take(8), []))
        await turns()
        assert not last.done()
        world.writer.go.set()
        await last
        assert [at for at, _ in world.safe] == [{TP: 5}, {TP: 8}]
        await world.keeper.finish(world.take(8), [])
        assert len(world.safe) == 2, "the same state is not stored twice"

    asyncio.run(run())
