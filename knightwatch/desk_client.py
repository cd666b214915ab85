"""The operator's way to the desk, straight over Kafka: reads ``halts``, ``acks`` and ``audit``, writes ``commands``.

Nothing here needs a worker: what stands on ``halts`` is read as a gate reads it, and a halt can be written there
directly when no desk is alive to decide it.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from msgspec import Struct

from halts.draft import halt_id
from halts.gate_io import COMMON
from halts.gate_security import refusal_hint
from halts.gate_state import GateState, severity
from halts.gate_trust import Trust
from halts.orders import OPERATOR
from halts.signing import sign
from halts.state import CLOSED
from schemas.records import (
    Ack,
    AuditRecord,
    Cause,
    Command,
    CommandVerb,
    FirstEvent,
    HaltRecord,
    Money,
    NodeState,
    decode,
    encode,
)
from schemas.topics import ACKS, AUDIT, COMMANDS, HALTS, NODES, Topic, topic_name
from schemas.units import MS_NS

T = TypeVar("T")

READ_S: Final = 15.0
"""Longest that reading what stands on the topics may take."""
POLL_MS: Final = 50
DIRECT_ATTEMPTS: Final = 3
NODES_S: Final = 5.0
"""A router that reported its state within this is there."""
FROM_BEGINNING: Final = (HALTS, COMMANDS)
FROM_END: Final = (ACKS, AUDIT)


class DeskError(OSError):
    """What an operator wanted could not be done; the message says why and what to do."""


class GateAnswer(Struct, frozen=True):
    """How far one gate is with a halt. ``blocked_ms``: from the operator's command to its block, by the two clocks."""

    server: str
    status: str
    working: int
    orders: tuple[str, ...]
    blocked_ms: float


