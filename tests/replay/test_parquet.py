"""One Parquet file as a log: the same coordinates as the text log, whatever the reading order."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.log import LogError
from replay.ndjson import NdjsonLog
from replay.parquet import ParquetLog, log_stem
from schemas import arrow
from schemas.codec import from_dicts
from schemas.events import concat
from tests.replay.conftest import T0, event_dicts, node_dict
from tests.replay.test_ndjson import read, write


def write_parquet(path: Path, events: Any, group: int = 64) -> Path:
    with pq.ParquetWriter(path, arrow.schema(), **arrow.parquet_options()) as writer:
        for start in range(0, len(events), group):
            writer.write_batch(arrow.to_arrow(events[start : start + group]))
    return path


def test_same_as_the_text_log(tmp_path: Path) -> None:
    dicts = event_dicts(500, servers=6)
    text = read(NdjsonLog(write(tmp_path / "a.ndjson", dicts)))
    columns = read(ParquetLog(write_parquet(tmp_path / "a.parquet", from_dicts(dicts))))
    assert text.keys() == columns.keys()
    for partition, batch in columns.items():
        assert (batch.events == text[partition].events).all()
        assert np.array_equal(batch.offsets, text[partition].offsets)


@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_partitions_may_be_read_in_any_interleaving(tmp_path: Path, orders: Callable[..., Any], rows: int) -> None:
    path = write_parquet(tmp_path / "a.parquet", orders(400, servers=6))
    expected = read(ParquetLog(path))
    sources = ParquetLog(path).sources()
    rng = np.random.default_rng(3)
    readers = {s.partition: s.batches(rows) for s in sources}
    found: dict[int, list[Any]] = {s.partition: [] for s in sources}
    while readers:
        partition = int(rng.choice(sorted(readers)))
        batch = next(readers[partition], None)
        if batch is None:
            del readers[partition]
        else:
            found[partition].append(batch)
    for partition, batches in found.items():
        assert (concat(batches).events == expected[partition].events).all()
        assert np.array_equal(concat(batches).offsets, expected[partition].offsets)


def test_reading_our_own_file_does_not_load_pandas(tmp_path: Path, orders: Callable[..., Any]) -> None:
    path = write_parquet(tmp_path / "a.parquet", orders(400, servers=6))
    told = (
        "import sys; from pathlib import Path; from replay.parquet import ParquetLog;"
        "log = ParquetLog(Path(sys.argv[1])); found = [s for source in log.sources() for s in source.batches()];"
        "print(sum(map(len, found)), 'pandas' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", told, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["400", "False"], run.stderr


@pytest.mark.parametrize("wrong", [-1, 2**31 - 1, None])
def test_a_partition_that_cannot_be_is_named(tmp_path: Path, orders: Callable[..., Any], wrong: int | None) -> None:
    table = pa.Table.from_batches([arrow.to_arrow(orders(40))])
    table = table.append_column("partition", pa.array([0] * 39 + [wrong], pa.int32()))
    pq.write_table(table.append_column("offset", pa.array(range(40), pa.int64())), tmp_path / "a.parquet")
    with pytest.raises(LogError, match=r"a\.parquet: partition .* expected 0 to 65535"):
        ParquetLog(tmp_path / "a.parquet").sources()


def test_messages_decode_to_the_same_rows(tmp_path: Path, orders: Callable[..., Any]) -> None:
    events = orders(90)
    messages = list(ParquetLog(write_parquet(tmp_path / "a.parquet", events)).messages())
    assert b"".join(m.value or b"" for m in messages) == events.tobytes()
    assert [m.ts for m in messages] == events["ts"].tolist()


def test_nodes_stand_beside_the_file(tmp_path: Path, orders: Callable[..., Any]) -> None:
    path = write_parquet(tmp_path / "a.parquet", orders(10))
    assert ParquetLog(path).nodes() == []
    write(tmp_path / "a.nodes.ndjson", [node_dict("R1", T0)])
    assert [n.record.server for n in ParquetLog(path).nodes()] == ["R1"]
    write(tmp_path / "a.nodes.ndjson", event_dicts(1))
    with pytest.raises(LogError, match="expected nodes and declared records only"):
        ParquetLog(path).nodes()


def test_stems() -> None:
    for name in ("day.ndjson", "day.ndjson.gz", "day.parquet"):
        assert log_stem(Path("x") / name) == Path("x/day")


@pytest.mark.parametrize("harm", ["cut", "corrupt", "empty", "text"])
def test_harmed_files_are_named(tmp_path: Path, orders: Callable[..., Any], harm: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", orders(5_000), group=5_000)
    data = bytearray(path.read_bytes())
    if harm == "cut":
        del data[len(data) // 2 :]
    elif harm == "corrupt":
        data[200:2_000] = bytes(1_800)
    path.write_bytes({"empty": b"", "text": b'{"kind":"order"}\n' * 9}.get(harm, bytes(data)))
    with pytest.raises(LogError, match=r"a\.parquet: not a whole Parquet file"):
        read(ParquetLog(path))


def test_another_table_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(LogError, match=r"no column ts, .*; found a; expected"):
        ParquetLog(tmp_path / "a.parquet")
