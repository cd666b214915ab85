"""A replay with stage 1 in several processes is the replay in one, byte for byte; and no process is left behind."""

import doctest
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from numpy.typing import NDArray

from benchmarks.lab import flow
from halts.config import Config
from replay import processes
from replay.engines import live_engines
from replay.log import Findings, LogError, Selection
from replay.parquet import ParquetLog
from replay.processes import stage1_elsewhere, useful
from replay.runner import Observers, Result, Run
from tests.replay.test_parquet import write_parquet

CONFIG = Config()


@pytest.fixture(scope="module")
def events() -> NDArray[Any]:
    return flow.power_peg(60_000, 5)


@pytest.fixture(scope="module")
def path(events: NDArray[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("log") / "day.parquet", events, group=10_000)


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def replayed(path: Path, count: int, selection: Selection = Selection()) -> tuple[Result, int, list[bytes]]:  # noqa: B008
    log = ParquetLog(path)
    engines = live_engines(CONFIG.stage1, CONFIG.desk)
    told = [0]
    given: list[bytes] = []

    def tell(events: int) -> None:
        told[0] += events

    see = Observers(events=tell, input=lambda record: given.append(msgspec.json.encode(record)))
    if count == 1:
        return Run(log, engines, selection, see).run(), told[0], given

    def apart(on_events: Any) -> Any:
        return streams.__enter__()

    run = Run(log, engines, selection, see, elsewhere=apart)
    streams = stage1_elsewhere(log, CONFIG.stage1, selection, count, run._count)
    try:
        return run.run(), told[0], given
    finally:
        streams.__exit__(None, None, None)


def test_examples() -> None:
    assert doctest.testmod(processes).failed == 0


def test_same_in_one_and_in_several(path: Path) -> None:
    alone = replayed(path, 1)
    assert alone[0].halts
    assert alone[0].events == alone[1] == 60_000
    assert replayed(path, 2) == alone


def test_same_of_a_part(path: Path) -> None:
    part = Selection(servers=frozenset({"R1", "R2", "R5"}))
    assert replayed(path, 3, part) == replayed(path, 1, part)


def test_a_file_that_broke_off_is_said_as_in_one(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = os.urandom(400)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(data)
    for count in (1, 2):
        with pytest.raises(LogError, match=r"broken\.parquet: not a whole Parquet file"):
            replayed(broken, count)


def test_a_process_that_dies_is_an_error() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=os._exit, args=(9,))
    process.start()
    theirs.close()
    reader = processes._Reader(process, ours, lambda _: None, Findings())
    try:
        with pytest.raises(LogError, match=r"exit code 9.*--processes 1"):
            list(reader.stream())
    finally:
        reader.close()


def test_how_many_are_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ParquetLog(path)
    assert useful(log) == 1, "a small file"
    assert useful(log, 3) == 3
    assert useful(log, 100) == len(log.counts())
    assert useful(object(), 4) == 1, "no Parquet file"
    monkeypatch.setattr(processes, "ROWS_MIN", 60_000)
    assert useful(log) == min(len(os.sched_getaffinity(0)), len(log.counts()))