class DeskClient:
    """One connection of an operator. DeskError when no broker answers or ``halts`` does not exist.

    fail_closed_after_ms, clock_skew_ms_max: as the gates have them, to say what they would do. kafka: further options
    of kafka-python's clients (security and the like). key: the operator's; everything that is said is signed with it,
    for the fleet ``audience``. Without it nothing is signed. trust: whose records on ``halts`` count, as for the gates.
    """

    def __init__(
        self,
        bootstrap: str,
        prefix: str = "",
        *,
        fail_closed_after_ms: int = 2_000,
        clock_skew_ms_max: int = 500,
        kafka: Mapping[str, Any] | None = None,
        key: Ed25519PrivateKey | None = None,
        audience: str = "",
        trust: Trust | None = None,
    ) -> None:
        self.bootstrap, self.prefix = bootstrap, prefix
        self._key, self._audience = key, audience
        self.state = GateState(
            "-",
            fail_closed_after_ns=fail_closed_after_ms * MS_NS,
            clock_skew_ns_max=clock_skew_ms_max * MS_NS,
            trust=trust,
        )
        self.acks: list[Ack] = []
        self.commands: dict[str, Command] = {}
        self.audit: list[AuditRecord] = []
        self._config = {
            **COMMON,
            "bootstrap_servers": bootstrap.split(","),
            "client_id": "knightwatch-desk",
            **(kafka or {}),
        }
        self._producer: KafkaProducer | None = None
        try:
            self._consumer = KafkaConsumer(
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=250,
                **self._config,
            )
        except KafkaError as e:
            hint = refusal_hint(kafka)
            raise DeskError(f"no Kafka broker answers at {bootstrap} ({e}); check --bootstrap; {hint}") from e
        self._take = {
            topic_name(HALTS, prefix): self._halt,
            topic_name(ACKS, prefix): self._ack,
            topic_name(COMMANDS, prefix): self._command,
            topic_name(AUDIT, prefix): self._audit,
        }
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connections."""
        self._consumer.close(autocommit=False, timeout_ms=1_000)
        if self._producer is not None:
            with suppress(KafkaError):  # what was not delivered has been told
                self._producer.close(timeout=1)

    # --- reading --------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Everything that stands on ``halts`` and ``commands`` now; ``acks`` and ``audit`` from now on."""
        there = [t for t in (*FROM_BEGINNING, *FROM_END) if self._consumer.partitions_for_topic(self._name(t))]
        if HALTS not in there:
            raise DeskError(
                f"topic {self._name(HALTS)!r} does not exist at {self.bootstrap}; check --prefix, or make it with "
                "'knightwatch topics'"
            )
        places = {t: TopicPartition(self._name(t), 0) for t in there}
        begin = self._consumer.beginning_offsets(list(places.values()))
        end = self._consumer.end_offsets(list(places.values()))
        self._consumer.assign(list(places.values()))
        for topic, place in places.items():
            self._consumer.seek(place, begin[place] if topic in FROM_BEGINNING else end[place])
        self.state.connected(begin[places[HALTS]], 0)
        behind = [p for t, p in places.items() if t in FROM_BEGINNING and end[p] > begin[p]]
        if not self.follow(lambda: all(self._consumer.position(p) >= end[p] for p in behind), READ_S):
            raise DeskError(
                f"could not read {', '.join(p.topic for p in behind)} at {self.bootstrap} within {READ_S:g} s"
            )

    def follow(self, done: Callable[[], object], timeout_s: float) -> bool:
        """Read on until ``done`` or the time is over; returns whether it is done."""
        deadline = time.monotonic() + timeout_s
        while not (found := done()) and time.monotonic() < deadline:
            for place, records in self._consumer.poll(timeout_ms=POLL_MS).items():
                for record in records:
                    self._take[place.topic](record.offset, record.key, record.value)
        return bool(found)

    def _name(self, topic: Topic) -> str:
        return topic_name(topic, self.prefix)

    def _halt(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        self.state.apply(offset, key, value, time.monotonic_ns(), time.time_ns())

    def _ack(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        if (found := _read_as(value, Ack)) is not None:
            self.acks.append(found)

    def _command(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        if (found := _read_as(value, Command)) is not None:
            self.commands[found.command_id] = found

    def _audit(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        if (found := _read_as(value, AuditRecord)) is not None:
            self.audit.append(found)

    def servers(self, within_s: float = NODES_S) -> list[str] | None:
        """Routers that reported their state on ``nodes`` lately; None if that cannot be known."""
        name = self._name(NODES)
        try:
            consumer = KafkaConsumer(group_id=None, enable_auto_commit=False, fetch_max_wait_ms=50, **self._config)
        except KafkaError:
            return None
        try:
            places = [TopicPartition(name, p) for p in consumer.partitions_for_topic(name) or ()]
            since_ms = int((time.time() - within_s) * 1_000)
            begin = {p: at for p, at in consumer.offsets_for_times(dict.fromkeys(places, since_ms)).items() if at}
            end = consumer.end_offsets(list(begin))
            consumer.assign(list(begin))
            for place, at in begin.items():
                consumer.seek(place, at.offset)
            found: set[str] = set()
            deadline = time.monotonic() + READ_S
            while any(consumer.position(p) < end[p] for p in begin) and time.monotonic() < deadline:
                for records in consumer.poll(timeout_ms=POLL_MS).values():
                    states = (_read_as(record.value, NodeState) for record in records)
                    found.update(state.server for state in states if state is not None)
            return sorted(found) if places else None
        except KafkaError:
            return None
        finally:
            consumer.close(autocommit=False, timeout_ms=1_000)

    # --- what stands ----------------------------------------------------------------------------------------------

    def record(self, scope: str) -> HaltRecord | None:
        """The record that stands for ``scope``, as a gate takes it."""
        return self.state.records.get(scope)

    def heartbeat_age_ms(self) -> float | None:
        """Age of the desk's last heartbeat by this host's UTC clock; None if there never was one."""
        return None if self.state.beat is None else (time.time_ns() - self.state.beat.ts) / MS_NS

    def config_version(self) -> int:
        """Version of the approved configuration, by the desk's last heartbeat."""
        return self.state.beat.config_version if self.state.beat else 0

    def desk_alive(self) -> bool:
        """Would gates take the last heartbeat for a living desk's?"""
        return time.monotonic_ns() < self.state.deadline_ns

    def answers(self, halt: HaltRecord, since_ns: int) -> list[GateAnswer]:
        """What each gate has said to ``halt`` since this client connected, by server. since_ns: UTC of the command."""
        found: dict[str, GateAnswer] = {}
        for ack in self.acks:
            if ack.halt_id == halt.halt_id and ack.status != "refused":
                before = found.get(ack.server)
                blocked_ms = before.blocked_ms if before else (ack.ts - since_ns) / MS_NS
                found[ack.server] = GateAnswer(ack.server, ack.status, ack.working, ack.orders, round(blocked_ms, 3))
        return [found[server] for server in sorted(found)]

    def open_request(self, scope: str) -> Command | None:
        """The last resume asked for the halt that stands on ``scope``, if any: what an approve would agree to."""
        halt = self.record(scope)
        if halt is None or halt.state not in CLOSED:
            return None
        since = halt.epoch - (halt.state == "HALTED")  # any other transition voids a request
        asked = [
            c
            for c in self.commands.values()
            if (c.verb, c.scope, c.halt_id) == ("resume", scope, halt.halt_id) and c.epoch >= since and not c.emergency
        ]
        return max(asked, key=lambda c: c.ts, default=None)

    def verdict(self, command: Command) -> tuple[str, str]:
        """What the desk's audit says of ``command``: ``refused`` and why, ``requested``, ``taken``, or nothing yet.
        Another's command under the same id does not count: it is refused as a repeat, or for its signature."""
        outcome = ("", "")
        for line in self.audit:
            body = line.body
            if line.kind == "repeated" or not _mentions(body, command.command_id):
                continue
            if isinstance(problem := body.get("problem"), str) and problem:
                if outcome[0] or body.get("command", {}).get("signature") != command.signature:
                    continue
                return "refused", problem
            asked = body.get("request") or body.get("proposal") or outcome[0] == "requested"
            outcome = ("requested", "") if asked and line.kind != "config" else ("taken", "")
        return outcome

    # --- doing ----------------------------------------------------------------------------------------------------

    def say(self, verb: CommandVerb, scope: str, reason: str, by: str, approves: str = "", **more: Any) -> Command:
        """Publish an operator's command about ``scope``, answering the halt that stands there. more: further fields of
        the command."""
        halt = self.record(scope)
        fields: dict[str, Any] = {"halt_id": halt.halt_id if halt else "", "epoch": halt.epoch if halt else 0, **more}
        command = Command(
            command_id=uuid.uuid4().hex,
            ts=time.time_ns(),
            verb=verb,
            scope=scope,
            reason=reason,
            by=by,
            approves=approves,
            **fields,
        )
        if self._key is not None:
            command = sign(command, self._key, self._audience)
        self._write(COMMANDS, scope, command)
        return command

    def halt_directly(self, scope: str, reason: str, by: str) -> HaltRecord:
        """Write HALTING straight to ``halts``, above everything that stands there, and see it stand. The same order
        goes to ``commands`` afterwards, for the audit of the desk that comes back. DeskError if the record lost."""
        for _ in range(DIRECT_ATTEMPTS):
            now, stands = time.time_ns(), self.record(scope)
            if stands is not None and severity(stands) == 3 and scope not in self.state.undecodable:
                return stands
            record = direct_halt(scope, reason, by, now, stands.epoch + 1 if stands else 1, self.state.generation)
            if self._key is not None:
                record = sign(record, self._key, self._audience)
            self._write(HALTS, scope, record)

            def standing() -> bool:
                found = self.record(scope)
                return found is not None and severity(found) == 3 and scope not in self.state.undecodable

            if self.follow(standing, 2.0):
                with suppress(DeskError):  # the halt stands; what is missing is a line in an audit
                    self.say("halt", scope, f"{reason} (written to halts directly)", by)
                return self.record(scope) or record
        raise DeskError(
            f"{scope} is not halted: {DIRECT_ATTEMPTS} records were written to {self._name(HALTS)!r}, and newer ones "
            "of another writer stand above them; run 'knightwatch status', then halt again"
        )

    def _write(self, topic: Topic, key: str, record: Struct) -> None:
        try:
            if self._producer is None:
                self._producer = KafkaProducer(
                    acks="all", linger_ms=0, max_block_ms=2_000, delivery_timeout_ms=5_000, **self._config
                )
            self._producer.send(self._name(topic), key=key.encode(), value=encode(record), partition=0).get(timeout=6)
        except KafkaError as e:
            raise DeskError(
                f"topic {self._name(topic)!r} at {self.bootstrap} was not written ({type(e).__name__}: {e}); "
                "do not rely on it, run the command again"
            ) from e


def direct_halt(scope: str, reason: str, by: str, now_ns: int, epoch: int, generation: int) -> HaltRecord:
    """The record of a halt that no desk decided."""
    first = FirstEvent(f"direct-{uuid.uuid4().hex}", 0, 0, now_ns)
    return HaltRecord(
        halt_id=halt_id(scope, OPERATOR, first),
        epoch=epoch,
        scope=scope,
        state="HALTING",
        action="block_and_cancel",
        ts_event=now_ns,
        ts_decided=now_ns,
        cause=(Cause(OPERATOR, 1.0, 0.0, 0.0, {"by": by, "reason": reason, "direct": True}, first),),
        text=f"{by} halted {scope} directly, without the desk: {reason}. Nothing is sent and working orders are "
        "cancelled; start a worker, then resume.",
        money=Money(),
        by=by,
        generation=generation,
    )


def _read_as(value: bytes | None, kind: type[T]) -> T | None:
    """The record, or None: a value that is not one was never a valid command, ack or audit line."""
    try:
        return decode(value or b"", kind)
    except msgspec.DecodeError:
        return None


def _mentions(body: object, word: str) -> bool:
    if isinstance(body, dict):
        return any(_mentions(v, word) for v in body.values())
    if isinstance(body, list | tuple):
        return any(_mentions(v, word) for v in body)
    return body == word
