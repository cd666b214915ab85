"""Is what was said live what the engines say now? Byte for byte, and where not, the first difference with its event."""

from collections.abc import Callable

from halts.config import DeskConfig
from replay.journal import DeskLog
from replay.log import LogError
from replay.merge import Stage1Like
from replay.parity_desk import desk_parity
from replay.parity_report import Parity
from replay.parity_stage1 import stage1_parity
from replay.recorded import RecordedLog
from schemas.topics import ORDERFLOW, VERDICTS


def compare(
    log: RecordedLog,
    stage1: Callable[[int], Stage1Like],
    desk: DeskConfig,
    on_events: Callable[[int], None] = lambda n: None,
) -> Parity:
    """Both stages of a recorded live run against the engines as they are now, under the configuration given.

    stage1: makes the engine of a partition. LogError when the recording has no verdicts to compare with.
    """
    desk_log = DeskLog(log)
    if not desk_log.inputs[VERDICTS.name]:
        raise LogError(f"{log.path}: holds no verdicts; expected the recording of a live run with a worker in it")
    found = Parity(notes=_beginnings(log))
    found.parts += stage1_parity(log, desk_log, stage1, on_events)
    parts, notes = desk_parity(log, desk_log, desk)
    found.parts += parts
    found.notes += notes
    return found


def _beginnings(log: RecordedLog) -> list[str]:
    """Partitions whose first records are not in the recording: what the engines knew from them is missing too."""
    notes = []
    for topic in (ORDERFLOW.name, VERDICTS.name):
        for partition in log.partitions(topic):
            first = min(f.first_offset for f in log.manifest.files if (f.topic, f.partition) == (topic, partition))
            if first:
                notes.append(
                    f"{topic}-{partition} is recorded from offset {first} only; differences may come from that"
                )
    return notes
