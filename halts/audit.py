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


def verify(values: Iterable[bytes], chain: Chain | None = None) -> Problem | None:
    """The first break of the chain in ``values`` (in log order), or None.

    chain: from where ``values`` go on; None: from the first record found (an old head may have been deleted by
    retention), which must have ``prev`` GENESIS if it is number 0. No breaks are: what a desk publishes again after a
    restart (the same bytes), and what a desk of a lower generation wrote while a higher one took over from a record of
    the chain.
    """
    generation = -1
    written: dict[int, str] = {}
    for line, value in enumerate(values):
        try:
            record = decode(value, AuditRecord)
        except (msgspec.DecodeError, ValueError) as error:
            return Problem(line, f"a value that does not decode ({error})", "an audit record")
        if record.generation < generation:
            continue
        digest = sha256(value).hexdigest()
        if chain is None:
            chain = Chain() if record.n == 0 else Chain(record.n, record.prev)
        if record.n < chain.n and record.generation > generation and written.get(record.n - 1) == record.prev:
            chain = Chain(record.n, record.prev)
        generation = record.generation
        if record.n < chain.n:
            if written.get(record.n) != digest:
                expected = f"record {chain.n}, or {record.n} as it was"
                return Problem(line, f"record {record.n} with other content", expected)
            continue
        if (record.n, record.prev) != (chain.n, chain.prev):
            return Problem(line, f"record {record.n} after {record.prev}", f"record {chain.n} after {chain.prev}")
        written[record.n] = digest
        written.pop(record.n - REPEATS_MAX, None)
        chain = Chain(record.n + 1, digest)
    return None
