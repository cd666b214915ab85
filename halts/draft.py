"""A decision in the making: events so far, and the state as it will be after them."""

from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from halts.config import DeskConfig
from halts.evolve import evolve
from halts.state import NEVER, Event, Forgotten, GateAck, LedgerState, Moved, ScopeState
from schemas.records import FirstEvent, State
from schemas.scopes import FIRM, parse
from schemas.units import MS_NS

HALT_ID_CHARS = 16


class Draft:
    """Collects the events of one decision. Local to one call of ``decide``, which stays pure."""

    def __init__(self, config: DeskConfig, state: LedgerState) -> None:
        self.config, self.state = config, state
        self.events: list[Event] = []

    @property
    def now(self) -> int:
        """Desk time, ns."""
        return self.state.now

    def scope(self, name: str) -> ScopeState:
        """The scope as it will be after the events so far."""
        return self.state.scope(name)

    def add(self, event: Event) -> None:
        """One more event."""
        self.events.append(event)
        self.state = evolve(self.state, event)

    def move(self, s: ScopeState, state: State, **changes: Any) -> None:
        """A transition that keeps the halt's identity, causes and money, but for ``changes`` (fields of ``Moved``).
        It stands with no gates unless they are given."""
        kept = Moved(
            scope=s.scope, state=state, action=s.action, halt_id=s.halt_id, server=s.server, causes=s.causes,
            ts_event=s.ts_event, ts_decided=s.ts_decided, money=s.money, by=s.by, reason=s.reason,
        )  # fmt: skip
        self.add(replace(kept, **changes))

    def room_for(self, scope: str) -> bool:
        """Can ``scope`` be remembered? An ACTIVE one is forgotten for it if need be; the firm always has room."""
        scopes = self.state.scopes
        if scope in scopes or scope == FIRM or len(scopes) < self.config.scopes_max:
            return True
        active = [name for name, s in scopes.items() if s.state == "ACTIVE"]
        idle = min(active, key=lambda name: scopes[name].probation_until, default=None)
        if idle is None:
            return False
        self.add(Forgotten(scope=idle))
        return True

    def owing(self, timeout_ms: int) -> GateAck:
        """What a gate owes from now on. A timeout of 0 is none: no gate answers here."""
        return GateAck(self.now + timeout_ms * MS_NS if self.config.ack_timeout_ms else NEVER)

    def alive(self, server: str) -> bool:
        """Was the node heard from lately?"""
        heard = self.state.nodes.get(server)
        return heard is not None and self.now - heard <= self.config.node_alive_ms * MS_NS

    def gates_of(self, scope: str, server: str) -> dict[str, GateAck]:
        """The gates that a halt of ``scope`` concerns: the server's own, else those of all nodes known alive and of
        ``server``, from which the flow came."""
        kind, name = parse(scope)
        if kind == "server":
            return {name: self.owing(self.config.ack_timeout_ms)}
        servers = {node for node in self.state.nodes if self.alive(node)} | ({server} if server else set())
        return {node: self.owing(self.config.ack_timeout_ms) for node in sorted(servers)}


def halt_id(scope: str, detector: str, first: FirstEvent) -> str:
    """The name of a halt: a hash of its scope, detector and first event, so that the same cause decided twice is the
    same halt."""
    text = f"{scope}|{detector}|{first.topic}|{first.partition}|{first.offset}|{first.item}"
    return sha256(text.encode()).hexdigest()[:HALT_ID_CHARS]
