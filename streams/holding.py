"""Waiting for what is being started for partitions that may be taken away meanwhile."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def unless_revoked(current: Callable[[], asyncio.Task[T] | None]) -> T | None:
    """The result of the task that ``current()`` gives; None when there is none, or when another one, or none, has taken
    its place by the time it is done. Raises what the task failed with; being cancelled oneself is passed on."""
    task = current()
    if task is None:
        return None
    try:
        found = await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            return None  # revoked before it was there
        raise
    return found if current() is task else None
