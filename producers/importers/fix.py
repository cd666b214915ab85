"""FIX 4.2 and 4.4 drop copies as order flow: D, F, G as sent, 8 and 9 as the venue's answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from producers.importers.findings import BadLine, Findings, ImportStopped, Where
from producers.importers.fix_log import Fields, Sequences, messages
from producers.importers.lives import Event, Life, Lives, Routing
from schemas.units import S_NS

SIDES: Final = {"1": "B", "2": "S", "5": "SS", "6": "SS"}
PENDING: Final = {"A": "pending_new", "E": "pending_replace", "6": "pending_cancel", "I": "order_status"}
SESSION: Final = frozenset(["0", "1", "2", "3", "4", "5", "A"])


@dataclass(frozen=True, slots=True)
class Tags:
    """Which tags say what FIX leaves to the firm; 0: none. server: router; parent: parent order; strategy."""

    server: int = 0
    parent: int = 0
    strategy: int = 0


def read(
    paths: list[Path], routing: Routing, findings: Findings, tags: Tags, allow_gaps: bool = False
) -> Iterator[tuple[Where, list[Event]]]:
    """The events of drop copy logs, the files in the order given. ImportStopped at the end when messages are missing, but
    for ``allow_gaps``."""
    copy = DropCopy(routing, findings, tags)
    for path in paths:
        for where, fields in messages(path, findings):
            try:
                yield where, copy.take(where, fields)
            except BadLine as error:
                findings.refuse(where, error.reason, str(error))
    if copy.missing and not allow_gaps:
        first = next((f"; the first gap: {r.where}: {r.sentence}" for r in findings.first if r.reason == "gap"), "")
        raise ImportStopped(
            f"found MsgSeqNum (34) with {copy.missing:,} missing; expected every message of the session; give the file that "
            f"has them, or --allow-gaps to import what is there (as of a log that leaves heartbeats out){first}"
        )


class DropCopy:
    """Messages to events, whether they come from a file or from a session. names_max: as ``Lives`` has it.

    Where orders name their parents none is made up for those that do not: the named ones, which no message announces, would
    then look like orphans.
    """

    def __init__(self, routing: Routing, findings: Findings, tags: Tags, names_max: int = 0) -> None:
        self.lives = Lives(replace(routing, parents=routing.parents and not tags.parent), names_max)
        self._findings, self._tags = findings, tags
        self._sequences = Sequences(findings)
        self._by_type: dict[str, Callable[[Fields, int], Iterator[Event]]] = {
            "D": self._new, "F": self._cancel, "G": self._replace, "8": self._report, "9": self._cancel_reject,
        }  # fmt: skip

    @property
    def missing(self) -> int:
        """Messages whose numbers say that they were sent, and which ``take`` was never given."""
        return self._sequences.missing

    def take(self, where: Where, fields: Fields) -> list[Event]:
        """The events of one message. BadLine says why it gives none although it should."""
        return self.convert(fields) if self._sequences.take(where, fields) else []

    def convert(self, fields: Fields) -> list[Event]:
        """As ``take``, of a message whose MsgSeqNum somebody else has checked (the FIX engine of a live session)."""
        kind = fields.get(35, "")
        made = self._by_type.get(kind)
        if made is None:
            self._findings.left_out["session_message" if kind in SESSION else f"message_type_{kind[:4]}"] += 1
            return []
        return list(made(fields, time_of(fields)))

    def _new(self, fields: Fields, ts: int) -> Iterator[Event]:
        more = {"server": self._tag(fields, self._tags.server), "parent_id": self._tag(fields, self._tags.parent)}
        more |= {"strategy": self._tag(fields, self._tags.strategy)}
        more |= {"account": fields.get(1, ""), "venue": fields.get(100) or fields.get(30, "")}
        side = SIDES.get(need(fields, 54, "Side"))
        if side is None:
            raise BadLine("unknown_word", fields[54], f"Side (54) {', '.join(SIDES)}")
        px, symbol = decimal(fields, 44, "Price", 0.0), need(fields, 55, "Symbol")
        named = {name: value for name, value in more.items() if value}
        yield from self.lives.sent(
            ts, need(fields, 11, "ClOrdID"), symbol, side, whole(fields, 38, "OrderQty"), px, **named
        )

    def _cancel(self, fields: Fields, ts: int) -> Iterator[Event]:
        life = self.lives.find(need(fields, 41, "OrigClOrdID"), "a cancel request")
        yield from self.lives.cancel_sent(life, ts, need(fields, 11, "ClOrdID"))

    def _replace(self, fields: Fields, ts: int) -> Iterator[Event]:
        life = self.lives.find(need(fields, 41, "OrigClOrdID"), "a replace request")
        qty, px = whole(fields, 38, "OrderQty"), decimal(fields, 44, "Price", life.px)
        yield from self.lives.replace_sent(life, ts, need(fields, 11, "ClOrdID"), qty, px)

    def _cancel_reject(self, fields: Fields, ts: int) -> Iterator[Event]:
        life = self.lives.find(need(fields, 41, "OrigClOrdID"), "a refused request")
        yield from self.lives.refused(life, ts, need(fields, 11, "ClOrdID"))

    def _report(self, fields: Fields, ts: int) -> Iterator[Event]:
        kind = need(fields, 150, "ExecType")
        if fields.get(20, "0") != "0" or kind in ("G", "H"):
            self._findings.left_out["correction_or_bust"] += 1
        elif kind in PENDING:
            self._findings.left_out[PENDING[kind]] += 1
        elif kind not in ("0", "1", "2", "F", "3", "4", "5", "8", "C"):
            self._findings.left_out[f"exec_type_{kind[:4]}"] += 1
        else:
            named = [fields[tag] for tag in (11, 41) if fields.get(tag)]
            known = next((name for name in named if name in self.lives), None)
            if known is None:
                if kind not in ("0", "1", "2", "F", "8") or (fields.get(39) in ("2", "4", "8", "C") and kind == "0"):
                    raise BadLine(
                        "unknown_order",
                        need(fields, 11, "ClOrdID"),
                        "an order that was sent before",
                        "give the earlier files",
                    )
                yield from self._new(fields, ts)
                self._findings.notes["order_made_up_from_report"] += 1
                known = fields[11]
            yield from self._answer(kind, self.lives.find(known, "a report"), fields, ts)

    def _answer(self, kind: str, life: Life, fields: Fields, ts: int) -> Iterator[Event]:
        lives, own = self.lives, need(fields, 11, "ClOrdID")
        if kind == "0":
            yield from lives.acked(life, ts)
        elif kind in ("1", "2", "F"):
            exec_id, px = need(fields, 17, "ExecID"), decimal(fields, 31, "LastPx")
            yield from lives.traded(life, ts, whole(fields, 32, "LastQty"), px, exec_id)
        elif kind == "4":
            yield from lives.canceled(life, ts, own if own != life.cl_ord_id else "")
        elif kind == "5":
            if own not in life.amends:  # a drop copy of reports alone: the request was never shown
                self._findings.notes["replace_made_up_from_report"] += 1
                qty, px = whole(fields, 38, "OrderQty"), decimal(fields, 44, "Price", life.px)
                yield from lives.replace_sent(life, ts, own, qty, px)
            yield from lives.replaced(life, ts, own)
        elif kind == "8":
            yield from lives.refused(life, ts, own)
        else:
            yield from lives.expired(life, ts)

    @staticmethod
    def _tag(fields: Fields, tag: int) -> str:
        return fields.get(tag, "") if tag else ""


def time_of(fields: Fields) -> int:
    """TransactTime (60), else SendingTime (52): ns since 1970 UTC, from ``YYYYMMDD-HH:MM:SS`` and up to nine
    decimals."""
    text = fields.get(60) or need(fields, 52, "SendingTime")
    head, _, fraction = text.partition(".")
    try:
        moment = datetime.strptime(head, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
        return int(moment.timestamp()) * S_NS + int(fraction[:9].ljust(9, "0"))
    except ValueError:
        raise BadLine("wrong_type", text, "a time as 20120801-13:30:00.000") from None


def need(fields: Fields, tag: int, name: str) -> str:
    """The value of a field that must be there."""
    value = fields.get(tag, "")
    if not value:
        raise BadLine("missing_field", f"no {name} ({tag})", f"a message of type {fields.get(35)} to have it")
    return value


def decimal(fields: Fields, tag: int, name: str, default: float | None = None) -> float:
    """A price."""
    text = fields.get(tag, "") if default is not None else need(fields, tag, name)
    if not text and default is not None:
        return default
    return float(_number(text, tag, name))


def whole(fields: Fields, tag: int, name: str) -> int:
    """A quantity; FIX writes it as a decimal."""
    value = _number(need(fields, tag, name), tag, name)
    if value != value.to_integral_value():
        raise BadLine("wrong_type", fields[tag], f"a whole number in {name} ({tag})")
    return int(value)


def _number(text: str, tag: int, name: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise BadLine("wrong_type", text, f"a number in {name} ({tag})")
    return value
