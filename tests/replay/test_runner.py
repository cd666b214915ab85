"""The run: one order, ticks between, and nothing that depends on how the log was cut."""

from pathlib import Path
from typing import Any

import pytest

from replay.log import Log, Selection
from replay.merge import QUIET_NS_MAX, TICK_NS, Ticker
from replay.ndjson import NdjsonLog
from replay.runner import Engines, Observers, Run
from schemas.codec import from_dicts
from schemas.records import Breach, FeatureRow, NodeSeen, Tick
from tests.replay.conftest import T0, FirstBreachDesk, declared_dict, event_dicts, node_dict
from tests.replay.test_ndjson import write
from tests.replay.test_parquet import ParquetLog, write_parquet


def result_of(log: Log, engines: Engines, **more: Any) -> Any:
    return Run(log, engines, **more).run()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    dicts = event_dicts(600, servers=5)
    nodes = [node_dict(f"R{i}", T0 + i * 10**9) for i in range(5)]
    return write(tmp_path / "log.ndjson", [declared_dict("R0", T0), *dicts[:300], *nodes, *dicts[300:]])


def test_twice_the_same(path: Path, engines: Engines) -> None:
    first, second = (result_of(NdjsonLog(path), engines) for _ in range(2))
    assert first == second
    assert first.events == 600
    assert first.verdicts["size"] > 0
    assert [h.state for h in first.halts if h.scope == "server:R0"] == ["HALTING", "HALTED"]


@pytest.mark.parametrize(("rows", "desk_inputs"), [(1, 1), (3, 2), (64, 1_000)])
def test_cutting_does_not_matter(path: Path, engines: Engines, rows: int, desk_inputs: int) -> None:
    whole = result_of(NdjsonLog(path), engines)
    assert result_of(NdjsonLog(path), engines, rows=rows, desk_inputs=desk_inputs) == whole


def test_parquet_and_text_give_the_same(tmp_path: Path, engines: Engines) -> None:
    dicts = event_dicts(400, servers=5)
    text = result_of(NdjsonLog(write(tmp_path / "a.ndjson", dicts)), engines)
    assert result_of(ParquetLog(write_parquet(tmp_path / "a.parquet", from_dicts(dicts))), engines) == text


def test_order_of_the_desk_s_inputs(path: Path, engines: Engines) -> None:
    desk = FirstBreachDesk()
    result_of(NdjsonLog(path), Engines(engines.stage1, lambda generation: desk, engines.desk_input))
    records = [given.record for given in desk.taken]
    assert [given.offset for given in desk.taken] == list(range(len(records)))
    ticks = [r.ts for r in records if isinstance(r, Tick)]
    assert ticks == list(range(ticks[0], ticks[-1] + 1, TICK_NS))
    now = 0
    for record in records:
        if isinstance(record, Tick):
            now = record.ts
        elif isinstance(record, Breach | FeatureRow):
            assert now <= record.ts < now + TICK_NS
    assert sum(isinstance(r, NodeSeen) for r in records) == 5


def test_selection(path: Path, engines: Engines) -> None:
    some = Selection(from_ns=T0 + 10**9, to_ns=T0 + 5 * 10**9, servers=frozenset({"R1", "R2"}))
    seen: list[Any] = []
    result = result_of(NdjsonLog(path), engines, selection=some, observers=Observers(input=seen.append))
    wanted = [e for e in event_dicts(600, servers=5) if T0 + 10**9 <= e["ts"] < T0 + 5 * 10**9]
    assert result.events == sum(e["server"] in ("R1", "R2") for e in wanted)
    assert {r.server for r in seen if isinstance(r, Breach | FeatureRow)} == {"R1", "R2"}


def test_symbols(path: Path, engines: Engines) -> None:
    result = result_of(NdjsonLog(path), engines, selection=Selection(symbols=frozenset({"SYM3"})))
    assert result.events == 600 / 5


def test_an_empty_log_gives_nothing(tmp_path: Path, engines: Engines) -> None:
    result = result_of(NdjsonLog(write(tmp_path / "a.ndjson", [])), engines)
    assert (result.events, result.halts, result.ticks) == (0, [], 0)


class StuckDesk(FirstBreachDesk):
    def waiting(self) -> bool:
        return True


def test_trailing_ticks_end(path: Path, engines: Engines) -> None:
    result = result_of(NdjsonLog(path), Engines(engines.stage1, lambda generation: StuckDesk(), engines.desk_input))
    assert result.warnings == ["the desk still waits for something 30 s after the end of the log"]


def test_a_gap_of_years_is_jumped_over() -> None:
    far = T0 + 10**18
    rows = [FeatureRow("R1", ts, 0, {}, {}, None) for ts in (T0 + 5, far)]  # type: ignore[arg-type]
    [got] = Ticker().between(iter([[(row.ts, 0, 0, k, row) for k, row in enumerate(rows)]]))
    ticks = [r.ts for r in got if isinstance(r, Tick)]
    assert len(ticks) == QUIET_NS_MAX // TICK_NS + 2
    assert ticks[-1] == far - far % TICK_NS
    assert [r.seq for r in got if isinstance(r, Tick)] == list(range(len(ticks)))
