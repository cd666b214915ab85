"""The real engines behind the factories that ``build_app`` takes."""

from collections.abc import Sequence
from typing import Any

from detectors.bank import Stage1
from detectors.config import Stage1Config
from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from schemas.records import AuditRecord, HaltRecord
from streams.desk import DeskFactory, DeskOutput
from streams.stage1 import Stage1Factory


def stage1_factory(config: Stage1Config) -> Stage1Factory:
    """Engines of ``detectors.bank``."""
    return Stage1Factory(
        lambda topic, partition: Stage1(config, topic, partition), lambda state: Stage1.restore(config, state)
    )


def _adopt(desk: Any, records: Sequence[HaltRecord], tail: AuditRecord | None) -> Sequence[DeskOutput]:
    found: Sequence[DeskOutput] = desk.adopt(records, tail)
    return found


def desk_factory(config: DeskConfig) -> DeskFactory:
    """The desk of ``halts.desk``."""
    return DeskFactory(
        lambda generation: Desk(config, generation),
        lambda state, generation: Desk.restore(config, state, generation),
        _adopt,
        DeskInput,
    )
