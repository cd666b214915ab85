"""The canary: every minute a probe goes the whole kill path, beside the desk and without touching any router.

The ticker's tick says that a probe is due; the desk drills the canary's scope; a real gate for that scope, in this
process, blocks, cancels and confirms over Kafka; the desk restores the scope. ``streams.kill_path`` measures it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from halts.gate import HaltGate
from halts.gate_trust import Trust
from schemas.scopes import CANARY_SERVER

FIRST_S: Final = 2.0
"""The first probe: as soon as its gate has had time to catch up, so that a path broken from the start is soon seen."""


class Canary:
    """The canary's gate and its clock. interval_ms: between two probes. kafka: further options of kafka-python.
    trust: whose records count, as for any gate."""

    def __init__(
        self,
        bootstrap: str,
        interval_ms: int,
        *,
        prefix: str = "",
        fail_closed_after_ms: int = 2_000,
        kafka: Mapping[str, Any] | None = None,
        trust: Trust | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s, self._clock = interval_ms / 1000, clock
        self._next_at = clock() + min(FIRST_S, self._interval_s)
        self._gate = HaltGate(
            bootstrap, server=CANARY_SERVER, cancel_all=lambda _: 0, working=lambda _: 0, prefix=prefix,
            fail_closed_after_ms=fail_closed_after_ms, kafka=kafka, trust=trust,
        )  # fmt: skip

    def start(self) -> None:
        """Start the gate's thread. Returns at once; without a broker it tries again and again."""
        self._gate.start()

    def due(self) -> bool:
        """Is a probe due? True once each interval, whether or not the last one came back."""
        now = self._clock()
        if now < self._next_at:
            return False
        self._next_at = now + self._interval_s
        return True

    def stop(self) -> None:
        """Stop the gate without waiting for it: the event loop has other things to do."""
        threading.Thread(target=self._gate.close, name="canary-close", daemon=True).start()
