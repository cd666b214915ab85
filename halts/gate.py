"""The piece that goes into the trading stack: may this order be sent?

    gate = HaltGate("broker:9092", server="R3", cancel_all=router.cancel_all, working=router.working)
    with gate:
        gate.wait_open(10)
        if gate.may_send(symbol="ABC", strategy="vwap", account="A1"):
            venue.send(order)

One background thread follows ``halts`` and swaps an immutable view; ``may_send`` reads it without a lock, from any
thread or event loop. Everything that is not known to be fine reads as closed (``halts.gate_state`` has the rules). A
cancel always passes. There is no way to open the gate from inside the process.
"""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct

from halts.gate_acks import Sweeps, Working, as_working
from halts.gate_clock import Leaps, boot_ns
from halts.gate_io import Link, Outbox, Raw, partition_of
from halts.gate_state import NOT_STARTED, OPEN, Decision, GateState, Refusal, View, severity
from halts.gate_trust import Trust
from schemas.records import Ack, Gate, HaltRecord
from schemas.scopes import CANARY
from schemas.units import MS_NS

__all__ = ["CancelAll", "Decision", "GateSnapshot", "HaltGate", "ScopeSnapshot", "Trust", "WorkingOrders"]

log = logging.getLogger(__name__)

CancelAll = Callable[[HaltRecord], Iterable[str] | int | None]
"""Cancel every working order in the record's scope on this server that has no cancel pending. Returns the cl_ord_ids it
asked the venue to cancel, or how many, or None. Runs on the gate's thread: hand over and return."""
WorkingOrders = Callable[[HaltRecord], Iterable[str] | int]
"""Orders in the scope on this server not known to be gone, also those on their way: cl_ord_ids, or how many."""

POLL_MS: Final = 100
POLL_SWEEP_MS: Final = 5
PROBE_NS: Final = 500 * MS_NS
LEAP_NS: Final = 500 * MS_NS
"""How far UTC and monotonic clock may move apart between two looks (100 ms) before nothing heard so far counts."""
BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
JOIN_S: Final = 10.0


class ScopeSnapshot(Struct, frozen=True):
    """A scope that is not free, for people. ``working``: orders still to go before this gate confirms (-1: settled)."""

    scope: str
    state: str
    action: str
    halt_id: str
    epoch: int
    text: str
    working: int = -1


class GateSnapshot(Struct, frozen=True):
    """What the gate believes now. ``heartbeat_age_ms`` is -1 before the first heartbeat."""

    server: str
    open: bool
    reason: str
    gate: Gate
    caught_up: bool
    next_offset: int
    generation: int
    heartbeat_age_ms: float
    heartbeat_ts: int
    scopes: tuple[ScopeSnapshot, ...]
    undecodable: dict[str, str]
    acks_pending: int
    counters: dict[str, int]
    unwatched: bool = False
    """The desk lives, but no worker reads this router's orders."""


