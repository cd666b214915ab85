"""A router that goes wrong: children beyond a parent that is full, one a millisecond, until its gate closes."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from numpy.typing import NDArray

from benchmarks.lab.result import BenchmarkError
from halts.gate import GateSnapshot, HaltGate
from producers.publish import Publisher
from schemas.events import Kind, Phase, Side, empty_events
from schemas.units import MS_NS, PRICE9

BAD_EVERY_NS: Final = MS_NS
"""Knight's stale router sent 1.5 a millisecond."""
GIVE_UP_S: Final = 10.0
OPEN_S_MAX: Final = 30.0
_BID: Final = 10 * PRICE9


def event(server: str, seq: int, kind: Kind, ts: int, **fields: Any) -> NDArray[Any]:
    """One event of ``server`` in ACME."""
    made = empty_events(1)
    made["server"], made["seq"], made["kind"], made["ts"] = server.encode(), seq, kind, ts
    made["symbol"], made["side"], made["strategy"], made["account"], made["venue"] = (
        b"ACME",
        Side.B,
        b"vwap",
        b"A1",
        b"X",
    )
    made["bid"], made["ask"], made["phase"] = _BID, _BID + PRICE9 // 100, Phase.cont
    made["parent_id"] = f"P-{server}".encode()
    for name, value in fields.items():
        made[name] = value.encode() if isinstance(value, str) else value
    return made


@dataclass
class Incident:
    """One router with a real gate. ``closed_ns``: UTC when the gate's own thread said that it had closed."""

    server: str
    bootstrap: str
    prefix: str
    closed_ns: int = 0
    intended_ns: int = 0
    bad_sent: int = 0
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate = HaltGate(
            self.bootstrap, server=self.server, prefix=self.prefix, cancel_all=lambda _: 0, working=lambda _: 0,
            on_change=self._changed,
        )  # fmt: skip

    def _changed(self, seen: GateSnapshot) -> None:
        """Closed by a halt of this router: not by a desk that was not heard."""
        if (
            not self.closed_ns
            and not seen.open
            and any(scope.scope == f"server:{self.server}" for scope in seen.scopes)
        ):
            self.closed_ns = time.time_ns()
            self._closed.set()

    def healthy(self, publisher: Publisher) -> None:
        """A parent of 100 shares, one child for all of it, filled."""
        ts, child = time.time_ns(), f"O-{self.server}-0"
        steps = (
            event(self.server, 1, Kind.parent, ts, qty=100),
            event(self.server, 2, Kind.order, ts, cl_ord_id=child, qty=100, px=_BID),
            event(self.server, 3, Kind.ack, ts, cl_ord_id=child),
            event(self.server, 4, Kind.fill, ts, cl_ord_id=child, exec_id=f"E-{self.server}", qty=100, px=_BID),
        )
        for step in steps:
            publisher.publish(step)

    def run(self, publisher: Publisher) -> float | None:
        """Send bad orders at their intended times until the gate has closed. Milliseconds from the intended time of the
        first to the gate being closed; None when it stayed open. BenchmarkError when it was closed before."""
        if not self.gate.wait_open(OPEN_S_MAX):
            raise BenchmarkError(
                f"the gate of {self.server} was closed before its incident: {self.gate.state().reason}"
            )
        self.intended_ns = time.time_ns() + 5 * MS_NS
        end = self.intended_ns + int(GIVE_UP_S * 1e9)
        due = self.intended_ns
        while not self._closed.is_set() and due < end:
            left = (due - time.time_ns()) / 1e9
            if left > 0 and self._closed.wait(left):
                break
            if self.gate.may_send(symbol="ACME", strategy="vwap", account="A1").allowed:
                self.bad_sent += 1
                child = f"O-{self.server}-{self.bad_sent}"
                publisher.publish(
                    event(self.server, 4 + self.bad_sent, Kind.order, due, cl_ord_id=child, qty=100, px=_BID)
                )
            due += BAD_EVERY_NS
        return (self.closed_ns - self.intended_ns) / MS_NS if self._closed.is_set() else None

    def settle(self, timeout_s: float = 10.0) -> None:
        """Keep the gate until the desk has its acks: one that falls silent makes the desk halt the firm."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            mine = [scope.state for scope in self.gate.state().scopes if scope.scope == f"server:{self.server}"]
            if mine == ["HALTED"]:
                return
            time.sleep(0.01)
