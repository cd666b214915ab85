"""What the ledger knows, and the events that change it. ``*_at`` and ``now`` are desk time, ``ts*`` event time (ns)."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from halts.changes import Change
from schemas.records import Ack, AckStatus, Action, Cause, Command, FirstEvent, HaltRecord, Money, State
from schemas.topics import HALTS

CLOSED: Final = ("HALTING", "HALTED")
DRILL: Final = "drill"
"""The cause of a halt that is an exercise."""
BROKE_GLASS: Final = " (break-glass)"
"""Stands after the name of the one person who reopened what takes two, or before the cool-off was over."""
NEVER: Final = 2**62
"""A desk time that does not come."""
RANK: Final[Mapping[str, int]] = {"refused": -1, "": 0, "blocked": 1, "cancelling": 2, "confirmed": 3}


class GateAck(Struct, frozen=True):
    """How far one gate is with one halt. ``due_at``: when ``blocked`` must have come. ``epoch``: which it answered."""

    due_at: int
    status: AckStatus | str = ""
    epoch: int = 0
    blocked_ts: int = 0
    confirmed_ts: int = 0
    working: int = 0
    orders: tuple[str, ...] = ()
    acted: bool = False
    """Its silence, or its orders after ``blocked``, has been acted upon."""


class Request(Struct, frozen=True):
    """A resume that waits for a second person."""

    command_id: str
    by: str
    key_id: str
    reason: str
    asked_at: int


class Proposal(Struct, frozen=True):
    """A configuration that waits for a second person."""

    command_id: str
    by: str
    key_id: str
    reason: str
    asked_at: int
    values: dict[str, Any]


class Configured(Struct, frozen=True, tag=True):
    """The configuration that is approved, and (as an event) what it changed. Version 0: none ever was."""

    version: int = 0
    digest: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    by: str = ""
    command_id: str = ""


class ScopeState(Struct, frozen=True):
    """One scope. ``halt_epoch``, ``halt_ts``, ``halt_at``: of the last transition into HALTING."""

    scope: str
    state: State = "ACTIVE"
    epoch: int = 0
    halt_id: str = ""
    action: Action = "block_and_cancel"
    server: str = ""
    causes: tuple[Cause, ...] = ()
    ts_event: int = 0
    ts_decided: int = 0
    money: Money = Money()
    by: str = ""
    reason: str = ""
    halt_epoch: int = 0
    resume_epoch: int = 0
    """The first epoch that a resume of this halt may name."""
    halt_ts: int = 0
    halt_at: int = 0
    touched_ts: int = 0
    touched_at: int = 0
    gates: dict[str, GateAck] = field(default_factory=dict)
    surveyed: bool = True
    """The gates concerned were known when the halt was ordered; if none was, nodes must first be given time to show."""
    request: Request | None = None
    orders_per_s_max: float = 0.0
    """RESUMING, second stage: what may pass besides orders that reduce a position."""
    probation_until: int = 0
    """Desk time until which, after a resume, what would otherwise warn halts."""

    @property
    def first_event(self) -> FirstEvent:
        """Where the trouble began; the record on ``halts`` for one that was adopted without a cause."""
        return self.causes[0].first_event if self.causes else FirstEvent(HALTS.name, 0, 0, self.ts_event)

    @property
    def closed(self) -> bool:
        """Latched: only an authorised resume opens it, or its own end if it is a drill."""
        return self.state in CLOSED

    @property
    def drill(self) -> bool:
        """Closed by an exercise and nothing else: it ends by itself, and never widens."""
        return self.closed and bool(self.causes) and all(cause.detector == DRILL for cause in self.causes)


class LedgerState(Struct, frozen=True):
    """Every scope, the nodes, and what operators have said. ``live``: scopes that are not ACTIVE, in order."""

    now: int = 0
    scopes: dict[str, ScopeState] = field(default_factory=dict)
    live: tuple[str, ...] = ()
    nodes: dict[str, int] = field(default_factory=dict)
    """Server -> when it was last heard."""
    commands: dict[str, bool] = field(default_factory=dict)
    """Ids of commands taken in, oldest first."""
    epoch_floor: int = 0
    """Epoch of a scope that is not in ``scopes``: at least that of every scope that was forgotten."""
    config: Configured = Configured()
    proposal: Proposal | None = None

    def scope(self, name: str) -> ScopeState:
        """The scope, ACTIVE if nothing is known of it."""
        return self.scopes.get(name) or ScopeState(name, epoch=self.epoch_floor)


# --- inputs of decide -------------------------------------------------------------------------------------------------


class TimePasses(Struct, frozen=True):
    """A tick. ``open_scopes``: scopes on which a breach is open."""

    now: int
    open_scopes: frozenset[str]


class Touch(Struct, frozen=True):
    """A breach opened, went on or closed on a scope."""

    scope: str
    ts: int
    money: Money


class NodeAlive(Struct, frozen=True):
    """A node showed itself."""

    server: str


class Flow(Struct, frozen=True):
    """A server sent ``orders`` new orders and replaces in a frame that began at ``began_ts``."""

    server: str
    ts: int
    began_ts: int
    orders: int
    source: FirstEvent
    money: Money


class Said(Struct, frozen=True):
    """A command, and where it stands on ``commands``. ``problem``: what is wrong with its signature, or None. ``ts``:
    the desk's wall clock, ns UTC; 0 when it had no tick yet."""

    command: Command
    at: FirstEvent
    problem: str | None
    ts: int = 0


