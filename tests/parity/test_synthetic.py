"""Parity on recordings made by hand: what must be equal is, and every harm is found where it was done."""

import json
from pathlib import Path

import msgspec
import pytest

from detectors.bank import Stage1
from replay import parity_desk
from replay.engines import live_engines
from replay.parity import compare
from replay.parity_report import Parity
from replay.recorded import RecordedLog
from replay.runner import Run
from schemas.records import Breach, FeatureRow, HaltRecord, Tick
from schemas.topics import HALTS, ORDERFLOW
from tests.parity.conftest import DESK, STAGE1, Day, LiveDesk, verdict_log


def parity(path: Path) -> Parity:
    return compare(RecordedLog(path), lambda p: Stage1(STAGE1, ORDERFLOW.name, p), DESK)


def live(day: Day) -> LiveDesk:
    """One desk, one life; gates answer two verdicts later."""
    desk = LiveDesk(day)
    generation_1(desk, verdict_log())
    return desk


def generation_1(desk: LiveDesk, verdicts: list[object], generation: int = 1) -> None:
    for i, verdict in enumerate(verdicts):
        if isinstance(verdict, Tick):
            verdict = msgspec.structs.replace(verdict, generation=generation)
        desk.verdict(verdict)  # type: ignore[arg-type]
        if i % 3 == 2:
            desk.gates()


@pytest.fixture
def day(empty_day: Day) -> Day:
    live(empty_day)
    states = [json.loads(v)["state"] for k, v in empty_day.halts if k != "_heartbeat"]
    assert states[-2:] == ["HALTING", "HALTED"]
    return empty_day


def test_an_untouched_day_is_equal(day: Day, tmp_path: Path) -> None:
    found = parity(day.write(tmp_path))
    assert found.equal, found
    assert found.notes == []
    assert sum(part.compared for part in found.parts if part.name.startswith("halts")) == len(day.halts)
    assert sum(part.compared for part in found.parts if part.name.startswith("audit")) == len(day.audit)
    assert sum(part.tail + part.repeats for part in found.parts) == 0


def test_replay_along_the_timeline_is_the_day(day: Day, tmp_path: Path) -> None:
    log = RecordedLog(day.write(tmp_path))
    result = Run(log, live_engines(STAGE1, DESK)).run()
    expected = [msgspec.json.decode(v, type=HaltRecord) for k, v in day.halts if k != "_heartbeat"]
    assert result.halts == expected


def test_without_the_timeline_no_gate_answers(day: Day, tmp_path: Path) -> None:
    result = Run(RecordedLog(day.write(tmp_path)), live_engines(STAGE1, DESK), timeline=False).run()
    assert [h.scope for h in result.halts if h.state == "HALTING"][-1] == "firm"


def test_what_is_said_again_after_a_crash_is_no_difference(day: Day, tmp_path: Path) -> None:
    """Stage 1 reads again from its last state: the verdicts come a second time, from some way back."""
    own = [i for i, v in enumerate(day.verdicts) if b'"type":"tick"' not in v]
    partition = json.loads(day.verdicts[own[-1]])["source"]["partition"]
    again = [day.verdicts[i] for i in own if json.loads(day.verdicts[i])["source"]["partition"] == partition][-5:]
    day.verdicts += again
    found = parity(day.write(tmp_path))
    assert found.equal, found
    assert sum(part.repeats for part in found.parts) == 5


def test_verdicts_missing_at_the_end_are_a_tail(day: Day, tmp_path: Path) -> None:
    last = max(i for i, v in enumerate(day.verdicts) if b'"type":"row"' in v)
    cut = Day(day.orders, day.verdicts[:last], day.acks, day.halts, day.audit)
    found = parity(cut.write(tmp_path))
    stage1 = [part for part in found.parts if part.name.startswith("verdicts")]
    assert sum(part.tail for part in stage1) == 1
    assert not any(part.difference for part in stage1)


def changed(value: bytes, **fields: object) -> bytes:
    record = msgspec.json.decode(value)
    return msgspec.json.Encoder(order="deterministic").encode(record | fields)


def test_a_changed_verdict_is_shown_with_its_order_event(day: Day, tmp_path: Path) -> None:
    at = next(i for i, v in enumerate(day.verdicts) if b'"type":"breach"' in v)
    day.verdicts[at] = changed(day.verdicts[at], score=0.125)
    found = parity(day.write(tmp_path))
    assert not found.equal
    difference = next(p.difference for p in found.parts if p.difference and p.name.startswith("verdicts"))
    assert difference.offset == at
    assert "score is 0.125 live" in difference.text
    source = difference.live["source"]
    assert difference.event is not None
    assert (difference.event["kind"], difference.event["server"]) == ("order", difference.live["server"])
    assert source["offset"] == difference.replay["source"]["offset"]


