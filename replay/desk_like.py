"""What stage 2 must be, to be replayed."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from schemas.records import AuditRecord, HaltRecord
from schemas.topics import Topic


class DeskOutputLike(Protocol):
    """A record for a topic, as the desk gives it."""

    @property
    def topic(self) -> Topic: ...
    @property
    def key(self) -> str: ...
    @property
    def record(self) -> Struct: ...


class DeskLike(Protocol):
    """A desk that takes inputs in (``halts.desk.Desk`` does)."""

    def step(self, inputs: Sequence[Any]) -> Sequence[DeskOutputLike]: ...
    def waiting(self) -> bool:
        """Whether a deadline (an ack that is due, say) is still open."""
        ...


class Replaceable(DeskLike, Protocol):
    """A desk that another can take over from, and that can take over (``halts.desk.Desk`` is)."""

    fenced: bool

    def snapshot(self) -> bytes: ...
    def adopt(self, records: Iterable[HaltRecord], tail: AuditRecord | None = None) -> Sequence[DeskOutputLike]: ...
