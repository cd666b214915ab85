"""The gate's own clock, and what it does when that clock cannot be relied on."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

boot_ns: Final[Callable[[], int]] = (
    partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns
)
"""Monotonic ns. Where the system has such a clock it also passes while the machine sleeps: a router that wakes after an
hour must not hold the last heartbeat for a fresh one, as CLOCK_MONOTONIC would have it."""


class Leaps:
    """Notices that the host's UTC and its monotonic clock have moved apart by more than ``allowed_ns`` between two looks:
    the machine was stopped (a paused or migrated virtual machine, in which no clock passes), or its UTC was set."""

    def __init__(self, allowed_ns: int) -> None:
        self._allowed_ns = allowed_ns
        self._apart_ns: int | None = None

    def moved(self, mono_ns: int, utc_ns: int) -> bool:
        """Did they since the last look?

        >>> leaps = Leaps(10)
        >>> leaps.moved(0, 1000), leaps.moved(50, 1055), leaps.moved(60, 9000), leaps.moved(70, 9010)
        (False, False, True, False)
        """
        apart, before = utc_ns - mono_ns, self._apart_ns
        self._apart_ns = apart
        return before is not None and abs(apart - before) > self._allowed_ns