@pytest.mark.parametrize("harm", ["drop", "add"])
def test_a_missing_or_extra_verdict_is_found(day: Day, tmp_path: Path, harm: str) -> None:
    at = [i for i, v in enumerate(day.verdicts) if b'"type":"row"' in v][30]
    if harm == "drop":
        del day.verdicts[at]
    else:
        day.verdicts.insert(at, changed(day.verdicts[at], frame=7))
    difference = next(p.difference for p in parity(day.write(tmp_path)).parts if p.difference)
    assert difference.topic == "verdicts"
    assert difference.event is not None


def test_a_changed_halt_is_found_with_the_input_that_caused_it(day: Day, tmp_path: Path) -> None:
    at = next(i for i, (k, v) in enumerate(day.halts) if b'"HALTING"' in v)
    day.halts[at] = (day.halts[at][0], changed(day.halts[at][1], text="all is well"))
    found = parity(day.write(tmp_path))
    difference = next(p.difference for p in found.parts if p.difference)
    assert (difference.topic, difference.offset) == (HALTS.name, at)
    assert difference.live["text"] == "all is well"
    assert difference.replay["text"] != "all is well"
    assert difference.event is not None
    assert difference.event["type"] in ("breach", "tick", "row")


def last_beat_cut(day: Day, beats: int) -> int:
    """Cut the recording of ``halts`` before its last beats; how many records are gone."""
    at = [i for i, (key, _) in enumerate(day.halts) if key == "_heartbeat"][-beats]
    gone = len(day.halts) - at
    del day.halts[at:]
    return gone


def test_a_recording_that_ends_between_inputs_and_outputs(day: Day, tmp_path: Path) -> None:
    """The replay writes what the recording was stopped before: that is said, and no difference."""
    gone = last_beat_cut(day, 2)
    found = parity(day.write(tmp_path))
    assert found.equal, found
    assert sum(part.missing for part in found.parts) == gone
    assert [note for note in found.notes if f"ends before {gone} outputs" in note]


def test_outputs_missing_long_before_the_end_are_found(
    day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same cut, with inputs that go on for longer than a desk may be behind (here: 10 ms, a record each)."""
    monkeypatch.setattr(parity_desk, "MISSING_MS_MAX", 10)
    last_beat_cut(day, 12)
    found = parity(day.write(tmp_path))
    assert not found.equal
    difference = next(part.difference for part in found.parts if part.difference)
    assert difference.live is None
    assert "did not write" in difference.text


@pytest.mark.parametrize("harm", ["drop", "add"])
def test_a_lost_or_invented_halt_is_found(day: Day, tmp_path: Path, harm: str) -> None:
    at = next(i for i, (k, v) in enumerate(day.halts) if b'"HALTED"' in v)
    if harm == "drop":
        del day.halts[at]
    else:
        day.halts.insert(at - 2, day.halts[at])
    assert not parity(day.write(tmp_path)).equal


def test_a_changed_audit_line_is_found(day: Day, tmp_path: Path) -> None:
    at = next(i for i, v in enumerate(day.audit) if b'"kind":"transition"' in v)
    day.audit[at] = changed(day.audit[at], kind="transitions")
    difference = next(p.difference for p in parity(day.write(tmp_path)).parts if p.difference)
    assert (difference.topic, difference.offset) == ("audit", at)


@pytest.mark.parametrize(("at", "unstored"), [(40, 3), (150, 0), (260, 11)])
def test_a_desk_that_died_and_was_replaced(empty_day: Day, tmp_path: Path, at: int, unstored: int) -> None:
    """The new one begins with a state that is some inputs old, adopts what stands on halts, and reads on from there."""
    verdicts = verdict_log()
    assert len(verdicts) > 300
    desk = LiveDesk(empty_day)
    generation_1(desk, verdicts[: at - unstored])
    state = desk.desk.snapshot()
    generation_1(desk, verdicts[at - unstored : at])

    desk.replaced(state, 2)
    generation_1(desk, verdicts[at:], 2)

    found = parity(empty_day.write(tmp_path))
    assert found.equal, found
    names = [part.name for part in found.parts if part.compared]
    assert "halts of desk generation 2" in names
    compared = sum(part.compared for part in found.parts if part.name.startswith("halts"))
    left = sum(part.tail for part in found.parts if part.name.startswith("halts"))
    assert compared + left == len(empty_day.halts)
    assert left <= 2


def test_only_stage_1_rows_and_breaches_are_compared(day: Day) -> None:
    kinds = {type(v) for v in verdict_log()}
    assert kinds == {Breach, FeatureRow, Tick}
