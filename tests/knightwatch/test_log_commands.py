"""replay, record, parity, score, tune and report as a user calls them: documents, exit codes, messages."""

import json
from pathlib import Path

import pytest

from knightwatch.cli import run
from knightwatch.commands.replay import time_ns
from tests.replay.conftest import event_dicts
from tests.replay.test_ndjson import write
from tests.replay.test_score import write_scenario


def test_times() -> None:
    assert time_ns(None) is None
    assert time_ns("1343827800000000001") == 1343827800000000001
    assert time_ns("2012-08-01T13:30:00Z") == 1343827800 * 10**9
    assert time_ns("2012-08-01T13:30:00.000001") == 1343827800 * 10**9 + 1000
    assert time_ns("2012-08-01T15:30:00+02:00") == 1343827800 * 10**9
    with pytest.raises(ValueError, match="time 'noon'; expected ISO 8601"):
        time_ns("noon")


def test_replay_twice_is_byte_for_byte_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = write_scenario(tmp_path / "a.parquet", "power-peg", 0.3)
    documents = []
    for name in ("one", "two"):
        assert run(["replay", str(path), "--json", "--out", str(tmp_path / name)]) == 0
        documents.append(json.loads(capsys.readouterr().out))
        documents[-1].pop("seconds")
    assert documents[0] == documents[1]
    assert documents[0]["halts"][0]["state"] == "HALTING"
    files = ("verdicts.ndjson", "halts.ndjson", "audit.ndjson")
    for name in files:
        data = (tmp_path / "one" / name).read_bytes()
        assert data
        assert data == (tmp_path / "two" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == sorted(files)


def test_bad_lines_are_told_and_may_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.ndjson", [*event_dicts(5), "{oops"])
    assert run(["replay", str(path)]) == 0
    assert "line 6: found '{oops'" in capsys.readouterr().out
    assert run(["replay", str(path), "--stop-on-bad-line"]) == 1
    assert "a.ndjson: line 6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["replay", "none.ndjson"], "none.ndjson: no such file or directory"),
        (["replay", "log.csv"], "log.csv: expected a recording"),
        (["replay", "."], "no manifest.json; expected a directory written by `knightwatch record`"),
        (["parity", "log.csv"], "log.csv: not a folder"),
        (["score", "log.csv"], "no labels; looked for"),
        (["score", "a", "b", "--labels", "c"], "--labels belongs to one log"),
        (["record", "rec", "--bootstrap", "127.0.0.1:1"], "127.0.0.1:1: no Kafka broker answers"),
        (["report", "log.csv"], "log.csv: expected a recording"),
        (["tune", "--train", "calm", "--test", "calm", "--out", "t"], "calm: in --train and in --test"),
        (["replay", "log.ndjson", "--into-kafka", "--server", "R1"], "leave them out here"),
    ],
)
def test_what_cannot_be_gets_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").touch()
    (tmp_path / "log.ndjson").touch()
    monkeypatch.setattr("streams.recorder.BOOTSTRAP_MS", 300)
    assert run(words) == 1
    told = capsys.readouterr()
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert told.out == ""


def test_score_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    incident, _ = write_scenario(tmp_path / "a.parquet", "power-peg", 0.25)
    calm, _ = write_scenario(tmp_path / "b.parquet", "calm", 0.25)
    slow = tmp_path / "slow.toml"
    slow.write_text("[stage1.conservation]\nemissions_limit = 40\n")
    words = ["score", str(incident), str(calm), "--against", str(slow)]
    assert run([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    ours, other = document["config"]["totals"], document["against"]["totals"]
    assert (ours["incidents"], ours["detected"]) == (1, 1)
    assert other["time_to_halt_ms_median"] > ours["time_to_halt_ms_median"]
    assert other["bad_orders_before_halt"] > ours["bad_orders_before_halt"]
    assert run(words) == 0
    assert "router-days without trouble" in capsys.readouterr().out


def test_tune_writes_a_file_that_validates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "--train", "power-peg:1:0.25", "--test", "power-peg:2:0.25", "--out", str(tmp_path / "t")]
    words += ["--trials", "2", "--only", "stage1.conservation.*"]
    assert run([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["trials"]) == 2
    assert set(document["logs"]) == {"power-peg:1:0.25", "power-peg:2:0.25"}
    assert document["test_base"]["totals"]["incidents"] == 1
    tuned = tmp_path / "t" / "tuned.toml"
    calm, _ = write_scenario(tmp_path / "b.parquet", "power-peg", 0.25)
    page = tmp_path / "r.html"
    again = ["report", str(calm), "--config", str(tuned), "--tuned", str(tmp_path / "t"), "--out", str(page), "--json"]
    assert run(again) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == page.stat().st_size
