"""Records other than order events, version 1, all JSON. Frozen; they evolve by four rules: a new field has a default,
a type does not change, a name is not used again, and the old version stays as a round-trip test."""

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

State = Literal["ACTIVE", "WARNED", "HALTING", "HALTED", "RESUMING"]
Action = Literal["block_and_cancel", "block", "reduce_only"]
AckStatus = Literal["blocked", "cancelling", "confirmed", "refused"]
CommandVerb = Literal["halt", "resume", "approve", "drill", "config"]
Family = Literal[
    "conservation", "rate", "crossing", "repetition", "malformed", "exposure", "novelty",
    "divergence", "drift", "breadth", "participation", "silence", "limits",
]  # fmt: skip


class Gate(Struct, frozen=True):
    """The state of a node's gate as the node reports it."""

    state: str
    epoch: int = 0


class NodeState(Struct, frozen=True):
    """``nodes``: observed state of a router node, once a second. ``ts`` in ns UTC."""

    server: str
    ts: int
    build: str
    config: str
    flags: dict[str, bool] = field(default_factory=dict)
    gate: Gate | None = None
    seq: int = 0
    v: int = 1


class Declared(Struct, frozen=True):
    """``declared``: what the release process says that a node runs."""

    server: str
    ts: int
    release: str
    build: str
    config: str
    flags: dict[str, bool] = field(default_factory=dict)
    v: int = 1


class FirstEvent(Struct, frozen=True):
    """Where the trouble began: Kafka coordinates and the order."""

    topic: str
    partition: int
    offset: int
    ts: int
    cl_ord_id: str = ""
    item: int = 0


class Cause(Struct, frozen=True):
    """One detector's reason. ``score`` and ``limit`` are in the detector's own unit (docs/detectors.md)."""

    detector: str
    score: float
    limit: float
    baseline: float
    evidence: dict[str, Any]
    first_event: FirstEvent


class Money(Struct, frozen=True):
    """What it has cost. Losses are positive."""

    loss_usd: float = 0.0
    loss_usd_per_s: float = 0.0
    gross_usd: float = 0.0


class HaltRecord(Struct, frozen=True):
    """``halts``: the state of one scope. ``generation`` fences a desk that was paused and woke as a second one."""

    halt_id: str
    epoch: int
    scope: str
    state: State
    action: Action
    ts_event: int
    ts_decided: int
    cause: tuple[Cause, ...]
    text: str
    money: Money
    by: str
    generation: int = 0
    v: int = 1
    key_id: str = ""
    signature: str = ""
    orders_per_s_max: float = 0.0
    """RESUMING: what may pass a gate besides orders that reduce a position. 0: nothing."""


