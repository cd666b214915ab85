"""A replay with stage 1 in several processes is the replay in one, byte for byte; and no process is left behind."""

import doctest
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from benchmarks.lab import flow
from detectors.bank import Stage1
from halts.config import Config
from replay import backlog, piece, processes
from replay.engines import live_engines
from replay.log import BATCH_ROWS, LogError, Selection
from replay.merge import Stream, merged, stage1_stream
from replay.parquet import ParquetLog
from replay.processes import stage1_elsewhere, useful
from replay.runner import Observers, Result, Run
from schemas import arrow, arrow_rows
from tests.replay.test_parquet import write_parquet

CONFIG = Config()
SHM = Path("/dev/shm")


@pytest.fixture(scope="module")
def events() -> NDArray[Any]:
    return flow.power_peg(60_000, 5)


@pytest.fixture(scope="module")
def path(events: NDArray[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("log") / "day.parquet", events, group=10_000)


PATIENCE_S = 300.0
"""For what never comes; machine code that is not there yet takes a minute."""


def in_shared_memory() -> set[str]:
    """Segments that multiprocessing names; semaphores belong to others, for we have none."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(("pym-", "psm_"))} if SHM.is_dir() else set()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = in_shared_memory()
    yield
    assert multiprocessing.active_children() == []
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("replay-")] == []
    until = time.monotonic() + 10
    while in_shared_memory() - before and time.monotonic() < until:
        time.sleep(0.02)  # others on this machine use it too, for moments
    assert in_shared_memory() <= before


def replayed(
    path: Path,
    count: int,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    rows: int = BATCH_ROWS,
) -> tuple[Result, int, list[bytes]]:
    log = ParquetLog(path)
    engines = live_engines(CONFIG.stage1, CONFIG.desk)
    told = [0]
    given: list[bytes] = []

    def tell(events: int) -> None:
        told[0] += events

    see = Observers(events=tell, input=lambda record: given.append(msgspec.json.encode(record)))
    if count == 1:
        return Run(log, engines, selection, see).run(), told[0], given

    with stage1_elsewhere(log, CONFIG.stage1, selection, count, rows) as streams:
        return Run(log, engines, selection, see, elsewhere=streams).run(), told[0], given


def nobody(_: int) -> None:
    """Is told how many events were stepped."""


def test_examples() -> None:
    for module in (processes, piece, arrow_rows):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed


def test_same_in_one_and_in_several(path: Path) -> None:
    alone = replayed(path, 1)
    assert alone[0].halts
    assert alone[0].events == alone[1] == 60_000
    assert replayed(path, 2) == alone


def test_more_processes_than_partitions_that_have_events(events: NDArray[Any], tmp_path: Path) -> None:
    one = write_parquet(tmp_path / "one.parquet", events[events["server"] == b"R1"])
    assert replayed(one, 3) == replayed(one, 1)


@pytest.mark.parametrize("limit", [1, 3])
def test_servers_beyond_the_limit_are_the_same_ones(events: NDArray[Any], tmp_path: Path, limit: int) -> None:
    """All in one partition; who comes first is taken, and their names are in another order."""
    config = msgspec.structs.replace(CONFIG.stage1, servers_max=limit)
    batch = arrow.to_arrow(events)
    columns = {"partition": np.zeros(len(events), np.int32), "offset": np.arange(len(events)) + 7}
    for name, column in columns.items():
        batch = batch.append_column(name, pa.array(column))
    pq.write_table(pa.Table.from_batches([batch]), tmp_path / "a.parquet", row_group_size=9_000)

    def encoded(parts: Stream) -> list[bytes]:
        return [msgspec.json.encode(timed[4]) for part in parts for timed in part]

    def said(count: int) -> list[bytes]:
        log = ParquetLog(tmp_path / "a.parquet")
        if count == 1:
            streams = [
                stage1_stream(source, Stage1(config, "orderflow", 0), Selection(), nobody) for source in log.sources()
            ]
            return encoded(merged(streams))
        with stage1_elsewhere(log, config, Selection(), count, 1_000) as elsewhere:
            return encoded(merged(elsewhere(nobody)))

    alone = said(1)
    assert len({msgspec.json.decode(each)["server"] for each in alone}) == limit
    assert said(2) == alone


def test_same_where_servers_are_too_many_to_be_put_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece, "LANES_MAX", 3)
    assert replayed(path, 2) == replayed(path, 1)


def test_a_full_disk_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError("no space left on device")

    monkeypatch.setattr(backlog.Backlog, "put", full)
    with pytest.raises(LogError, match="temporary file, and no space left"):
        replayed(path, 2)


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


@pytest.mark.parametrize("rows", [301, 4_096])
def test_a_small_ring_and_a_file_that_is_not_in_order_of_time(
    events: NDArray[Any], tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog.Backlog.__init__, "__defaults__", (20_000,))
    by_server = tmp_path / "by-server.parquet"
    write_parquet(by_server, events[np.argsort(events["server"], kind="stable")], group=7_000)
    alone = replayed(by_server, 1)
    assert alone[0].events == 60_000
    assert replayed(by_server, 2, rows=rows) == alone


def test_what_was_refused_is_counted_once(events: NDArray[Any], tmp_path: Path) -> None:
    batch = arrow.to_arrow(events)
    reasons = pa.array(["odd" if k % 1_000 == 7 else None for k in range(len(events))], pa.string())
    pq.write_table(pa.Table.from_batches([batch.append_column("refused", reasons)]), tmp_path / "a.parquet")
    for count in (1, 3):
        log = ParquetLog(tmp_path / "a.parquet")
        with stage1_elsewhere(log, CONFIG.stage1, Selection(), count) as streams:
            assert sum(1 for stream in streams(nobody) for _ in stream)
        assert log.findings.refused == {"odd": 60}


def test_columns_of_others_are_read_the_long_way(events: NDArray[Any], tmp_path: Path) -> None:
    plain = pa.Table.from_batches([arrow.to_arrow(events[:30_000])])
    for name in arrow.DICTIONARY_COLUMNS:
        at = plain.schema.get_field_index(name)
        plain = plain.set_column(at, name, plain.column(name).cast(pa.string()))
    at = plain.schema.get_field_index("qty")
    plain = plain.set_column(at, "qty", plain.column("qty").cast(pa.int32()))
    pq.write_table(plain, tmp_path / "a.parquet", row_group_size=8_000)
    ours = write_parquet(tmp_path / "b.parquet", events[:30_000])
    assert replayed(tmp_path / "a.parquet", 2) == replayed(ours, 1)


@pytest.mark.parametrize("which", [0, 1])
def test_a_process_that_is_killed_is_an_error(path: Path, which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ParquetLog(path)
    pieces, halfway, killed = log.pieces, threading.Event(), threading.Event()

    def interrupted(*how: Any) -> Iterator[piece.Piece]:
        for k, read in enumerate(pieces(*how)):
            yield read
            if k == 100:
                halfway.set()
                assert killed.wait(PATIENCE_S)

    def replay() -> None:
        with stage1_elsewhere(log, CONFIG.stage1, Selection(), 2, 256) as streams:
            assert halfway.wait(PATIENCE_S)
            victim = sorted(multiprocessing.active_children(), key=lambda process: process.name)[which]
            victim.kill()
            killed.set()
            list(merged(streams(nobody)))

    monkeypatch.setattr(log, "pieces", interrupted)
    with pytest.raises(LogError, match=r"exit code -9.*--processes 1"):
        replay()


def test_an_error_that_is_not_the_log_is_raised(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    log = ParquetLog(path)
    monkeypatch.setattr(log, "pieces", broken)
    with (
        pytest.raises(ZeroDivisionError),
        stage1_elsewhere(log, CONFIG.stage1, Selection(), 2) as streams,
    ):
        list(merged(streams(nobody)))


def test_who_loses_interest_leaves_nothing_behind(path: Path) -> None:
    log = ParquetLog(path)
    with stage1_elsewhere(log, CONFIG.stage1, Selection(), 2, 256) as streams:
        next(streams(nobody)[0])


def of_session(session: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == session:
                found.add(int(stat.parent.name))
    return found


def has_ring(process: int) -> bool:
    """Has it mapped the memory that is shared? A process that was only just started may yet say, if its parent is killed
    now, that it was told nothing."""
    with suppress(OSError):
        return "/pym-" in Path(f"/proc/{process}/maps").read_text()
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_kill_leave_nothing_behind(path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "knightwatch", "replay", str(path), "--processes", "2", "--json"]
    run = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + PATIENCE_S
    while sum(map(has_ring, of_session(run.pid))) < 3 and time.monotonic() < until:  # itself and two processes
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    if how is signal.SIGINT:
        os.killpg(run.pid, how)  # as a terminal does
    else:
        run.kill()
    _, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode != 0
    while of_session(run.pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert of_session(run.pid) == set()
    assert b"resource_tracker" not in errors
    assert b"Traceback" not in errors


def test_how_many_are_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ParquetLog(path)
    assert useful(log) == 1, "a small file"
    assert useful(log, 3) == 3
    assert useful(log, 100) == log.partitions
    assert useful(object(), 4) == 1, "no Parquet file"
    monkeypatch.setattr(processes, "ROWS_MIN", 60_000)
    assert useful(log) == min(len(os.sched_getaffinity(0)), log.partitions)
