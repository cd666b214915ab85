"""The live engines, for a run."""

from detectors.bank import Stage1
from detectors.config import Stage1Config
from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from replay.day import Makers
from replay.runner import Engines
from schemas.topics import ORDERFLOW


def live_engines(stage1: Stage1Config, desk: DeskConfig) -> Engines:
    """What a worker with this configuration runs."""
    heirs = Makers(
        new=lambda generation: Desk(desk, generation),
        restore=lambda state, generation: Desk.restore(desk, state, generation),
        wrap=DeskInput,
    )
    return Engines(
        stage1=lambda partition: Stage1(stage1, ORDERFLOW.name, partition),
        desk=heirs.new,
        desk_input=heirs.wrap,
        heirs=heirs,
    )
