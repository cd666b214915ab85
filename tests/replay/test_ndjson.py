"""Text logs: coordinates, what is refused, what is a bad line."""

import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import replay.ndjson
from replay.log import Log, LogError
from replay.ndjson import ArrivalClock, NdjsonLog
from replay.partition import partition_of
from schemas.codec import from_dicts
from schemas.events import concat
from tests.replay.conftest import T0, declared_dict, event_dicts, node_dict


def write(path: Path, lines: list[Any]) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(log: Log) -> dict[int, Any]:
    return {source.partition: concat(list(source.batches(50))) for source in log.sources()}


@pytest.mark.parametrize("name", ["log.ndjson", "log.ndjson.gz"])
@pytest.mark.parametrize("chunk", [3, 16_384])
def test_coordinates_are_those_of_a_producer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int
) -> None:
    monkeypatch.setattr(replay.ndjson, "LINES_A_CHUNK", chunk)
    dicts = event_dicts(200, servers=5)
    expected: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in dicts:
        expected[partition_of(event["server"].encode(), 8)].append(event)
    found = read(NdjsonLog(write(tmp_path / name, dicts)))
    assert found.keys() == expected.keys()
    for partition, batch in found.items():
        assert (batch.events == from_dicts(expected[partition])).all()
        assert batch.offsets.tolist() == list(range(len(expected[partition])))


def test_refused_events_keep_their_offset_and_are_counted(tmp_path: Path) -> None:
    dicts = event_dicts(6, servers=1)
    dicts[2]["qty"] = -5
    del dicts[4]["kind"]
    log = NdjsonLog(write(tmp_path / "log.ndjson", dicts))
    (batch,) = read(log).values()
    assert batch.offsets.tolist() == [0, 1, 3, 5]
    assert sum(log.findings.refused.values()) == 2
    assert log.findings.bad_lines == 0


def test_an_array_is_one_value(tmp_path: Path) -> None:
    dicts = event_dicts(5, servers=1)
    log = NdjsonLog(write(tmp_path / "log.ndjson", [dicts[0], dicts[1:4], dicts[4]]))
    (batch,) = read(log).values()
    assert batch.offsets.tolist() == [0, 1, 1, 1, 2]
    assert batch.items.tolist() == [0, 0, 1, 2, 0]


def test_nodes_and_declared_are_told_apart_and_take_offsets_of_their_own_topic(tmp_path: Path) -> None:
    dicts = event_dicts(3, servers=1)
    lines = [declared_dict("R0", T0 - 5), node_dict("R0", T0), *dicts, node_dict("R0", T0 + 10**9)]
    log = NdjsonLog(write(tmp_path / "log.ndjson", lines))
    assert [(n.topic, n.offset) for n in log.nodes()] == [("declared", 0), ("nodes", 0), ("nodes", 1)]
    (batch,) = read(log).values()
    assert batch.offsets.tolist() == [0, 1, 2]


def test_node_records_that_a_worker_would_refuse_are_refused(tmp_path: Path) -> None:
    lines = [node_dict("R0", T0), node_dict("R0", 5), node_dict("R" * 17, T0), declared_dict("R0", T0) | {"v": 2}]
    log = NdjsonLog(write(tmp_path / "log.ndjson", lines))
    assert [n.record.server for n in log.nodes()] == ["R0"]
    assert sum(log.findings.refused.values()) == 3


def test_bad_lines_are_numbered_and_take_no_offset(tmp_path: Path) -> None:
    dicts = event_dicts(3, servers=1)
    bad_node = node_dict("R0", T0) | {"flags": 7}
    lines = [dicts[0], "{oops", dicts[1], "", "42", bad_node, '{"kind":"order"}', "[]", dicts[2]]
    log = NdjsonLog(write(tmp_path / "log.ndjson", lines))
    (batch,) = read(log).values()
    assert batch.offsets.tolist() == [0, 1, 2]
    assert log.findings.bad_lines == 5
    assert [bad.number for bad in log.findings.bad_lines_first] == [2, 5, 6, 7, 8]
    assert "{oops" in log.findings.bad_lines_first[0].reason


def test_stop_on_bad_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log.ndjson", [*event_dicts(2), "{oops"])
    with pytest.raises(LogError, match=r"line 3: found '\{oops'"):
        NdjsonLog(path, stop_on_bad_line=True).sources()


@pytest.mark.parametrize("harm", ["cut", "corrupt"])
def test_harmed_gzip_gives_what_came_before_and_says_where(tmp_path: Path, harm: str) -> None:
    path = write(tmp_path / "log.ndjson.gz", event_dicts(5_000, servers=1))
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] if harm == "cut" else data[:middle] + bytes(64) + data[middle + 64 :])
    log = NdjsonLog(path)
    (batch,) = read(log).values()
    assert 0 < len(batch) < 5_000
    assert log.findings.bad_lines > 0
    (warning,) = log.findings.warnings
    assert "truncated or corrupt after line" in warning
    with pytest.raises(LogError, match="gzip"):
        NdjsonLog(path, stop_on_bad_line=True).sources()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot be read"):
        NdjsonLog(tmp_path / "none.ndjson").sources()


def test_messages_are_the_lines_in_order(tmp_path: Path) -> None:
    dicts = event_dicts(20)
    path = write(tmp_path / "log.ndjson", dicts)
    messages = list(NdjsonLog(path).messages())
    assert [m.value for m in messages] == path.read_bytes().splitlines()
    assert [m.key for m in messages] == [d["server"].encode() for d in dicts]
    assert [m.ts for m in messages] == [d["ts"] for d in dicts]


def test_events_beyond_the_budget_go_to_a_file_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicts = event_dicts(300, servers=4)
    path = write(tmp_path / "log.ndjson", dicts)
    whole = read(NdjsonLog(path))
    monkeypatch.setattr(replay.ndjson, "LINES_A_CHUNK", 16)
    monkeypatch.setattr(replay.ndjson, "Budget", lambda: replay.spool.Budget(5_000))
    log = NdjsonLog(path)
    assert any(source._file for source in log.sources())  # type: ignore[attr-defined]
    for _ in range(2):
        for partition, batch in read(log).items():
            assert (batch.events == whole[partition].events).all()
            assert np.array_equal(batch.offsets, whole[partition].offsets)


def test_one_wild_stamp_does_not_move_the_arrival_clock() -> None:
    clock = ArrivalClock()
    century = 4_000_000_000 * 10**9
    assert [clock.see(ts) for ts in (T0, T0 + 5, century, T0 + 9, "no", -1)] == [
        T0,
        T0 + 5,
        T0 + 5,
        T0 + 9,
        T0 + 9,
        T0 + 9,
    ]
    assert clock.see(T0 + 3_600 * 10**9) == T0 + 9
    assert clock.see(T0 + 3_601 * 10**9) == T0 + 3_601 * 10**9
