"""The NAB runner on small made-up files in NAB's format."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.nab import SCORERS, WARM_RECORDS, Alarms, Range, Records, read, run

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


@pytest.mark.parametrize("name", SCORERS)
def test_no_look_ahead(name: str) -> None:
    values = np.random.default_rng(2).normal(size=400).tolist()
    first, second = SCORERS[name][1](), SCORERS[name][1]()
    whole = [first.step(v) for v in values]
    assert [second.step(v) for v in values[:250]] == whole[:250]
    assert max(whole) > 0


@pytest.mark.parametrize("name", SCORERS)
def test_each_scorer_writes_under_its_own_name(tmp_path: Path, name: str) -> None:
    detector = SCORERS[name][0]
    run(make(tmp_path / "data"), tmp_path / "out", {}, name)
    with (tmp_path / f"out/{detector}/realMadeUp/{detector}_fault.csv").open() as file:
        scores = np.array([float(row["anomaly_score"]) for row in csv.DictReader(file)])
    assert int(scores.argmax()) in range(315, 325)


def play(values: list[float]) -> NDArray[np.float64]:
    scorer = Records()
    return np.array([scorer.step(v) for v in values])


def test_a_record_is_measured_in_widths_of_the_range() -> None:
    seen = Range()
    assert [seen.step(x) for x in (2.0, 2.0, 3.0, 2.5, 5.0, 5.0, 0.5)] == [0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.5]


def test_one_anomaly_is_one_alarm_until_its_rest_is_over() -> None:
    alarms = Alarms(3)
    assert [alarms.step(x) for x in (1.0, 1.0, 0.5, 3.0, 1.0, 1.0, 1.0, 1.0)] == [
        0.5,
        0.0,
        0.0,
        0.75,
        0.0,
        0.0,
        0.0,
        0.0,
    ]
    assert alarms.step(1.5) == 0.6


def test_a_level_that_moves_within_the_range_is_drift() -> None:
    scores = play([float(i % 2) for i in range(1_000)] + [1.0] * 60)
    assert not scores[WARM_RECORDS + 200 : 1_000].any()
    assert scores[1_000:].max() > 0.4


def test_records_become_rare_by_themselves() -> None:
    noise = np.random.default_rng(3).normal(size=8_000).tolist()
    scores = play(noise)
    assert (scores[4_000:] > 0).sum() <= (scores[:4_000] > 0).sum()
    assert (scores[4_000:] > 0).sum() <= 15


def test_a_value_that_never_changed_and_values_that_are_no_numbers() -> None:
    flat = play([7.0] * (WARM_RECORDS + 10) + [float("nan")] * 5 + [8.0])
    assert not flat[:-1].any()
    assert flat[-1] == 0.5, "no width: one"


@pytest.mark.parametrize("text", ["time,value\n1,2\n", "timestamp,value\n2014-01-01 00:00:00,many\n"])
def test_a_file_that_is_not_nabs_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=r"x\.csv.*expected"):
        run(tmp_path, tmp_path / "out", {})


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no CSV file"):
        run(tmp_path, tmp_path / "out", {})
