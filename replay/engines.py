"""The live engines, for a run."""

from detectors.config import Stage1Config
from halts.config import DeskConfig
from halts.desk import Desk, DeskInput
from replay.day import Makers
from replay.merge import Stage1Like
from replay.runner import Engines
from schemas.topics import ORDERFLOW


def live_engines(stage1: Stage1Config, desk: DeskConfig) -> Engines:
    """What a worker with this configuration runs."""
    heirs = Makers(
        new=lambda generation: Desk(desk, generation),
        restore=lambda state, generation: Desk.restore(desk, state, generation),
        wrap=DeskInput,
    )

    def engine(partition: int) -> Stage1Like:
        from detectors.bank import Stage1  # half a second, and not needed where stage 1 runs elsewhere

        return Stage1(stage1, ORDERFLOW.name, partition)

    return Engines(stage1=engine, desk=heirs.new, desk_input=heirs.wrap, heirs=heirs)
