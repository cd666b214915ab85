"""Routers at work: order flow at a fixed rate, open loop, from a process of its own.

    python -m benchmarks.lab.background BOOTSTRAP PREFIX RATE SECONDS SERVERS FOLDER

As many events as SECONDS need are made beforehand, of a calm day at its own pace; stamped, and sent, at the moments that
the rate intends, whatever happened to those before: the day runs fast, but no price moves further in an event than it
did. When they are used up they are sent again with new ids and sequence numbers. Writes ``ready`` into FOLDER, begins
when ``go`` is there, ends at ``stop``, and then writes ``done`` with ``{"events", "behind_ms_max"}``.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.lab import flow
from benchmarks.lab.result import BenchmarkError
from benchmarks.lab.watch import Watched
from producers.ids import TAG_LEN, run_tag
from producers.publish import Publisher
from schemas.units import MS_NS, S_NS

STEP_S: Final = 0.001
READY_S: Final = 240.0
SEED: Final = 11
ID_FIELDS: Final = ("parent_id", "cl_ord_id", "orig_cl_ord_id", "exec_id")
TAG: Final = slice(3, 3 + TAG_LEN)
"""Where the run tag stands in an id of ``producers.ids``."""


def main(arguments: list[str]) -> None:
    """Run it."""
    bootstrap, prefix, rate, seconds, servers, folder = arguments
    per_s, at = float(rate), Path(folder)
    events = flow.calm(round(per_s * float(seconds)), SEED, int(servers))
    flow_again = Again(events)
    with Publisher(bootstrap, prefix=prefix) as publisher:
        (at / "ready").touch()
        while not (at / "go").exists():
            time.sleep(0.01)
        began, began_utc = time.monotonic_ns(), time.time_ns()
        sent, behind = 0, 0
        while not (at / "stop").exists():
            now = time.monotonic_ns()
            due = int((now - began) * per_s / S_NS) + 1
            if due > sent:
                behind = max(behind, now - began - round(sent * S_NS / per_s))
                part = flow_again.take(sent, due)
                part["ts"] = began_utc + (np.arange(sent, sent + len(part)) * (S_NS / per_s)).astype(np.int64)
                publisher.publish(part)
                sent += len(part)
            time.sleep(STEP_S)
        publisher.flush()
    (at / "done").write_text(json.dumps({"events": sent, "behind_ms_max": round(behind / MS_NS, 1)}))


class Again:
    """The same flow for ever: each time round under new ids (their run tag) and further sequence numbers."""

    def __init__(self, events: NDArray[Any]) -> None:
        self._events = events
        names, which = np.unique(events["server"], return_inverse=True)
        self._per_round = np.bincount(which, minlength=len(names)).astype(np.uint64)[which]

    def take(self, start: int, end: int) -> NDArray[Any]:
        """Events ``start`` to at most ``end`` (fewer where a round ends), copied."""
        round_, first = divmod(start, len(self._events))
        last = min(len(self._events), first + end - start)
        part: NDArray[Any] = self._events[first:last].copy()
        if round_:
            part["seq"] += self._per_round[first:last] * np.uint64(round_)
            for name in ID_FIELDS:
                texts = np.ascontiguousarray(part[name]).view(np.uint8).reshape(len(part), -1)
                texts[texts[:, 0] > 0, TAG] = np.frombuffer(run_tag(round_), np.uint8)
                part[name] = texts.reshape(-1).view(part[name].dtype)
        return part


class Background:
    """The process, held by the benchmark."""

    def __init__(
        self, bootstrap: str, prefix: str, rate: float, seconds: float, folder: Path, servers: int = 8
    ) -> None:
        self._folder = folder / f"background-{rate:g}"
        self._folder.mkdir()
        module = [sys.executable, "-m", "benchmarks.lab.background", bootstrap, prefix]
        command = [*module, str(rate), str(seconds), str(servers), str(self._folder)]
        self._child = Watched(command, self._folder / "log")

    def start(self) -> None:
        """Wait until it has its flow, and let it begin."""
        end = time.monotonic() + READY_S
        while not (self._folder / "ready").exists():
            if self._child.exit_code is not None or time.monotonic() > end:
                raise BenchmarkError(f"the background flow did not begin. It said:\n{self._child.tail()}")
            time.sleep(0.05)
        (self._folder / "go").touch()

    def stop(self) -> dict[str, float]:
        """End it; what it says of itself. BenchmarkError when it had ended before."""
        (self._folder / "stop").touch()
        self._child.wait(20)
        done = self._folder / "done"
        if not done.exists():
            raise BenchmarkError(f"the background flow failed. It said:\n{self._child.tail()}")
        found: dict[str, float] = json.loads(done.read_text())
        return found

    def close(self) -> None:
        """Make sure that it is gone."""
        self._child.close()


if __name__ == "__main__":
    main(sys.argv[1:])
