"""The cut of normal rate at which a reopened scope may send again: so many orders a second past one gate."""

import threading

from schemas.units import S_NS


class Throttle:
    """Token bucket of ``per_s`` orders a second, one second's worth of them at most saved up, empty at first.

    Safe under threads: two orders never take one token. Time is the caller's, ns, monotonic.

    >>> throttle = Throttle(2.0)
    >>> throttle.take(0), throttle.take(500_000_000), throttle.take(600_000_000), throttle.take(1_000_000_000)
    (False, True, False, True)
    """

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._lock = threading.Lock()
        self._interval_ns = S_NS / per_s if per_s > 0 else float("inf")
        self._saved_ns_max = max(S_NS, self._interval_ns)
        self._empty_at_ns: float | None = None

    def take(self, now_ns: int) -> bool:
        """May one order pass at ``now_ns``? Taking is what lets it."""
        with self._lock:
            if self._empty_at_ns is None:
                self._empty_at_ns = now_ns
            base = max(self._empty_at_ns, now_ns - self._saved_ns_max)
            if now_ns - base < self._interval_ns:
                return False
            self._empty_at_ns = base + self._interval_ns
            return True
