"""Routers at work: order flow at a fixed rate, open loop, from a process of its own.

    python -m benchmarks.lab.background BOOTSTRAP PREFIX RATE SECONDS SERVERS FOLDER

Made beforehand; stamped, and sent, at the moments that the rate intends, whatever happened to those before. Writes
``ready`` into FOLDER, begins when ``go`` is there, ends at ``stop`` or after SECONDS, and then writes ``done`` with
``{"events", "behind_ms_max"}``.
"""

import json
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.lab import flow
from benchmarks.lab.result import BenchmarkError
from benchmarks.lab.watch import Watched
from producers.publish import Publisher
from schemas.units import MS_NS, S_NS

STEP_S: Final = 0.001
SEED: Final = 11
_NATIVE_PER_S: Final = 40.0
"""Events a second of one calm server, about: what the intensity is reckoned from."""


def main(arguments: list[str]) -> None:
    """Run it."""
    bootstrap, prefix, rate, seconds, servers, folder = arguments
    per_s, at = float(rate), Path(folder)
    intensity = max(0.1, per_s / (_NATIVE_PER_S * int(servers)))
    events = flow.calm(round(per_s * float(seconds)), SEED, int(servers), intensity)
    with Publisher(bootstrap, prefix=prefix) as publisher:
        (at / "ready").touch()
        while not (at / "go").exists():
            time.sleep(0.01)
        began = time.monotonic_ns()
        events["ts"] = time.time_ns() + (np.arange(len(events)) * (S_NS / per_s)).astype(np.int64)
        sent, behind = 0, 0
        while sent < len(events) and not (at / "stop").exists():
            now = time.monotonic_ns()
            due = min(len(events), int((now - began) * per_s / S_NS) + 1)
            if due > sent:
                behind = max(behind, now - began - round(sent * S_NS / per_s))
                publisher.publish(events[sent:due])
                sent = due
            time.sleep(STEP_S)
        publisher.flush()
    (at / "done").write_text(json.dumps({"events": sent, "behind_ms_max": round(behind / MS_NS, 1)}))


class Background:
    """The process, held by the benchmark."""

    def __init__(
        self, bootstrap: str, prefix: str, rate: float, seconds: float, folder: Path, servers: int = 32
    ) -> None:
        self._folder = folder / f"background-{rate:g}"
        self._folder.mkdir()
        self._seconds = seconds
        module = [sys.executable, "-m", "benchmarks.lab.background", bootstrap, prefix]
        command = [*module, str(rate), str(seconds), str(servers), str(self._folder)]
        self._child = Watched(command, self._folder / "log")

    def start(self) -> None:
        """Wait until it has its flow, and let it begin."""
        end = time.monotonic() + 30 + self._seconds
        while not (self._folder / "ready").exists():
            if self._child.exit_code is not None or time.monotonic() > end:
                raise BenchmarkError(f"the background flow did not begin. It said:\n{self._child.tail()}")
            time.sleep(0.05)
        (self._folder / "go").touch()

    def stop(self) -> dict[str, float]:
        """End it; what it says of itself. BenchmarkError when it ended too soon or kept nowhere near its rate."""
        ran_out = (self._folder / "done").exists()
        (self._folder / "stop").touch()
        self._child.wait(20)
        done = self._folder / "done"
        if not done.exists():
            raise BenchmarkError(f"the background flow failed. It said:\n{self._child.tail()}")
        found: dict[str, float] = json.loads(done.read_text())
        if ran_out:
            raise BenchmarkError(f"the background flow ran out after {self._seconds:g} s, before the last incident")
        return found

    def close(self) -> None:
        """Make sure that it is gone."""
        self._child.close()


if __name__ == "__main__":
    main(sys.argv[1:])
