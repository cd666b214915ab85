"""What the kill storm looks at: gates every 5 ms, the topic ``halts`` from its beginning, workers that come back."""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from benchmarks.lab.cluster import appended
from benchmarks.lab.result import BenchmarkError
from halts.gate import HaltGate
from halts.state import CLOSED
from knightwatch.process import Child
from schemas.records import HaltRecord, Heartbeat, decode
from schemas.scopes import CANARY
from schemas.topics import HALTS, HEARTBEAT_KEY, topic_name

SAMPLE_S: Final = 0.005
HERE: Final = "The desk is here, generation "


@dataclass
class Watch:
    """Looks at every gate every 5 ms. A gate that once closed for a halt must never let an order pass again: nobody
    resumes anything here. ``reopened``: what did (server, scope, what the gate said)."""

    gates: dict[str, HaltGate] = field(default_factory=dict)
    halted: dict[str, str] = field(default_factory=dict)
    """Server -> the scope for whose halt its gate closed first."""
    reopened: list[tuple[str, str, str]] = field(default_factory=list)
    samples: int = 0
    samples_halted: int = 0
    """Looks at gates that were closed for a halt."""
    gap_ms_max: float = 0.0
    """Longest time between two looks: the machine was busy."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gate-watch", daemon=True)

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(SAMPLE_S):
            now = time.monotonic()
            self.gap_ms_max, last = max(self.gap_ms_max, (now - last) * 1000), now
            for server, gate in list(self.gates.items()):
                self.look(server, gate)

    def look(self, server: str, gate: HaltGate) -> None:
        """One look. Ask first, then whether it was closed: a halt that comes in between is not held against it."""
        before = self.halted.get(server)
        allowed = gate.may_send(symbol="ACME", strategy="vwap", account="A1").allowed
        self.samples += 1
        if before is None:
            if not allowed and (scope := closed_for(gate)):
                self.halted[server] = scope
            return
        self.samples_halted += 1
        if allowed:
            self.reopened.append((server, before, repr(gate.state())))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(5.0)


def closed_for(gate: HaltGate) -> str:
    """The halt of its own server or of the firm for which a gate is closed; empty if there is none."""
    wanted = (f"server:{gate.server}", "firm")
    found = [s.scope for s in gate.state().scopes if s.state in CLOSED and s.scope in wanted]
    return found[0] if found else ""


class Worker:
    """A ``knightwatch worker`` under a supervisor that starts it again at once. Each life has a log of its own."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, name: str, config: str) -> None:
        self.name, self.lives, self.ended = name, 0, 0
        file = folder / f"{name}.toml"
        file.write_text(config, encoding="utf-8")
        command = [sys.executable, "-m", "knightwatch", "worker", "--bootstrap", bootstrap, "--prefix", prefix]
        self._command = [*command, "--data", str(folder / name), "--config", str(file)]
        self._folder = folder
        self._start()

    def _start(self) -> None:
        self.lives += 1
        self._log = self._folder / f"{self.name}-{self.lives}.log"
        self._child = Child(self._command, self._log)

    def log(self) -> str:
        """Of its present life."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def generation(self) -> int:
        """Of the desk that it last said to have; 0 if none in this life."""
        after = self.log().rpartition(HERE)[2] if HERE in self.log() else "0"
        return int(after.split(",", 1)[0])

    def at_work(self) -> bool:
        """It has been given partitions in this life."""
        return "orderflow-" in self.log()

    def kill(self) -> None:
        """SIGKILL, and start anew."""
        self._child.kill()
        self._start()

    def supervise(self) -> None:
        """Start it anew when it has ended by itself (counted)."""
        if self._child.exit_code is not None:
            self.ended += 1
            self._start()

    def close(self) -> None:
        """SIGTERM, SIGKILL after 8 s."""
        self._child.stop(8.0)


@dataclass(frozen=True)
class Beats:
    """When heartbeats were appended, by Kafka's clock (ms UTC), in order."""

    at_ms: Sequence[int]

    def gap_s(self, since_ms: int, until_ms: int) -> float:
        """Longest silence in a window; what lasts at its end counts as far as the window goes.

        >>> Beats([0, 100, 900, 1000]).gap_s(50, 1000)
        0.8
        """
        marks = [since_ms, *(at for at in self.at_ms if since_ms < at <= until_ms), until_ms]
        return max(b - a for a, b in pairwise(marks)) / 1000


@dataclass(frozen=True)
class Stands:
    """``halts`` from its beginning. ``halts``: records in order, the canary's left out; ``at_ms``: when each was
    appended."""

    halts: Sequence[HaltRecord]
    at_ms: Sequence[int]
    beats: Beats

    def first_ms(self, scope: str, state: str) -> int | None:
        """When a state of a scope first stood there, ms UTC."""
        pairs = zip(self.halts, self.at_ms, strict=True)
        return next((at for r, at in pairs if (r.scope, r.state) == (scope, state)), None)

    def doubled(self) -> list[str]:
        """What stands twice: an epoch of a scope used again, or going back, or a second halt of one runaway."""
        found: list[str] = []
        for scope in sorted({r.scope for r in self.halts}):
            mine = [r for r in self.halts if r.scope == scope]
            found += [
                f"{scope}: epoch {b.epoch} ({b.state}) after {a.epoch} ({a.state})"
                for a, b in pairwise(mine)
                if b.epoch <= a.epoch
            ]
            ids = list(dict.fromkeys(r.halt_id for r in mine if r.state in CLOSED))
            found += [f"{scope}: halt {other} beside {ids[0]}" for other in ids[1:]]
        return found

    def opened(self) -> list[str]:
        """Transitions out of a halt: nobody ordered one."""
        return [
            f"{r.scope} {r.state} epoch {r.epoch} by {r.by or 'nobody'}"
            for i, r in enumerate(self.halts)
            if r.state not in CLOSED and any(b.scope == r.scope and b.state in CLOSED for b in self.halts[:i])
        ]

    def last(self) -> dict[str, str]:
        """Scope -> its last state."""
        return {r.scope: r.state for r in self.halts}


def read(bootstrap: str, prefix: str) -> Stands:
    """Everything on ``halts`` now. BenchmarkError for a record that does not decode."""
    halts: list[HaltRecord] = []
    at_ms: list[int] = []
    beats: list[int] = []
    for record in appended(bootstrap, topic_name(HALTS, prefix)):
        try:
            if record.key == HEARTBEAT_KEY.encode():
                decode(record.value, Heartbeat)
                beats.append(record.timestamp)
            elif record.value is not None and record.key != CANARY.encode():
                halts.append(decode(record.value, HaltRecord))
                at_ms.append(record.timestamp)
        except msgspec.DecodeError as error:
            raise BenchmarkError(f"halts, offset {record.offset}: {error}") from error
    return Stands(halts, at_ms, Beats(beats))


def said(workers: Mapping[str, Worker], lines: int = 30) -> str:
    """The ends of the workers' logs."""
    return "\n".join(f"--- {name}\n" + "\n".join(w.log().splitlines()[-lines:]) for name, w in workers.items())
