"""The console script: every command there is, quick help, one clear line for what the user can mend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knightwatch import cli

COMMANDS = [name for commands in cli.COMMANDS.values() for name in commands]
HEAVY = (
    "faust",
    "river",
    "numpy",
    "pandas",
    "kafka",
    "aiokafka",
    "pyarrow",
    "halts",
    "detectors",
    "streams",
    "producers",
)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environment}
    command = [sys.executable, "-m", "knightwatch", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=plain)


def test_help_lists_every_command_there_is() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    missing = [name for name in COMMANDS if f" {name} " not in done.stdout]
    assert not missing, "these have no module under knightwatch.commands"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: knightwatch {name}" in done.stdout


def test_ctrl_c_before_the_command_runs_ends_without_a_traceback() -> None:
    code = """
from knightwatch import cli

def interrupted(words):
    raise KeyboardInterrupt

cli.run = interrupted
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_help_imports_nothing_heavy() -> None:
    """What makes it quick; how quick is not measured on a busy machine."""
    code = f"import sys; from knightwatch.cli import run; run(['--help']); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_only_the_command_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; from knightwatch.cli import run; run(['broker', '--help']);"
        "print([m for m in sys.modules if m.startswith('knightwatch.commands.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['knightwatch.commands.broker']"


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, "0.1.0\n")


@pytest.mark.parametrize(
    "words", [(), ("nonsense",), ("broker", "--no-such-option"), ("broker", "--port", "many"), ("replay",)]
)
def test_wrong_usage_is_2_and_says_so_on_stderr(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "Usage: knightwatch" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("broker", "--port", "70000"), "port 70000 is not a TCP port"),
        (("topics", "--bootstrap", "127.0.0.1:1", "--timeout-s", "1"), "no Kafka at 127.0.0.1:1 within 1 s"),
        (("topics", "--config", "absent.toml"), "absent.toml"),
        (("replay", "absent.ndjson"), "absent.ndjson"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_1(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run(*words, PYTHONPATH=os.getcwd())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("knightwatch: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_traceback_can_be_had() -> None:
    done = run("broker", "--port", "70000", **{cli.TRACEBACK_VARIABLE: "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "BrokerError: port 70000" in done.stderr


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from knightwatch.commands import broker

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(broker, "register", broken)
    with pytest.raises(ZeroDivisionError):
        cli.run(["broker"])
