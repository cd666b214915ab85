"""N routers in one process, each with a gate of its own, sending in real time."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from halts.gate import Decision, HaltGate
from producers.metrics import block_reason
from producers.publish import Publisher
from producers.scenarios import Scenario, Simulation
from schemas.events import Kind
from schemas.records import Gate, HaltRecord, NodeState
from schemas.units import MS_NS, S_NS

SLICE_NS: Final = 10 * MS_NS
"""Event time between two looks at the gate: what a closing gate can let slip is at most this."""
ANSWER_S: Final = 0.1
"""How long a gate's hook waits for the routers' loop to say what is still working."""
PREPARE_NS: Final = S_NS
"""How far ahead a live scenario begins: to make its world and to load its loops takes some tenths of a second."""
BEHIND_NS_MAX: Final = 2 * S_NS
"""Further behind the wall clock than this, the run lets the lost time go instead of catching up in a burst."""


def soon_ns() -> int:
    """When a scenario that is built now is to begin, to run by the clock (ns UTC)."""
    return time.time_ns() + PREPARE_NS


class LiveGates:
    """The routers' side of N ``HaltGate``s: asks them before each order, and cancels when they say so."""

    always_open = False

    def __init__(
        self,
        bootstrap: str,
        servers: tuple[str, ...],
        *,
        prefix: str = "",
        deaf: frozenset[str] = frozenset(),
        kafka: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """deaf: servers that ignore their gate (the fault of ``flow-after-halt``). options: of every HaltGate."""
        self._changed = threading.Condition()
        self._requests: list[tuple[str, str]] = []
        self._left: dict[tuple[str, str], list[str]] = {}
        self._refusals: dict[str, Decision] = {}
        self._deaf = deaf
        self.gates = {
            server: HaltGate(
                bootstrap, server=server, prefix=prefix, kafka=kafka, cancel_all=self._asker(server),
                working=self._counter(server), **options,
            )
            for server in servers
        }  # fmt: skip

    def _asker(self, server: str) -> Callable[[HaltRecord], int | None]:
        def cancel_all(record: HaltRecord) -> int | None:
            key = (server, record.scope)
            with self._changed:
                self._left.pop(key, None)
                self._requests.append(key)
                self._changed.wait_for(lambda: key in self._left, ANSWER_S)
                return len(self._left[key]) if key in self._left else None

        return cancel_all

    def _counter(self, server: str) -> Callable[[HaltRecord], list[str] | int]:
        def working(record: HaltRecord) -> list[str] | int:
            with self._changed:
                # the loop has not answered yet: something may be out there
                return self._left.get((server, record.scope), 1)

        return working

    def may_send(self, server: str, symbol: str, strategy: str, account: str, reducing: bool) -> bool:
        """The gate of ``server`` decides."""
        if server in self._deaf:
            return True
        gate = self.gates[server]
        decision = gate.may_send(symbol=symbol, strategy=strategy, account=account, reducing=reducing)
        if not decision.allowed:
            self._refusals[server] = decision
        return decision.allowed

    def block_reason(self, server: str) -> str:
        """Why the gate of ``server`` last refused: one of ``producers.metrics.BLOCK_REASONS``."""
        return block_reason(self._refusals[server], self.gates[server])

    def cancel_requests(self) -> list[tuple[str, str]]:
        """What the gates asked to cancel since the last look; (server, scope)."""
        with self._changed:
            requests, self._requests = self._requests, []
        return [r for r in requests if r[0] not in self._deaf]

    def working(self, counts: dict[tuple[str, str], list[str]]) -> None:
        """Told by the simulation after each slice."""
        with self._changed:
            self._left.update(counts)
            self._changed.notify_all()

    def node_gate(self, server: str) -> Gate:
        """For the node's heartbeat."""
        return self.gates[server].node_gate()

    def __enter__(self) -> Self:
        for gate in self.gates.values():
            gate.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for gate in self.gates.values():
            gate.close()


@dataclass
class LiveStats:
    """What the view shows; written by the run's thread, read by any. Counters since the start."""

    servers: tuple[str, ...]
    events: int = 0
    orders: dict[str, int] = field(default_factory=dict)
    fills: dict[str, int] = field(default_factory=dict)
    blocked: dict[str, int] = field(default_factory=dict)
    blocked_by: dict[tuple[str, str], int] = field(default_factory=dict)
    """By server and reason (``producers.metrics.BLOCK_REASONS``)."""
    working: dict[str, int] = field(default_factory=dict)
    """Orders working, looked at every half second."""
    published: dict[str, int] = field(default_factory=dict)
    """Events handed to the publisher."""
    last_order_ns: dict[str, int] = field(default_factory=dict)
    """Event time of the last order or replace that went out, by server."""
    loss_usd: float = 0.0
    bad_orders: int = 0
    orders_blocked: int = 0
    first_bad_ns: int = 0
    now_ns: int = 0
    behind_ms: float = 0.0


class LiveRun:
    """Runs a scenario against the clock: event time passes ``speed`` times as fast as wall time."""

    def __init__(
        self, scenario: Scenario, publisher: Publisher, gates: LiveGates | None = None, speed: float = 1.0
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed}; expected more than 0")
        self.scenario = scenario
        self.simulation: Simulation = scenario.simulate()
        self.stats = LiveStats(scenario.servers)
        self._publisher, self._gates, self._speed = publisher, gates, speed
        self._stop = threading.Event()

    def stop(self) -> None:
        """End the run after the present slice (from any thread)."""
        self._stop.set()

    def run(self) -> LiveStats:
        """Send everything; returns when the scenario is over or ``stop`` was called. A scenario that begins now, or is to
        begin soon, has the clock's time; any other begins at once."""
        begin_wall, begin = time.monotonic_ns(), self.scenario.start_ns
        lead = begin - time.time_ns()
        if abs(lead) <= BEHIND_NS_MAX:
            begin_wall += lead
        for chunk in self.simulation.run(self._gates, SLICE_NS):
            due = begin_wall + round((chunk.end_ns - begin) / self._speed)
            ahead = due - time.monotonic_ns()
            if ahead > 0:
                self._stop.wait(ahead / S_NS)
            elif -ahead > BEHIND_NS_MAX:
                begin_wall -= ahead
            if self._stop.is_set():
                break
            self._publisher.publish(chunk.events)
            for record in chunk.control:
                self._publisher.control(self._with_gate(record) if isinstance(record, NodeState) else record)
            self._note(chunk.events, chunk.end_ns, max(0, -ahead))
        return self.stats

    def _with_gate(self, node: NodeState) -> NodeState:
        if self._gates is None:
            return node
        return NodeState(
            node.server, node.ts, node.build, node.config, node.flags, self._gates.node_gate(node.server), node.seq
        )

    def _note_blocked(self, server: str, blocked: int) -> None:
        """What was refused since the last slice, under the reason that the gate last gave."""
        stats = self.stats
        more = blocked - stats.blocked.get(server, 0)
        stats.blocked[server] = blocked
        if more and self._gates is not None:
            key = (server, self._gates.block_reason(server))
            stats.blocked_by[key] = stats.blocked_by.get(key, 0) + more

    def _note(self, events: Any, now_ns: int, behind_ns: int) -> None:
        stats, simulation = self.stats, self.simulation
        kind = events["kind"]
        asks = (kind == Kind.order) | (kind == Kind.replace)
        for i, server in enumerate(stats.servers):
            mine = events["server"] == server.encode()
            orders = np.flatnonzero(mine & asks)
            stats.orders[server] = stats.orders.get(server, 0) + len(orders)
            stats.fills[server] = stats.fills.get(server, 0) + int((mine & (kind == Kind.fill)).sum())
            stats.published[server] = stats.published.get(server, 0) + int(mine.sum())
            stats.working[server] = int(simulation.working_by_server[i])
            self._note_blocked(server, int(simulation.blocked_by_server[i]))
            if len(orders):
                stats.last_order_ns[server] = int(events["ts"][orders[-1]])
        stats.events += len(events)
        stats.loss_usd, stats.bad_orders = simulation.loss_usd, simulation.bad_orders
        stats.orders_blocked = simulation.orders_blocked
        stats.first_bad_ns = simulation.first_bad.ts if simulation.first_bad else 0
        stats.now_ns, stats.behind_ms = now_ns, behind_ns / MS_NS
