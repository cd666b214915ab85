"""What a person does on the page, said as a signed command: ``DeskClient`` and nothing else writes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from halts.gate_state import latched
from knightwatch.desk_client import DeskClient, DeskError
from knightwatch.web.operators import Operator
from schemas.records import Command, CommandVerb, HaltRecord

WAIT_S: Final = 8.0
REASON_CHARS_MAX: Final = 400

Connect = Callable[[Operator], DeskClient]
"""A connection that signs with the operator's key."""


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants. halt_id, epoch: of the record they were looking at. approves: id of the request that they saw.
    direct: write the halt to ``halts`` themselves, for when no desk is alive to decide it."""

    verb: CommandVerb
    scope: str
    reason: str
    halt_id: str = ""
    epoch: int = 0
    approves: str = ""
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, in words. ``done``: the effect was seen."""

    done: bool
    title: str
    text: str


def carry_out(order: Order, operator: Operator, connect: Connect) -> Outcome:
    """Say it, and watch what the desk makes of it. Blocks for at most some seconds; never raises DeskError."""
    reason = " ".join(order.reason.split())[:REASON_CHARS_MAX]
    if not reason:
        return Outcome(False, "Not sent", "Say why, in words: it goes to the audit.")
    try:
        with connect(operator) as client:
            return _said(client, order, reason, operator.name)
    except (DeskError, ValueError) as error:
        return Outcome(False, "Not done", str(error))


def _said(client: DeskClient, order: Order, reason: str, by: str) -> Outcome:
    stands = client.record(order.scope)
    if order.verb == "halt":
        if order.direct:
            return _halted(client.halt_directly(order.scope, reason, by), "written to halts directly")
        return _watch(client, client.say("halt", order.scope, reason, by))
    if stands is None or not latched(stands):
        return Outcome(False, "Nothing to do", f"{order.scope} is {stands.state if stands else 'ACTIVE'}, not halted.")
    if (stands.halt_id, stands.epoch) != (order.halt_id, order.epoch):
        return Outcome(
            False,
            "It changed while you wrote",
            f"You looked at epoch {order.epoch}; epoch {stands.epoch} stands now: {stands.text} Look again, then decide.",
        )
    if order.verb == "resume":
        return _watch(client, client.say("resume", order.scope, reason, by))
    if not order.approves:
        return Outcome(False, "No request", f"Nobody asks to reopen {order.scope} any more.")
    return _watch(client, client.say("approve", order.scope, reason, by, approves=order.approves))


def _watch(client: DeskClient, command: Command) -> Outcome:
    """Wait until the desk has halted, opened, refused, or taken the request."""
    halts = command.verb in ("halt", "drill")

    def shown() -> HaltRecord | None:
        found = client.record(command.scope)
        if found is None or latched(found) != halts:
            return None
        return found if halts or found.epoch > command.epoch else None

    ends = ("refused",) if halts else ("refused", "requested")
    client.follow(lambda: shown() or client.verdict(command)[0] in ends, WAIT_S)
    if (record := shown()) is not None:
        if not halts:
            return Outcome(True, f"{record.state}", record.text)
        return _halted(record, "it stood already" if record.epoch <= command.epoch else "ordered by the desk")
    verdict, why = client.verdict(command)
    if verdict == "refused":
        return Outcome(False, "Refused by the desk", why)
    if verdict == "requested":
        return Outcome(True, "Waits for a second person", f"{command.scope} stays halted until somebody else approves.")
    age_ms = client.heartbeat_age_ms()
    heard = "was never heard" if age_ms is None else f"was last heard {age_ms / 1e3:.1f} s ago"
    more = " Halt it directly if it must stop now." if halts else ""
    return Outcome(False, "No answer", f"Sent, but nothing happened within {WAIT_S:g} s; the desk {heard}.{more}")


def _halted(record: HaltRecord, how: str) -> Outcome:
    return Outcome(True, record.state, f"{record.text} ({how})")
