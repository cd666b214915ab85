"""Raw messages of live sessions to numbered order events: ``importers.fix.DropCopy`` per session, nothing of Kafka.

The same messages give the same events with the same ``seq`` however they are cut: what is published twice after a crash
is a repeat that the engine knows.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from producers.fix_acceptor.settings import AcceptorSettings, session_key
from producers.importers.findings import BadLine, Findings, Where
from producers.importers.fix import DropCopy, Tags
from producers.importers.fix_log import Fields
from producers.importers.lives import Event, Life, Routing
from schemas.codec import PAYLOAD_BYTES_MAX, from_dicts_tolerant
from schemas.records import DeadLetter

NAMES_MAX: Final = 1_000_000
"""ClOrdIDs known in a session: some 600 MB; those longest known are forgotten first."""
SOURCE: Final = "fix"
"""``topic`` of a dead letter that came by a session; its ``offset`` is MsgSeqNum, its ``key`` the session."""


class State(Struct):
    """What the next message's events depend on. seqs: newest per server; taken: newest MsgSeqNum per session."""

    first_seq: int
    seqs: dict[str, int] = {}
    taken: dict[str, int] = {}
    lives: dict[str, list[Life]] = {}


@dataclass(frozen=True, slots=True)
class Converted:
    """events: (n,) EVENT, each server's in order; letters: what was refused."""

    events: NDArray[Any]
    letters: list[DeadLetter]


class Converter:
    """Not thread-safe. first_seq: each server's events count from it, where no state says otherwise."""

    def __init__(self, settings: AcceptorSettings, findings: Findings, first_seq: int) -> None:
        self._findings = findings
        self._copies: dict[str, DropCopy] = {}
        for s in settings.session:
            routing = Routing(parents=s.parents, account=s.account, strategy=s.strategy, server=s.server)
            tags = Tags(s.server_tag, s.parent_tag, s.strategy_tag)
            key = session_key(s.version, settings.name_us(s), s.sender)
            self._copies[key] = DropCopy(routing, findings, tags, NAMES_MAX)
        self.servers = list(dict.fromkeys(s.server for s in settings.session))
        self._state = State(first_seq)

    def save(self) -> bytes:
        """The state, as JSON."""
        lives = {key: copy.lives.open() for key, copy in self._copies.items()}
        return msgspec.json.encode(msgspec.structs.replace(self._state, lives=lives))

    def restore(self, saved: bytes) -> None:
        """Go on from what ``save`` gave. msgspec.ValidationError."""
        self._state = msgspec.json.decode(saved, type=State)
        for key, lives in self._state.lives.items():
            if key in self._copies:
                self._copies[key].lives.restore(lives)
        self._state.lives = {}

    def convert(self, messages: Sequence[bytes]) -> Converted:
        """The events of ``messages``, in their order, numbered."""
        made: list[Event] = []
        origin: list[tuple[Where, bytes]] = []
        letters: list[DeadLetter] = []
        for raw in messages:
            self._findings.lines += 1
            where = Where("a session", 0)
            try:
                fields = split(raw)
                key, where = _place(fields)
                found = self._take(key, fields)
            except BadLine as error:
                letters.append(self._refuse(where, raw, error.reason, str(error)))
                continue
            made += found
            origin += [(where, raw)] * len(found)
        events, refused = from_dicts_tolerant(made)
        for refusal in refused:
            where, raw = origin[refusal.item]
            letters.append(self._refuse(where, raw, refusal.reason.value, f"{refusal.detail}; have it corrected"))
        self._number(events)
        self._findings.events += len(events)
        return Converted(events, letters)

    def _take(self, key: str, fields: Fields) -> list[Event]:
        copy = self._copies.get(key)
        if copy is None:
            raise BadLine(
                "unknown_session", key, " or ".join(self._copies), "add the session, or its messages are lost"
            )
        number, taken = int(fields[34]), self._state.taken.get(key, 0)
        if fields.get(35) == "A":  # its own number says nothing of those before it: they may yet be resent
            if number <= taken:
                self._findings.notes["sequence_began_anew"] += 1
                self._state.taken[key] = 0
            return copy.convert(fields)
        if number <= taken and fields.get(43) == "Y":
            self._findings.left_out["resend"] += 1
            return []
        self._state.taken[key] = number
        return copy.convert(fields)

    def _number(self, events: NDArray[Any]) -> None:
        for server in np.unique(events["server"]).tolist():
            mine = np.flatnonzero(events["server"] == server)
            name = server.decode()
            first = self._state.seqs.get(name, self._state.first_seq - 1) + 1
            events["seq"][mine] = np.arange(first, first + len(mine), dtype=np.uint64)
            self._state.seqs[name] = first + len(mine) - 1

    def _refuse(self, where: Where, raw: bytes, reason: str, sentence: str) -> DeadLetter:
        self._findings.refuse(where, reason, sentence)
        payload = b64encode(raw[:PAYLOAD_BYTES_MAX]).decode("ascii")
        return DeadLetter(reason, sentence, SOURCE, 0, where.line, 0, payload, key=where.file)


def split(raw: bytes) -> Fields:
    """Tag -> value, of a repeated tag the first, of a message that the FIX engine has checked and written out: five times
    as fast as ``importers.fix_log.parse``, which trusts nothing."""
    fields: Fields = {}
    for part in raw.split(b"\x01"):
        tag, equals, value = part.partition(b"=")
        if equals and tag.isdigit():
            fields.setdefault(int(tag), value.decode("latin-1"))
    return fields


def _place(fields: Fields) -> tuple[str, Where]:
    """The session of a message that came in, and its place there: MsgSeqNum."""
    key = session_key(fields.get(8, ""), fields.get(56, ""), fields.get(49, ""))
    number = fields.get(34, "")
    if not number.isdigit():
        raise BadLine("missing_field", number, "MsgSeqNum (34)")
    return key, Where(key, int(number))
