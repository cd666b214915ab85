"""The audit chain: each record carries the SHA-256 of the bytes of the one before, so that a change is seen."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.records import AuditRecord, decode, encode

GENESIS: Final = "0" * 64
"""``prev`` of the first record."""
REPEATS_MAX: Final = 65_536
"""How far back a record may be published again."""


class Chain(Struct, frozen=True):
    """Where the chain ends: the number of the next record, and the hash it will carry."""

    n: int = 0
    prev: str = GENESIS

    def append(self, kind: str, body: dict[str, Any], generation: int) -> tuple["Chain", AuditRecord]:
        """The next record, and the chain that ends with it."""
        record = AuditRecord(n=self.n, prev=self.prev, kind=kind, body=body, generation=generation)
        return Chain(self.n + 1, sha256(encode(record)).hexdigest()), record


def after(tail: AuditRecord) -> Chain:
    """The chain that goes on from ``tail``."""
    return Chain(tail.n + 1, sha256(encode(tail)).hexdigest())


class Problem(Struct, frozen=True):
    """Where the chain is broken. ``line`` counts from 0 among the values read."""

    line: int
    found: str
    expected: str

    def __str__(self) -> str:
        return f"audit line {self.line}: found {self.found}, expected {self.expected}"


def verify(values: Iterable[bytes], chain: Chain | None = None, head: Chain | None = None) -> Problem | None:
    """The first break of the chain in ``values`` (in log order), or None.

    chain: from where ``values`` go on; None: from the first record found (an old head may have been deleted by
    retention), which must have ``prev`` GENESIS if it is number 0. head: a record that must be there, as a heartbeat
    names it: without it a cut end is not seen. No breaks are: what a desk publishes again after a restart (the same
    bytes), and what a desk of a lower generation wrote, on records that are there, while a higher one took over.
    """
    walk = _Walk(chain, head)
    for line, value in enumerate(values):
        if (problem := walk.take(line, value)) is not None:
            return problem
    return walk.end()


class _Walk:
    """Follows the chain record by record."""

    def __init__(self, chain: Chain | None, head: Chain | None) -> None:
        self._chain, self._head = chain, head
        self._generation = -1
        self._written: dict[int, str] = {}
        self._digests: dict[str, None] = {}
        self._begin = 0
        self._lines = 0

    def take(self, line: int, value: bytes) -> Problem | None:
        """What is wrong with the next value; None if nothing."""
        self._lines = line + 1
        try:
            record = decode(value, AuditRecord)
        except (msgspec.DecodeError, ValueError) as error:
            return Problem(line, f"a value that does not decode ({error})", "an audit record")
        digest = sha256(value).hexdigest()
        if record.generation < self._generation:  # a desk that was replaced, and had not yet noticed
            if record.prev not in self._digests and digest not in self._digests and record.prev != GENESIS:
                found = f"record {record.n} of generation {record.generation} after {record.prev}"
                return Problem(line, found, "one that goes on from a record of this log")
            self._remember(digest)
            return None
        chain = self._chain
        if chain is None:
            chain = Chain() if record.n == 0 else Chain(record.n, record.prev)
            self._begin = record.n
        newer = record.generation > self._generation
        if record.n < chain.n and newer and self._written.get(record.n - 1) == record.prev:
            chain = Chain(record.n, record.prev)
        self._generation = record.generation
        if record.n < chain.n:
            if self._written.get(record.n) != digest:
                return Problem(
                    line, f"record {record.n} with other content", f"record {chain.n}, or {record.n} as it was"
                )
            return None
        if (record.n, record.prev) != (chain.n, chain.prev):
            return Problem(line, f"record {record.n} after {record.prev}", f"record {chain.n} after {chain.prev}")
        self._written[record.n] = digest
        self._written.pop(record.n - REPEATS_MAX, None)
        self._remember(digest)
        self._chain = Chain(record.n + 1, digest)
        return None

    def _remember(self, digest: str) -> None:
        self._digests[digest] = None
        if len(self._digests) > REPEATS_MAX:
            del self._digests[next(iter(self._digests))]

    def end(self) -> Problem | None:
        """Is the head there?"""
        head, chain = self._head, self._chain or Chain()
        if head is None or head.n == 0 or head.n <= self._begin:
            return None
        if chain.n < head.n:
            return Problem(
                self._lines, f"the end after record {chain.n - 1}", f"record {head.n - 1}: the end was cut off"
            )
        if self._written.get(head.n - 1, head.prev) != head.prev:
            found = f"record {head.n - 1} with other content"
            return Problem(self._lines, found, f"the one of SHA-256 {head.prev}, which the desk named in a heartbeat")
        return None
