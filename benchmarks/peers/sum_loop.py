"""What the Python peers share: reading two numbers of an event, summing by hand, and saying so at the end.

Imports nothing of this project and little else: it also runs in a peer's own virtual environment.
"""

import json
import os
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any


def number_reader(qty_at: int, ts_at: int) -> Callable[[bytes], tuple[int, int]]:
    """SBE value -> (qty, ts in ns), by their byte offsets."""
    one = struct.Struct("<q").unpack_from
    return lambda value: (one(value, qty_at)[0], one(value, ts_at)[0])


class Tally:
    """Counts ``events`` events and the clock from the first to the last; ``finish`` writes the document and ends."""

    def __init__(self, events: int, out: str) -> None:
        self.sums: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        self._left = self._events = events
        self._out = out
        self._began = self._began_cpu = 0.0

    def begin(self) -> None:
        """The first event is here."""
        self._began, self._began_cpu = time.perf_counter(), time.process_time()

    def one(self, count: int = 1) -> bool:
        """So many more are done; True when that was the last."""
        if self._left == self._events and not self._began:
            self.begin()
        self._left -= count
        return self._left <= 0

    def finish(self, **more: Any) -> None:
        """Write what was found and leave, without a goodbye that could hang."""
        took, cpu = time.perf_counter() - self._began, time.process_time() - self._began_cpu
        sums = {server: dict(windows) for server, windows in self.sums.items()}
        found = {"events": self._events - self._left, "seconds": took, "cpu_s": cpu, "sums": sums, **more}
        Path(self._out).write_text(json.dumps(found), encoding="utf-8")
        sys.stdout.flush()
        os._exit(0)
