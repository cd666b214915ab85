"""What stands on the topics, folded for people: scopes, gates' answers, open requests, routers, the timeline. Pure.

``Story`` takes records one by one; ``picture`` gives an immutable answer that any number of viewers share.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from halts.coverage import unwatched_text
from halts.gate_state import GateState, severity
from halts.gate_trust import Trust
from halts.state import RANK, Request
from knightwatch.web.timeline import Entry, entry_of
from schemas.records import Ack, AuditRecord, FeatureRow, HaltRecord, Money, NodeState, decode, decode_verdict
from schemas.scopes import CANARY, CANARY_SERVER, FIRM, parse, scope
from schemas.units import MS_NS

HALTS_KEPT: Final = 512
"""Halts whose gates' answers are kept; the oldest goes first."""
ENTRIES_KEPT: Final = 400
ROUTERS_MAX: Final = 1_024
ROUTER_ALIVE_MS: Final = 3_000
"""A router whose heartbeat (1 s) is older is shown as silent."""


@dataclass(frozen=True, slots=True)
class GateLine:
    """How far one gate is with one halt. Times in ns UTC by the gate's clock, 0 if it has not come so far."""

    server: str
    status: str = ""
    blocked_ts: int = 0
    confirmed_ts: int = 0
    working: int = 0
    orders: tuple[str, ...] = ()
    distrusted: str = ""
    """Why its word no longer counts: ``no_ack`` or ``after_halt_flow``."""


