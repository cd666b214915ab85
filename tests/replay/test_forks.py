"""The server that a replay's processes are forked off: what it imports is what its caller would, and only when wanted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import detectors.bank
from replay import forks

ASK = """
import sys
from multiprocessing.connection import Connection

def where(give: Connection) -> None:
    found = sys.modules.get("detectors.bank")
    give.send((found and found.__file__, "elsewhere" in sys.modules))

if __name__ == "__main__":
    from replay import forks
    context = forks.begin()
    take, give = context.Pipe(duplex=False)
    process = context.Process(target=where, args=(give,))
    process.start()
    print(*take.recv())
    process.join()
"""


def test_the_server_has_the_modules_of_its_caller(tmp_path: Path) -> None:
    script, here = tmp_path / "script" / "ask.py", tmp_path / "here"
    (here / "detectors").mkdir(parents=True)
    (here / "detectors" / "__init__.py").write_text("import elsewhere")
    (here / "elsewhere.py").write_text("")
    script.parent.mkdir()
    script.write_text(ASK)
    root = Path(detectors.bank.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.run(
        [sys.executable, str(script)], cwd=here, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.stdout.split() == [detectors.bank.__file__, "False"], run.stderr


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    found: list[bool] = []
    monkeypatch.setattr(forks, "begin", lambda: found.append(True))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    return found


@pytest.mark.parametrize(
    ("name", "size", "wanted", "early"),
    [
        ("day.parquet", forks.BYTES_MIN, None, True),
        ("day.parquet", forks.BYTES_MIN - 1, None, False),
        ("day.parquet", 10, 2, True),
        ("day.parquet", forks.BYTES_MIN, 1, False),
        ("day.ndjson", forks.BYTES_MIN, None, False),
        ("day.ndjson", 10, 4, False),
    ],
)
def test_it_begins_early_where_processes_are_likely(
    begun: list[bool], tmp_path: Path, name: str, size: int, wanted: int | None, early: bool
) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(size)
    forks.begin_early(path, wanted)
    assert bool(begun) == early


@pytest.mark.parametrize(
    ("words", "early"),
    [
        (["{log}"], True),
        (["--json", "--server", "R1", "{log}"], True),
        (["{log}", "--processes", "1"], False),
        (["{log}", "--processes=2"], False),
        (["--into-kafka", "{log}"], False),
        (["{log}", "--help"], False),
        (["{log}.ndjson"], False),
        (["x" * 5_000 + ".parquet"], False),
        ([], False),
    ],
)
def test_it_begins_by_the_command_line_where_that_is_clear(
    begun: list[bool], tmp_path: Path, words: list[str], early: bool
) -> None:
    path = tmp_path / "day.parquet"
    with path.open("wb") as file:
        file.truncate(forks.BYTES_MIN)
    forks.begin_for([word.format(log=path) for word in words])
    assert bool(begun) == early


def test_a_log_that_is_not_there_is_not_our_business(begun: list[bool], tmp_path: Path) -> None:
    forks.begin_early(tmp_path / "day.parquet", None)
    assert not begun


def test_the_environment_stays_as_it_was() -> None:
    before = dict(os.environ)
    with forks._as_here():
        assert os.environ["PYTHONSAFEPATH"] == "1"
        assert str(Path(detectors.bank.__file__).parents[1]) in os.environ["PYTHONPATH"].split(os.pathsep)
    assert dict(os.environ) == before


@pytest.mark.parametrize(("server", "said"), [(True, ""), (False, "taken apart\n")])
def test_the_server_ends_without_taking_apart_what_it_loaded(server: bool, said: str) -> None:
    """Nobody else who imports the same does."""
    environment = {**os.environ, **({forks.SERVER: "1"} if server else {})}
    script = "import atexit; atexit.register(print, 'taken apart'); import replay.ready"
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == said
