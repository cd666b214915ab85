"""Time as data: the worker that runs the desk says what time it is, on the log that the desk reads."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from schemas.records import Tick, encode
from schemas.topics import VERDICTS
from streams.outbox import Outbox, confirmed


class Ticker:
    """Publishes a ``Tick`` every ``tick_ms``, each after the one before was confirmed. Those that are late are left
    out, not made up for: after an outage of the broker they would say old times, and let time pass in which no gate
    could answer. ``probe_due``: asked before each, whether it is to set the canary off."""

    def __init__(
        self,
        outbox: Outbox,
        generation: int,
        tick_ms: int,
        clock_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        probe_due: Callable[[], bool] = lambda: False,
    ) -> None:
        self._outbox = outbox
        self._generation = generation
        self._tick_ms = tick_ms
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._probe_due = probe_due

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        step = self._tick_ms / 1000
        seq, due = 0, loop.time()
        while True:
            tick = Tick(self._clock_ns(), seq, self._generation, probe=self._probe_due())
            await confirmed([await self._outbox.send(VERDICTS, "", encode(tick))])
            seq += 1
            now = loop.time()
            due = max(due + step, now)
            await self._sleep(due - now)