@dataclass(frozen=True, slots=True)
class Router:
    """A router node as it last showed itself. heard_ns: local monotonic time."""

    server: str
    build: str
    gate: str
    heard_ns: int


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything about one scope. ``record`` None: it was never halted. ``live``: what the router is losing now."""

    name: str
    record: HaltRecord | None = None
    gates: tuple[GateLine, ...] = ()
    ordered_ts: int = 0
    """When the block was ordered (ns UTC): the record's own time moves on with each transition. 0: not known."""
    request: Request | None = None
    live: Money | None = None
    router: Router | None = None
    silent: bool = False

    @property
    def state(self) -> str:
        """The state on ``halts``; ACTIVE if nothing stands there."""
        return self.record.state if self.record else "ACTIVE"

    @property
    def since_ts(self) -> int:
        """Since when it is so (ns UTC): for a halt, since the block was ordered. 0: not known."""
        if self.record is None:
            return 0
        closed = self.record.state in ("HALTING", "HALTED")
        return (self.ordered_ts if closed else 0) or self.record.ts_decided

    @property
    def rank(self) -> tuple[int, bool, int]:
        """How urgent it is: what blocks most, the firm before others, the newest. Larger is more urgent."""
        if self.record is None:
            return 0, False, 0
        order = {"HALTING": 4, "HALTED": 3, "RESUMING": 2, "WARNED": 1, "ACTIVE": 0}
        return order[self.record.state], self.name == FIRM, self.record.ts_decided


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown, the same for every viewer. ``beat_age_ms``: None if no desk was ever heard. ``trouble``: why the
    gates, and this page, cannot trust what stands on ``halts``; empty if they can."""

    version: int
    scopes: dict[str, Scope]
    order: tuple[str, ...]
    entries: tuple[Entry, ...]
    connected: bool
    alive: bool
    beat_age_ms: float | None
    trouble: str

    @property
    def worst(self) -> str:
        """The most urgent scope that is not ACTIVE, shown when the viewer has chosen none; empty if all are."""
        first = self.order[0] if self.order else ""
        return first if first and self.scopes[first].state != "ACTIVE" else ""

    def count(self, *states: str) -> int:
        """Scopes in one of ``states``."""
        return sum(s.state in states for s in self.scopes.values())


@dataclass
class Story:
    """The fold. One thread writes it. fail_closed_after_ms, clock_skew_ms_max, trust: as the gates have them."""

    fail_closed_after_ms: int = 2_000
    clock_skew_ms_max: int = 500
    trust: Trust | None = None
    version: int = 0
    """Grows with each change that a viewer could see."""
    undecodable: int = 0
    state: GateState = field(init=False)
    _gates: OrderedDict[str, dict[str, GateLine]] = field(default_factory=OrderedDict)
    _ordered: dict[str, int] = field(default_factory=dict)
    _requests: dict[str, Request] = field(default_factory=dict)
    _routers: dict[str, Router] = field(default_factory=dict)
    _rows: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    _entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=ENTRIES_KEPT))
    _audited: tuple[int, int] = (-1, -1)

    def __post_init__(self) -> None:
        self.state = GateState(
            "-",
            fail_closed_after_ns=self.fail_closed_after_ms * MS_NS,
            clock_skew_ns_max=self.clock_skew_ms_max * MS_NS,
            trust=self.trust,
        )

    # --- records in -------------------------------------------------------------------------------------------------

    def halt(self, offset: int, key: bytes | None, value: bytes | None, mono_ns: int, utc_ns: int) -> None:
        """One record of ``halts``."""
        before = self.state.undecodable.keys()
        bad = len(before)
        record = self.state.apply(offset, key, value, mono_ns, utc_ns)
        if record is None:
            self.version += bad != len(self.state.undecodable)
            return
        if record.scope == CANARY:
            return
        if severity(record) < 3:
            self._requests.pop(record.scope, None)
        if record.state in ("HALTING", "HALTED"):
            kind, name = parse(record.scope)
            lines = self._lines(record.halt_id)
            if record.state == "HALTING":
                self._ordered.setdefault(record.halt_id, record.ts_decided)
            if kind == "server":
                lines.setdefault(name, GateLine(name))
        self.version += 1

    def ack(self, value: bytes | None) -> None:
        """One record of ``acks``: what a gate says. A later, weaker word does not undo a stronger one."""
        try:
            ack = decode(value or b"", Ack)
        except msgspec.DecodeError:
            self.undecodable += 1
            return
        if ack.status == "refused" or ack.server == CANARY_SERVER:
            return  # it answers no halt (the desk's audit tells it), or the probe of the kill path
        lines = self._lines(ack.halt_id)
        was = lines.get(ack.server, GateLine(ack.server))
        stronger = RANK[ack.status] >= RANK.get(was.status, 0)
        lines[ack.server] = GateLine(
            ack.server,
            ack.status if stronger else was.status,
            was.blocked_ts or ack.ts,
            was.confirmed_ts or (ack.ts if ack.status == "confirmed" else 0),
            ack.working if stronger else was.working,
            ack.orders if stronger else was.orders,
            was.distrusted,
        )
        self.version += 1

    def audit(self, value: bytes | None, stamp_ms: int) -> None:
        """One record of ``audit``. stamp_ms: when the broker took it."""
        try:
            record = decode(value or b"", AuditRecord)
        except msgspec.DecodeError:
            self.undecodable += 1
            return
        place = (record.generation, record.n)
        if record.kind == "inputs" or place <= self._audited:
            return
        self._audited = place
        self._note(record)
        entry = entry_of(record, stamp_ms)
        if entry is not None and entry.scope != CANARY:
            self._entries.appendleft(entry)
            self.version += 1

    def node(self, value: bytes | None, mono_ns: int) -> None:
        """One record of ``nodes``."""
        try:
            node = decode(value or b"", NodeState)
        except msgspec.DecodeError:
            self.undecodable += 1
            return
        was = self._routers.get(node.server)
        gate = node.gate.state if node.gate else ""
        if was is None and len(self._routers) >= ROUTERS_MAX:
            return
        self._routers[node.server] = Router(node.server, node.build, gate, mono_ns)
        if was is None or (was.build, was.gate) != (node.build, gate):
            self.version += 1

    def verdict(self, key: bytes | None, value: bytes | None, mono_ns: int) -> None:
        """One record of ``verdicts``: only the last feature row of each router is kept, and read when it is shown."""
        if key and value and b'"type":"row"' in value:
            server = key.decode(errors="replace")
            if server in self._rows or len(self._rows) < ROUTERS_MAX:
                self._rows[server] = (value, mono_ns)

    def _lines(self, halt_id: str) -> dict[str, GateLine]:
        if halt_id not in self._gates and len(self._gates) >= HALTS_KEPT:
            self._ordered.pop(self._gates.popitem(last=False)[0], None)
        return self._gates.setdefault(halt_id, {})

    def _note(self, record: AuditRecord) -> None:
        """What the desk knows and the other topics do not say: gates concerned, requests, gates not believed."""
        body = record.body
        match record.kind:
            case "transition":
                halt, gates = body.get("record"), body.get("gates")
                if isinstance(halt, dict) and isinstance(gates, dict) and gates:
                    lines = self._lines(str(halt.get("halt_id", "")))
                    if halt.get("state") == "HALTING" and isinstance(ts := halt.get("ts_decided"), int):
                        self._ordered.setdefault(str(halt.get("halt_id", "")), ts)
                    for server in gates:
                        lines.setdefault(server, GateLine(server))
            case "request":
                self._request(str(body.get("scope", "")), body.get("request"))
            case "no_ack" | "after_halt_flow":
                self._distrust(str(body.get("scope", "")), str(body.get("server", "")), record.kind)

    def _request(self, name: str, request: Any) -> None:
        if request is None:
            self._requests.pop(name, None)
            return
        try:
            self._requests[name] = msgspec.convert(request, Request)
        except msgspec.ValidationError:
            self.undecodable += 1

    def _distrust(self, name: str, server: str, why: str) -> None:
        found = self.state.records.get(name)
        if found is not None:
            lines = self._lines(found.halt_id)
            was = lines.get(server, GateLine(server))
            lines[server] = GateLine(
                server, was.status, was.blocked_ts, was.confirmed_ts, was.working, was.orders, distrusted=why
            )

    # --- picture out ------------------------------------------------------------------------------------------------

    def picture(self, mono_ns: int, utc_ns: int, connected: bool) -> Picture:
        """Everything as it stands now, worst scope first."""
        beat = self.state.beat
        age_ms = None
        if beat is not None:
            by_clock = utc_ns - beat.ts - self.clock_skew_ms_max * MS_NS
            age_ms = max(mono_ns - self.state.beat_mono_ns, by_clock, 0) / MS_NS
        names = {*self.state.records.keys() - {CANARY}, *(scope("server", server) for server in self._routers)}
        scopes = {name: self._scope(name, mono_ns) for name in names}
        order = sorted(names, key=lambda n: (*(-int(x) for x in scopes[n].rank), _natural(n)))
        return Picture(
            version=self.version,
            scopes=scopes,
            order=tuple(order),
            entries=tuple(self._entries),
            connected=connected,
            alive=connected and mono_ns < self.state.deadline_ns,
            beat_age_ms=age_ms,
            trouble=self.state.closed_reason() or unwatched_text(beat.unwatched if beat else ()),
        )

    def _scope(self, name: str, mono_ns: int) -> Scope:
        record = self.state.records.get(name)
        kind, short = parse(name)
        router = self._routers.get(short) if kind == "server" else None
        lines = self._gates.get(record.halt_id, {}) if record else {}
        return Scope(
            name=name,
            record=record,
            gates=tuple(lines[server] for server in sorted(lines, key=_natural)),
            ordered_ts=self._ordered.get(record.halt_id, 0) if record else 0,
            request=self._requests.get(name),
            live=self._live(short, mono_ns) if kind == "server" else None,
            router=router,
            silent=router is not None and mono_ns - router.heard_ns > ROUTER_ALIVE_MS * MS_NS,
        )

    def _live(self, server: str, mono_ns: int) -> Money | None:
        value, heard_ns = self._rows.get(server, (b"", 0))
        if not value or mono_ns - heard_ns > ROUTER_ALIVE_MS * MS_NS:
            return None
        try:
            row = decode_verdict(value)
        except msgspec.MsgspecError:
            return None
        return row.money if isinstance(row, FeatureRow) else None


def _natural(name: str) -> tuple[str, int, str]:
    """R2 before R10."""
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    return head, int(digits) if digits else -1, name