class HaltGate:
    """Gate of the router ``server``.

    fail_closed_after_ms: silence of the desk after which nothing is sent. clock_skew_ms_max: how far this host's UTC
    clock may be from the desk's. hook_ms_max: how long a hook may keep the gate from listening before the gate closes
    meanwhile. on_change: called on the gate's thread with a snapshot when what it lets through changes. trust: keys
    that must have signed what stands on ``halts``; without, whoever can write there is believed. kafka: further options
    for kafka-python's clients (``halts.gate_security``). ValueError for a server name or time out of range.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        server: str,
        cancel_all: CancelAll,
        working: WorkingOrders,
        prefix: str = "",
        fail_closed_after_ms: int = 2_000,
        clock_skew_ms_max: int = 500,
        hook_ms_max: int = 250,
        on_change: Callable[[GateSnapshot], None] | None = None,
        trust: Trust | None = None,
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        self.server = server
        self._bootstrap, self._prefix, self._kafka = bootstrap, prefix, dict(kafka or {})
        self._cancel_all, self._working, self._on_change = cancel_all, working, on_change
        self._hook_ns = hook_ms_max * MS_NS
        self._state = GateState(
            server,
            fail_closed_after_ns=fail_closed_after_ms * MS_NS,
            clock_skew_ns_max=clock_skew_ms_max * MS_NS,
            trust=trust,
            partition=partial(partition_of, server),
        )
        self._sweeps, self._outbox = Sweeps(server), Outbox()
        self._leaps = Leaps(LEAP_NS)
        self._view = View(0, NOT_STARTED)
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._caught_up_once = False
        self._told: object = None

    # --- asked by the router, any thread --------------------------------------------------------------------------

    def may_send(self, *, symbol: str = "", strategy: str = "", account: str = "", reducing: bool = False) -> Decision:
        """May a new order or a replace go out? From memory, lock-free, about 0.2 us; never raises for text arguments.

        reducing: the order can only bring the position nearer to zero. What is not named is taken to be whatever is
        halted: an order without its symbol does not pass while any symbol is.
        """
        view, now = self._view, boot_ns()
        if now >= view.deadline_ns:
            return view.expired
        if view.clear:
            return OPEN
        return view.decide(symbol, strategy, account, reducing, now)

    def may_cancel(self) -> bool:
        """Always: no halt, silence or fault stops a cancel."""
        return True

    @property
    def is_open(self) -> bool:
        """Caught up, heartbeat fresh, and neither the firm nor this server restricted."""
        view = self._view
        return boot_ns() < view.deadline_ns and not view.everywhere

    def wait_open(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for ``is_open``; returns it."""
        end = time.monotonic() + timeout
        with self._changed:
            while not self.is_open and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.1))
        return self.is_open

    def node_gate(self) -> Gate:
        """What this node publishes about its gate on ``nodes``."""
        return self._state.gate(boot_ns() < self._view.deadline_ns)

    def state(self) -> GateSnapshot:
        """Everything a person wants to know of this gate."""
        state, view, now = self._state, self._view, boot_ns()
        expired, pending = now >= view.deadline_ns, self._sweeps.pending
        first = view.expired if expired else view.everywhere[0].decision if view.everywhere else OPEN
        return GateSnapshot(
            server=self.server,
            open=self.is_open,
            reason=first.reason,
            gate=self.node_gate(),
            caught_up=state.caught_up,
            next_offset=state.next_offset or 0,
            generation=state.generation,
            heartbeat_age_ms=(now - state.beat_mono_ns) / MS_NS if state.beat else -1.0,
            heartbeat_ts=state.beat.ts if state.beat else 0,
            scopes=tuple(
                ScopeSnapshot(r.scope, r.state, r.action, r.halt_id, r.epoch, r.text, pending.get(r.scope, -1))
                for r in tuple(state.records.values())
                if severity(r) > 0
            ),
            undecodable=dict(state.undecodable),
            acks_pending=len(self._outbox),
            unwatched=state.unwatched >= 0,
            counters={
                **dataclasses.asdict(state.counters),
                "acks_sent": self._outbox.sent,
                "ack_failures": self._outbox.failures,
            },
        )

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the thread; the gate opens when it has caught up and the desk is heard. RuntimeError if done before."""
        if self._thread is not None:
            raise RuntimeError(f"the gate of {self.server} was started before; make a new HaltGate")
        self._swap()
        self._thread = threading.Thread(target=self._run, name=f"halt-gate-{self.server}", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop; the gate is closed from here on."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)
        self._show(View(0, Decision(False, reason="the gate was shut down by its owner")))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stop.is_set():
                before = self._state.counters.connections
                try:
                    self._session()
                except Exception as e:  # whatever the client throws, the answer is: closed, and connect again
                    level = logging.INFO if failures else logging.WARNING
                    said = "gate of %s lost halts (%s: %s); closed until it is back"
                    log.log(level, said, self.server, type(e).__name__, e)
                    self._state.counters.connection_failures += 1
                failures = 0 if self._state.counters.connections > before else failures + 1
                self._outbox.unsent()
                self._work(None)
                self._notify()
                self._stop.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
        finally:
            self._show(View(0, Decision(False, reason="the gate's thread has ended")))

    def _session(self) -> None:
        link = Link(self._bootstrap, prefix=self._prefix, server=self.server, kafka=self._kafka)
        try:
            link.seek(self._state.connected(*link.bounds()))
            link.prime()
            self._state.counters.connections += 1
            self._caught_up_once = self._caught_up_once or self._state.caught_up
            self._swap()
            probe_ns = boot_ns() + PROBE_NS
            while not self._stop.is_set():
                self._take(link.poll(POLL_SWEEP_MS if self._sweeps.pending or len(self._outbox) else POLL_MS))
                self._work(link)
                now = boot_ns()
                leapt = self._leaps.moved(now, time.time_ns())
                self._state.counters.clock_leaps += leapt
                if now < self._state.deadline_ns and not leapt:
                    probe_ns = now + PROBE_NS
                elif now >= probe_ns or leapt:  # silence: is it the desk or the way to it? The barrier moves to the end
                    self._state.connected(*link.bounds())
                    probe_ns = boot_ns() + PROBE_NS
                    self._swap()
                self._notify()
        finally:
            self._state.lost()
            self._swap()
            link.close()

    def _take(self, records: list[Raw]) -> None:
        """Apply, show, and only then see what is owed: blocking comes before everything else."""
        if not records:
            return
        mono, utc = boot_ns(), time.time_ns()
        changes = [c for r in records if (c := self._state.apply(r.offset, r.key, r.value, mono, utc)) is not None]
        self._swap()
        for refusal in self._state.take_refusals():
            self._tell(refusal, utc)
        if not self._caught_up_once:
            if not self._state.caught_up:
                return
            self._caught_up_once = True
            changes = list(self._state.records.values())
        for record in changes:
            ack = self._sweeps.accept(record, boot_ns(), time.time_ns())
            if ack is not None:
                log.log(
                    logging.DEBUG if record.scope == CANARY else logging.WARNING,
                    "gate of %s: %s %s, epoch %d: %s",
                    self.server,
                    record.scope,
                    record.state,
                    record.epoch,
                    record.text,
                )
                self._outbox.put(ack)

    def _tell(self, refusal: Refusal, utc_ns: int) -> None:
        """A record did not count: somebody writes to ``halts`` who should not, or a desk goes wrong. People must know."""
        log.error("gate of %s refused a record on halts under %r: %s", self.server, refusal.scope, refusal.reason)
        self._outbox.put(
            Ack(
                server=self.server,
                ts=utc_ns,
                halt_id=refusal.halt_id,
                scope=refusal.scope,
                epoch=refusal.epoch,
                status="refused",
                reason=refusal.reason,
            )
        )

    def _work(self, link: Link | None) -> None:
        """Acks out, cancels, and what is still working. A hook that takes long finds the gate closed behind it."""
        if not self._sweeps.pending:
            if link is not None and len(self._outbox):
                self._outbox.pump(link, boot_ns())
            return
        cap = boot_ns() + self._hook_ns
        self._show(self._view.until(cap, "a hook of the router has kept the gate from listening too long"))
        if link is not None:
            self._outbox.pump(link, boot_ns())
        for ack in self._sweeps.step(boot_ns(), time.time_ns, self._ask_cancel, self._ask_working):
            self._outbox.put(ack)
        if link is not None:
            self._outbox.pump(link, boot_ns())
        self._swap()

    def _ask_cancel(self, record: HaltRecord) -> Working | None:
        return self._ask("cancel_all", self._cancel_all, record)

    def _ask_working(self, record: HaltRecord) -> Working | None:
        return self._ask("working", self._working, record)

    def _ask(self, name: str, hook: Callable[[HaltRecord], object], record: HaltRecord) -> Working | None:
        try:
            answer = hook(record)
            found = as_working(answer)
        except Exception:  # the router's fault must not reach the gate: it stays blocked, and unconfirmed
            log.exception("gate of %s: hook %s raised on %s", self.server, name, record.scope)
            self._state.counters.hook_failures += 1
            return None
        if found is None and not (answer is None and name == "cancel_all"):
            log.error("gate of %s: hook %s answered %r; expected cl_ord_ids or how many", self.server, name, answer)
            self._state.counters.hook_failures += 1
        return found

    def _swap(self) -> None:
        self._show(self._state.view())

    def _show(self, view: View) -> None:
        with self._changed:
            if not (self._stop.is_set() and view.deadline_ns):  # once closed, no late thread opens it again
                self._view = view
            self._changed.notify_all()

    def _notify(self) -> None:
        if self._on_change is None:
            return
        view = self._view
        told = (boot_ns() < view.deadline_ns, view.everywhere, view.symbols, view.strategies, view.accounts)
        if told != self._told:
            self._told = told
            try:
                self._on_change(self.state())
            except Exception:  # an observer must not stop the gate
                log.exception("gate of %s: on_change raised", self.server)
