"""The real engines behind the factories that ``build_app`` takes."""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from detectors.bank import Stage1
from detectors.config import Stage1Config
from detectors.onepass import room_of
from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from halts.gate_trust import Trust
from halts.signing import public_text, sign
from schemas.records import AuditRecord, HaltRecord, Heartbeat
from streams.desk import DeskFactory, DeskOutput
from streams.stage1 import Stage1Factory


def stage1_factory(config: Stage1Config) -> Stage1Factory:
    """Engines of ``detectors.bank``. They share a room to work in: a worker steps one at a time, in one thread."""
    room = room_of()
    return Stage1Factory(
        lambda topic, partition: Stage1(config, topic, partition, room),
        lambda state: Stage1.restore(config, state, room),
    )


def _adopt(desk: Any, records: Sequence[HaltRecord], tail: AuditRecord | None) -> Sequence[DeskOutput]:
    found: Sequence[DeskOutput] = desk.adopt(records, tail)
    return found


def desk_factory(
    config: DeskConfig, key: Ed25519PrivateKey | None = None, desk_keys: Sequence[str] = ()
) -> DeskFactory:
    """The desk of ``halts.desk``. It checks commands against ``config.operators``. key: with which halt records and
    heartbeats are signed, as they are published: what the desk decides is the same with any key, or
    none. desk_keys: further public keys of desks that it believes when it takes over (``gate.desk_keys``: a key that is
    being replaced)."""

    def seal(record: Struct) -> Struct:
        if key is None or not isinstance(record, HaltRecord | Heartbeat):
            return record
        return sign(record, key, config.audience)

    trust = None
    if key is not None:
        operators = {name: who.public_key for name, who in config.operators.items() if "halt" in who.roles}
        trust = Trust([public_text(key.public_key()), *desk_keys], operators, config.audience)
    return DeskFactory(
        lambda generation: Desk(config, generation),
        lambda state, generation: Desk.restore(config, state, generation),
        _adopt,
        DeskInput,
        seal,
        trust,
    )
