"""How long the kill path takes, stage by stage, as the desk's worker sees it; and whether the canary came back.

Each stage is measured by one clock, so that clocks that differ distort nothing: ``halt_to_blocked`` by the worker's,
from the record to the gate's ack (so the way back is in it); ``blocked_to_confirmed`` by the gate's own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas import metrics as m
from schemas.records import Ack, HaltRecord
from schemas.scopes import CANARY
from schemas.units import S_NS
from streams.series import Series


@dataclass
class _Halt:
    """One halt under way: when it was ordered (s, worker's monotonic clock), and when each gate blocked (its ns)."""

    halt_id: str
    ordered_s: float
    blocked_ns: dict[str, int] = field(default_factory=dict)


class KillPath:
    """Follows halts and acks. Real halts and people's drills are in LATENCY, the canary in CANARY alone."""

    def __init__(
        self, series: Series, clock: Callable[[], float] = time.monotonic, utc: Callable[[], float] = time.time
    ) -> None:
        self._series, self._clock, self._utc = series, clock, utc
        self._halts: dict[str, _Halt] = {}
        self._probe_out = False

    def begin(self) -> None:
        """The desk is here: what is counted starts at 0."""
        for stage in m.LATENCY_STAGES:
            self._series(m.LATENCY, stage)
        self._series(m.CANARY)
        self._series(m.CANARY_FAILURES)

    def halt(self, record: HaltRecord) -> None:
        """A transition that the desk published just now."""
        if record.scope == CANARY:
            self._canary(record)
        elif record.state == "HALTING":
            self._halts[record.scope] = _Halt(record.halt_id, self._clock())
        elif record.state != "HALTED":
            self._halts.pop(record.scope, None)

    def ack(self, ack: Ack) -> None:
        """A gate's answer, just read."""
        halt = self._halts.get(ack.scope)
        if halt is None or halt.halt_id != ack.halt_id:
            return
        blocked_ns = halt.blocked_ns.get(ack.server)
        if ack.status == "blocked" and blocked_ns is None:
            halt.blocked_ns[ack.server] = ack.ts
            self._series(m.LATENCY, "halt_to_blocked").observe(self._clock() - halt.ordered_s)
        elif ack.status == "confirmed" and blocked_ns is not None:
            self._series(m.LATENCY, "blocked_to_confirmed").observe(max(0.0, (ack.ts - blocked_ns) / S_NS))

    def _canary(self, record: HaltRecord) -> None:
        if record.state == "HALTING":
            self._probe_out = True
        elif record.state == "HALTED" and self._probe_out:
            self._probe_out = False
            self._series(m.CANARY).observe(max(0.0, self._utc() - record.ts_event / S_NS))
            self._series(m.CANARY_TIME).set(self._utc())
        elif record.state == "ACTIVE" and self._probe_out:
            self._probe_out = False
            self._series(m.CANARY_FAILURES).inc()

    def gone(self) -> None:
        """The desk runs elsewhere."""
        self._halts.clear()
        self._probe_out = False