class Heartbeat(Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """``halts`` under key ``_heartbeat``: the desk is alive and has worked off its input up to tick ``ts``."""

    ts: int
    seq: int
    generation: int = 0
    v: int = 1
    key_id: str = ""
    signature: str = ""
    config_version: int = 0
    config_digest: str = ""
    """Which configuration is approved (halts.changes); 0 and empty: none ever was."""
    audit_n: int = 0
    audit_head: str = ""
    """How many records ``audit`` has, and the SHA-256 of the last: so that a cut end of it is seen."""
    partitions: int = 0
    unwatched: tuple[int, ...] = ()
    """How many partitions ``orderflow`` has (0: not known), and those that no worker reads (halts.coverage)."""


class Ack(Struct, frozen=True):
    """``acks``: what the gate of ``server`` did about a halt. ``working``: orders not yet known to be gone. ``refused``: a
    record under the key ``scope`` of ``halts`` did not count, and ``reason`` says why; it is no answer to a halt."""

    server: str
    ts: int
    halt_id: str
    scope: str
    epoch: int
    status: AckStatus
    working: int = 0
    orders: tuple[str, ...] = ()
    """cl_ord_id of orders whose cancel the venue refused or never answered (at most 100)."""
    v: int = 1
    reason: str = ""


class Command(Struct, frozen=True):
    """``commands``: an operator's word. ``epoch`` is that of the halt which the command answers. Signed by halts.signing."""

    command_id: str
    ts: int
    verb: CommandVerb
    scope: str
    reason: str
    by: str
    halt_id: str = ""
    epoch: int = 0
    approves: str = ""
    """command_id of the request that an ``approve`` agrees to."""
    key_id: str = ""
    signature: str = ""
    v: int = 1
    emergency: bool = False
    """Break-glass: a resume by one person where two are needed, before the cool-off is over."""
    values: dict[str, Any] = field(default_factory=dict)
    """Of a ``config``: every setting, dotted name -> value. ``epoch`` is then the version of the configuration that it
    replaces."""


class DeadLetter(Struct, frozen=True):
    """``dead-letters``: a value (or one event of it) that was refused. ``payload`` is base64, at most 4 KiB of it."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    item: int
    payload: str
    key: str = ""
    v: int = 1


# --- verdicts: stage 1 -> stage 2 -----------------------------------------------------------------------------------


class Source(Struct, frozen=True):
    """The input that caused a verdict."""

    topic: str
    partition: int
    offset: int
    item: int = 0


class Breach(Struct, frozen=True, tag_field="type", tag="breach"):
    """A detector went beyond its bound (``open``), went on (``update``) or came back (``close``).

    hard: a broken invariant, which halts alone. ``bound_halt``: score beyond which even a statistical one halts
    alone (0: never). ts is stream time (ns) of the event that decided it.
    """

    server: str
    ts: int
    detector: str
    family: Family
    hard: bool
    state: Literal["open", "update", "close"]
    scope: str
    score: float
    limit: float
    baseline: float
    evidence: dict[str, Any]
    first_event: FirstEvent
    source: Source
    money: Money = Money()
    bound_halt: float = 0.0
    v: int = 1


class FeatureRow(Struct, frozen=True, tag_field="type", tag="row"):
    """What one server did in one frame (100 ms of stream time), with the scores at its end.

    ``frame`` is stream time // frame length. ``values`` has the names of ``detectors.features.NAMES``;
    ``scores`` maps detector -> score / limit, so that 1 is the bound whatever the unit.
    """

    server: str
    ts: int
    frame: int
    values: dict[str, float]
    scores: dict[str, float]
    source: Source
    money: Money = Money()
    counters: dict[str, int] = field(default_factory=dict)
    """Running totals: events, late, repeats, gaps, clamped, dead letters of this server."""
    v: int = 1


class Tick(Struct, frozen=True, tag_field="type", tag="tick"):
    """Time and silence as data: published every 100 ms by the worker that runs the desk. ``ts`` is wall time, ns UTC.
    ``probe``: the canary is due, the desk drills its scope."""

    ts: int
    seq: int
    generation: int = 0
    v: int = 1
    probe: bool = False


class Watch(Struct, frozen=True, tag_field="type", tag="watch"):
    """Said four times a second by each worker: of the ``partitions`` of ``orderflow``, those that it holds and gets on
    with. ``ts``: its clock, ns UTC."""

    worker: str
    ts: int
    partitions: int
    held: tuple[int, ...] = ()
    v: int = 1


class NodeSeen(Struct, frozen=True, tag_field="type", tag="node"):
    """A ``nodes`` record, forwarded so that the desk reads one ordered log."""

    node: NodeState
    source: Source
    v: int = 1


class DeclaredSeen(Struct, frozen=True, tag_field="type", tag="declared"):
    """A ``declared`` record, forwarded likewise."""

    declared: Declared
    source: Source
    v: int = 1


Verdict = Breach | FeatureRow | Tick | Watch | NodeSeen | DeclaredSeen


class AuditRecord(Struct, frozen=True):
    """``audit``: one line of the chain. ``prev`` is the SHA-256 (hex) of the bytes of the record before."""

    n: int
    prev: str
    kind: str
    body: dict[str, Any]
    generation: int = 0
    v: int = 1


T = TypeVar("T")
_encoder = msgspec.json.Encoder(order="deterministic")


def encode(record: Struct) -> bytes:
    """The bytes that go to Kafka: compact JSON, keys in a fixed order, so that equal records are equal bytes."""
    return _encoder.encode(record)


def decode(data: bytes, kind: type[T]) -> T:
    """The record in ``data``; msgspec.ValidationError or msgspec.DecodeError says what was found and where."""
    return msgspec.json.decode(data, type=kind)


_verdicts: msgspec.json.Decoder[Verdict] = msgspec.json.Decoder(Verdict)


def decode_verdict(data: bytes) -> Verdict:
    """Whatever stands on ``verdicts``; raises as ``decode`` does."""
    return _verdicts.decode(data)
