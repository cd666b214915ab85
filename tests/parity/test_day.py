"""A day on which desks died is replayed as it was: desk after desk, in the epochs and at the desk times of the day."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from detectors.config import Stage1Config
from detectors.fleet.config import DriftConfig, FleetConfig
from halts.config import DeskConfig
from replay.engines import live_engines
from replay.recorded import RecordedLog
from replay.runner import Observers, Run
from schemas.records import (
    Breach,
    Declared,
    DeclaredSeen,
    FeatureRow,
    HaltRecord,
    NodeSeen,
    NodeState,
    Source,
    Tick,
    encode,
)
from schemas.topics import AUDIT, HALTS
from tests.parity.conftest import STAGE1, Day, LiveDesk, verdict_log

SERVER = "R4"
"""The one that runs away."""
DIFFERS_AT = 30
"""From this verdict on (about a second) it does not run what was declared."""


def config(grace_s: float) -> DeskConfig:
    drift = DriftConfig(grace_s=grace_s, change_grace_s=grace_s)
    return DeskConfig(fleet=FleetConfig(drift=drift))


def verdicts() -> list[object]:
    """The server differs, is halted by its first breach 5 s later, and is quiet then, for 2 s."""
    log = verdict_log()
    first = next(i for i, v in enumerate(log) if isinstance(v, Breach))
    ts = log[DIFFERS_AT].ts  # type: ignore[union-attr]
    seen = [
        DeclaredSeen(Declared(SERVER, ts, "release", "new", "c"), Source("declared", 0, 0)),
        NodeSeen(NodeState(SERVER, ts, "old", "c"), Source("nodes", 0, 0)),
    ]
    quiet = [v for v in log[first + 2 :] if isinstance(v, Tick)][:20]
    return [*log[:DIFFERS_AT], *seen, *log[DIFFERS_AT : first + 2], *quiet]


def cut(day: Day, log: Sequence[object]) -> None:
    """Leave out the orders that come after the last verdict."""
    for partition, orders in day.orders.items():
        said = [v.source for v in log if isinstance(v, Breach | FeatureRow)]
        ends = [s.offset + 1 for s in said if s.partition == partition]
        del orders[max(ends, default=0) :]


def lived(day: Day, grace_s: float, takeovers: Sequence[tuple[int, int]]) -> Day:
    """takeovers: (place at which a desk dies, inputs since its last stored state)."""
    desk, log = LiveDesk(day, config(grace_s)), verdicts()
    cut(day, log)
    ends = [0, *(at for at, _ in takeovers), len(log)]
    for generation, (begin, end) in enumerate(pairwise(ends), 1):
        unstored = takeovers[generation - 1][1] if generation <= len(takeovers) else 0
        for i in range(begin, end):
            if i == end - unstored:
                state = desk.desk.snapshot()
            verdict = log[i]
            if isinstance(verdict, Tick):
                verdict = replace(verdict, generation=generation)
            desk.verdict(verdict)  # type: ignore[arg-type]
            if i % 3 == 2:
                desk.gates()
        if generation <= len(takeovers):
            desk.replaced(state if unstored else desk.desk.snapshot(), generation + 1)
    return day


def replayed(path: Path, grace_s: float, stage1: Stage1Config = STAGE1) -> dict[str, list[bytes]]:
    """Topic -> all that the desks say."""
    said: dict[str, list[bytes]] = {HALTS.name: [], AUDIT.name: []}
    observers = Observers(output=lambda output: said[output.topic.name].append(encode(output.record)))
    Run(RecordedLog(path), live_engines(stage1, config(grace_s)), observers=observers).run()
    return said


def moves(said: Sequence[bytes]) -> list[tuple[str, str, int]]:
    heads = [msgspec.json.decode(value) for value in said]
    halts = [msgspec.convert(head, HaltRecord) for head in heads if "halt_id" in head]
    return [(h.scope, h.state, h.epoch) for h in halts]


def test_time_that_no_desk_counted_does_not_pass_in_a_replay(empty_day: Day, tmp_path: Path) -> None:
    """The desk that took over began 1.5 s back, and waits that much longer for the node to be repaired: the halt comes
    first. One desk all day warns before it, numbers the halt 2, gets no ack that fits, and halts the firm."""
    lived(empty_day, 4.6, [(150, 50)])
    assert moves([v for _, v in empty_day.halts]) == [("server:R4", "HALTING", 1), ("server:R4", "HALTED", 2)]
    said = replayed(empty_day.write(tmp_path), 4.6)
    assert said[HALTS.name] == [value for _, value in empty_day.halts]
    assert said[AUDIT.name] == empty_day.audit


@pytest.mark.parametrize(
    "takeovers",
    [
        [],
        [(70, 0)],
        [(70, 41), (90, 7)],
        [(111, 64), (180, 33), (214, 20)],
        [(226, 5)],
        [(227, 3), (232, 2)],
        [(236, 14)],
    ],
)
def test_every_record_of_the_day_comes_out_again(
    empty_day: Day, tmp_path: Path, takeovers: list[tuple[int, int]]
) -> None:
    """Wherever desks died: before the warning, between warning and halt, before and after the acks."""
    lived(empty_day, 2.0, takeovers)
    states = {state for _, state, _ in moves([v for _, v in empty_day.halts])}
    assert states == {"WARNED", "HALTING", "HALTED"}
    said = replayed(empty_day.write(tmp_path), 2.0)
    assert said[HALTS.name] == [value for _, value in empty_day.halts]
    assert said[AUDIT.name] == empty_day.audit


@pytest.mark.parametrize("takeovers", [[], [(150, 50)]])
def test_in_a_what_if_the_gates_answer_the_same_halt_in_its_new_epoch(
    empty_day: Day, tmp_path: Path, takeovers: list[tuple[int, int]]
) -> None:
    """A warning less before the halt, or one more: it is the same halt, and the gates confirmed it."""
    path = lived(empty_day, 2.0, takeovers).write(tmp_path)
    warned = [("server:R4", "WARNED", 1), ("server:R4", "HALTING", 2), ("server:R4", "HALTED", 3)]
    unwarned = [("server:R4", "HALTING", 1), ("server:R4", "HALTED", 2)]
    assert moves([v for _, v in empty_day.halts]) == warned
    assert moves(replayed(path, 60.0)[HALTS.name]) == unwarned


def test_inputs_are_seen_once_though_desks_read_them_again(empty_day: Day, tmp_path: Path) -> None:
    path = lived(empty_day, 2.0, [(111, 64), (180, 33)]).write(tmp_path)
    log, seen = verdicts(), []
    Run(RecordedLog(path), live_engines(STAGE1, config(2.0)), observers=Observers(input=seen.append)).run()
    for kind in (Breach, FeatureRow, NodeSeen, DeclaredSeen):
        assert [r for r in seen if isinstance(r, kind)] == [v for v in log if isinstance(v, kind)]
    ticks, all_ticks = ([r.ts for r in found if isinstance(r, Tick)] for found in (seen, log))
    assert len(set(ticks)) == len(ticks)
    assert len(all_ticks) - 6 <= len(ticks) < len(all_ticks), "only those after a dead desk's last beat are missing"
