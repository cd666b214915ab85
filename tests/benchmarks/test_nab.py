"""The NAB runner on small made-up files in NAB's format."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nab import Scorer, read, run

WINDOW = ["2014-01-02 02:00:00.000000", "2014-01-02 04:00:00.000000"]


def make(data: Path, spike: bool = True) -> Path:
    """A category of one series: a day and a half of five-minute values with a fault in the second."""
    rng = np.random.default_rng(1)
    values = 50 + 5 * np.sin(np.arange(432) / 288 * 6.283) + rng.normal(0, 1, 432)
    if spike:
        values[315:325] += 60
    folder = data / "realMadeUp"
    folder.mkdir(parents=True)
    lines = [
        f"2014-01-{1 + i // 288:02d} {i % 288 // 12:02d}:{i % 12 * 5:02d}:00,{v:.4f}" for i, v in enumerate(values)
    ]
    (folder / "fault.csv").write_text("\n".join(["timestamp,value", *lines]) + "\n")
    return data


def test_it_writes_what_nabs_scorer_reads(tmp_path: Path) -> None:
    data, windows = make(tmp_path / "data"), tmp_path / "windows.json"
    windows.write_text(json.dumps({"realMadeUp/fault.csv": [WINDOW]}))
    command = [
        sys.executable,
        "-m",
        "benchmarks.nab",
        str(data),
        "--out",
        str(tmp_path / "out"),
        "--windows",
        str(windows),
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 432
    with (tmp_path / "out/knightwatch/realMadeUp/knightwatch_fault.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["timestamp", "value", "anomaly_score", "label"]
    assert [r["timestamp"] for r in rows] == [stamp for stamp, _ in read(data / "realMadeUp/fault.csv")]
    scores = np.array([float(r["anomaly_score"]) for r in rows])
    assert ((scores >= 0) & (scores < 1)).all()
    assert int(scores.argmax()) in range(315, 320)
    assert sum(r["label"] == "1" for r in rows) == 25


def test_no_look_ahead() -> None:
    values = np.random.default_rng(2).normal(size=400).tolist()
    first, second = Scorer(), Scorer()
    whole = [first.step(v) for v in values]
    assert [second.step(v) for v in values[:250]] == whole[:250]


@pytest.mark.parametrize("text", ["time,value\n1,2\n", "timestamp,value\n2014-01-01 00:00:00,many\n"])
def test_a_file_that_is_not_nabs_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=r"x\.csv.*expected"):
        run(tmp_path, tmp_path / "out", {})


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no CSV file"):
        run(tmp_path, tmp_path / "out", {})
