"""A service's thread that nobody waits for in vain."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiokafka.errors import ConsumerStoppedError, KafkaError
from mode.utils.futures import maybe_set_exception


class ThreadEnded(KafkaError, ConsumerStoppedError):  # type: ignore[misc]
    """Something was asked of a consumer whose thread has ended."""

    def __init__(self) -> None:
        super().__init__("the consumer's thread has ended")


class Answering:
    """Mixed into a ``mode.threads.QueueServiceThread``: a call that the thread can no longer answer fails at once.

    In mode a call that comes between the thread's last look at its queue and its end is never answered, and whoever made
    it waits for ever. A worker that crashes runs into that: its consumer's thread ends by itself while the worker, on its
    way out, asks it to commit. Such a process never ended, held no partition and was not started anew.
    """

    parent_loop: Any
    method_queue: Any
    set_shutdown: Callable[[], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._asked: set[asyncio.Future[Any]] = set()
        self._over = False
        super().__init__(*args, **kwargs)

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Run ``fun`` in the thread and give back what it gives. ThreadEnded where the thread has ended, or ends first."""
        promise: asyncio.Future[Any] = self.parent_loop.create_future()
        self._asked.add(promise)  # before the look at _over, which is set before the thread's end looks here
        try:
            if self._over:
                raise ThreadEnded
            try:
                await self.method_queue.call(promise, fun, *args, **kwargs)
            except RuntimeError as error:  # the thread's loop is closed
                raise ThreadEnded from error
            return await promise
        finally:
            self._asked.discard(promise)

    def _start_thread(self) -> None:
        """What the thread does, and its last words."""
        try:
            super()._start_thread()  # type: ignore[misc]
        finally:
            self._over = True
            with suppress(RuntimeError):  # the parent's loop is closed: nobody waits any more
                self.set_shutdown()
                for promise in list(self._asked):
                    self.parent_loop.call_soon_threadsafe(maybe_set_exception, promise, ThreadEnded())
