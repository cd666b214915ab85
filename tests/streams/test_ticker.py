"""Ticks come on time, and a late one is left out."""

import asyncio

import pytest

from schemas.records import Tick, decode_verdict
from schemas.topics import VERDICTS, Topic
from streams.ticker import Ticker


class Box:
    """Keeps ticks; the third is confirmed late."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []

    async def send(self, topic: Topic, key: str, value: bytes) -> asyncio.Future[None]:
        assert (topic, key) == (VERDICTS, "")
        tick = decode_verdict(value)
        assert isinstance(tick, Tick)
        self.ticks.append(tick)
        return asyncio.ensure_future(asyncio.sleep(0.35 if len(self.ticks) == 3 else 0))


def test_ticks() -> None:
    async def run() -> tuple[list[Tick], list[float]]:
        box, slept = Box(), []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(box.ticks) == 6:
                raise asyncio.CancelledError
            await asyncio.sleep(seconds)

        ticker = Ticker(box, 4, 100, clock_ns=lambda: 7, sleep=sleep)  # type: ignore[arg-type]
        with pytest.raises(asyncio.CancelledError):
            await ticker.run()
        return box.ticks, slept

    ticks, slept = asyncio.run(run())
    assert [(t.seq, t.ts, t.generation) for t in ticks] == [(i, 7, 4) for i in range(6)]
    assert all(0.0 <= seconds <= 0.1 for seconds in slept)
    assert slept[2] == 0.0, "the ticks that should have come meanwhile are not made up for"
    assert slept[4] > 0.05
