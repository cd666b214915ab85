"""FIX messages out of log files: cut, checked (BodyLength, CheckSum, MsgSeqNum) and parsed by simplefix.

A log may hold messages back to back or one a line with whatever before them; SOH, ``|`` or ``^A`` between fields.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from producers.importers.findings import BadLine, Findings, ImportStopped, Where
from producers.importers.lines import open_text

BEGIN: Final = re.compile(r"8=FIX\.4\.[24](\x01|\||\^A)")
END: Final = re.compile(rb"\x0110=(\d{3})\x01")
HEAD: Final = re.compile(rb"8=FIX\.4\.[24]\x019=(\d{1,9})\x01")
Fields = dict[int, str]
"""Tag -> value; of a repeated tag the first."""


def messages(path: Path, findings: Findings) -> Iterator[tuple[Where, Fields]]:
    """The messages of one file, in order; broken ones are refused with their line."""
    with open_text(path) as file:
        try:
            text = file.read()
        except (EOFError, OSError) as error:
            raise ImportStopped(
                f"{path}: found a broken gzip file ({error}); expected it whole; fetch it again"
            ) from None
    starts = list(BEGIN.finditer(text))
    line, seen = 1, 0
    for i, start in enumerate(starts):
        line += text.count("\n", seen, start.start())
        seen = start.start()
        where = Where(path.name, line)
        findings.lines += 1
        end = starts[i + 1].start() if i + 1 < len(starts) else len(text)
        raw = text[start.start() : end].replace(start[1], "\x01").encode("latin-1")
        try:
            yield where, parse(raw)
        except BadLine as error:
            findings.refuse(where, error.reason, str(error))


def parse(raw: bytes) -> Fields:
    """One message with SOH between fields (what follows it is left) -> fields. BadLine: truncated, bad_length,
    bad_checksum."""
    from simplefix import FixParser

    head = HEAD.match(raw)
    if not head:
        raise BadLine("wrong_type", raw[:40], "BeginString (8) and then BodyLength (9)", "export the log again")
    last = head.end() + int(head[1])
    ends = END.search(raw, max(last - 1, 0))
    if not ends:
        raise BadLine("truncated", raw[-24:], "a message that ends in CheckSum (10)", "export the log again, whole")
    if ends.start() + 1 != last:
        raise BadLine(
            "bad_length", head[1], f"BodyLength (9) {ends.start() + 1 - head.end()}", "do not edit FIX logs by hand"
        )
    checksum = sum(raw[:last]) % 256
    if int(ends[1]) != checksum:
        raise BadLine(
            "bad_checksum", ends[1], f"CheckSum (10) {checksum:03d}", "the message was altered: export the log again"
        )
    parser = FixParser(allow_empty_values=True)
    parser.append_buffer(raw[: ends.end()])
    message: Any = parser.get_message()
    if message is None:
        raise BadLine("undecodable", raw[:40], "TAG=VALUE fields", "export the log again")
    fields: Fields = {}
    for tag, value in message.pairs:
        fields.setdefault(int(tag), value.decode("latin-1"))
    return fields


class Sequences:
    """MsgSeqNum (34) of each session and direction (49, 56)."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._next: dict[tuple[str, str], int] = {}
        self._missing: dict[tuple[str, str], set[int]] = {}
        self._given_up = 0

    @property
    def missing(self) -> int:
        """Messages that were sent, by their numbers, and are in none of the logs, not as a resend either."""
        return self._given_up + sum(map(len, self._missing.values()))

    def take(self, where: Where, fields: Fields) -> bool:
        """Is the message new? A resend (43=Y) of one that was seen is left out. BadLine: out of order. A gap is refused
        as a finding of its own, and the message is taken; ``missing`` counts what never came."""
        key = (fields.get(49, ""), fields.get(56, ""))
        text = fields.get(34, "")
        if not text.isdigit():
            raise BadLine("missing_field", text, "MsgSeqNum (34)")
        number, expected = int(text), self._next.get(key)
        if fields.get(35) == "A" and (fields.get(141) == "Y" or number == 1):
            expected = None
            self._given_up += len(self._missing.pop(key, ()))
        missing = self._missing.setdefault(key, set())
        if fields.get(35) == "4" and fields.get(36, "").isdigit():
            self._next[key] = int(fields[36])
            missing.difference_update(range(number, int(fields[36])))
            return True
        if expected is not None and number < expected:
            if fields.get(43) != "Y":
                raise BadLine(
                    "out_of_order", number, f"MsgSeqNum (34) {expected} or PossDupFlag (43) Y", "put the files in order"
                )
            if number in missing:
                missing.discard(number)
                return True
            self._findings.left_out["resend"] += 1
            return False
        self._next[key] = number + 1
        if expected is not None and number > expected:
            missing.update(range(expected, min(number, expected + 100_000)))
            sentence = (
                f"found MsgSeqNum (34) {number}; expected {expected}: {number - expected} messages of "
                f"{'>'.join(key)} are missing; "
                "look for them in another file"
            )
            self._findings.refuse(where, "gap", sentence)
        return True
