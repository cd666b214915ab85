"""Sending in order, and knowing what the broker has confirmed."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from schemas.topics import Topic, topic_name

UNCONFIRMED_MAX: Final = 10_000
"""Records sent and not yet confirmed, beyond which ``send`` waits."""


class Outbox:
    """What one engine sends. Records of one topic and partition arrive in the order of the calls.

    A record the broker refuses for good raises in the next call of any method: the caller must not go on as if it had
    been sent.
    """

    def __init__(self, app: Any, prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix
        self._waiting: deque[asyncio.Future[Any]] = deque()

    async def send(self, topic: Topic, key: str | None, value: bytes | None, partition: int = 0) -> asyncio.Future[Any]:
        """Hand ``value`` to the producer (which sends at once). The future gives Kafka's record metadata."""
        self._prune()
        if len(self._waiting) >= UNCONFIRMED_MAX:
            await self._waiting[0]
        name = topic_name(topic, self._prefix)
        coded = None if key is None else key.encode()
        sent: asyncio.Future[Any] = await self._app.producer.send(name, coded, value, partition, None, None)
        self._waiting.append(sent)
        return sent

    def unconfirmed(self) -> Sequence[asyncio.Future[Any]]:
        """Futures of what was sent so far and is not yet confirmed."""
        self._prune()
        return tuple(self._waiting)

    async def drain(self) -> None:
        """Wait until all that was sent before this call is confirmed."""
        await confirmed(self.unconfirmed())

    def _prune(self) -> None:
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft().result()


async def confirmed(sent: Sequence[asyncio.Future[Any]]) -> None:
    """Wait for all of ``sent``; raises the first failure."""
    for future in sent:
        await asyncio.shield(future)