class Probe(Struct, frozen=True):
    """The canary is due: its scope is halted as a drill. ``at``: the tick that says so."""

    at: FirstEvent


# --- events -----------------------------------------------------------------------------------------------------------


class Moved(Struct, frozen=True, tag=True):
    """A transition. ``gates``: with which gates it stands afterwards. ``again``: the same block ordered anew by a desk
    that took over, so that what people said about it still holds."""

    scope: str
    state: State
    action: Action
    halt_id: str
    server: str
    causes: tuple[Cause, ...]
    ts_event: int
    ts_decided: int
    money: Money
    by: str
    reason: str = ""
    gates: dict[str, GateAck] = field(default_factory=dict)
    again: bool = False
    orders_per_s_max: float = 0.0
    probation_until: int = 0


class CauseAdded(Struct, frozen=True, tag=True):
    """Another detector agrees with a halt that stands."""

    scope: str
    cause: Cause


class Touched(Struct, frozen=True, tag=True):
    """Something was seen on a scope that is not ACTIVE; its money grew."""

    scope: str
    ts: int
    money: Money


class Acked(Struct, frozen=True, tag=True):
    """A gate's answer that counts."""

    ack: Ack
    gate: GateAck


class AckIgnored(Struct, frozen=True, tag=True):
    """A gate's answer that does not count, and why."""

    ack: Ack
    why: str


class Distrusted(Struct, frozen=True, tag=True):
    """A gate kept silent (``no_ack``) or let orders pass (``after_halt_flow``): its word counts no more."""

    scope: str
    server: str
    why: str
    gate: GateAck


class NodeHeard(Struct, frozen=True, tag=True):
    """A node is alive; ``joins``: halts (scope -> what is expected of it) that its gate has to answer from now on."""

    server: str
    joins: dict[str, GateAck] = field(default_factory=dict)


class Requested(Struct, frozen=True, tag=True):
    """A resume waits for a second person (None: it waits no longer)."""

    scope: str
    request: Request | None
    why: str = ""


class CommandTaken(Struct, frozen=True, tag=True):
    """A command was authorised."""

    command: Command


class Refused(Struct, frozen=True, tag=True):
    """A command was not, and what to do about it. ``forged``: no known key signed it, so that its id is not used up."""

    command: Command
    problem: str
    forged: bool = False


class Repeated(Struct, frozen=True, tag=True):
    """A command that was taken in before came again: it does nothing."""

    command: Command


class BrokeGlass(Struct, frozen=True, tag=True):
    """One person reopened alone what takes two, or before the cool-off was over."""

    command: Command


class Proposed(Struct, frozen=True, tag=True):
    """A configuration waits for a second person (None: it waits no longer)."""

    proposal: Proposal | None
    why: str = ""


class Advanced(Struct, frozen=True, tag=True):
    """Desk time went on."""

    now: int


class Adopted(Struct, frozen=True, tag=True):
    """What stands on ``halts`` is newer than what this desk knew of the scope."""

    record: HaltRecord


class Forgotten(Struct, frozen=True, tag=True):
    """The limits on what is remembered: the oldest goes. An ACTIVE scope leaves its epoch to the floor."""

    scope: str = ""
    server: str = ""
    command_id: str = ""


class Overtaken(Struct, frozen=True, tag=True):
    """``halts`` holds an epoch for the scope that this desk did not give: its own go on above it."""

    scope: str
    epoch: int


Input = TimePasses | Touch | NodeAlive | Flow | Said | Probe | Ack | HaltRecord
Event = (
    Moved | CauseAdded | Touched | Acked | AckIgnored | Distrusted | NodeHeard | Requested | CommandTaken | Refused
    | Repeated | BrokeGlass | Proposed | Configured | Advanced | Adopted | Forgotten | Overtaken
)  # fmt: skip
