"""Which Python ``make`` takes: the fastest of those that can, and the newest of those that are alike."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "python"


@pytest.mark.parametrize(
    ("found", "taken"),
    [
        ({"python3.12": "echo 900", "python3.11": "echo 500"}, "python3.11"),
        ({"python3.12": "echo 520", "python3.11": "echo 500"}, "python3.12"),
        ({"python3.13": "exit 1", "python3.12": "echo 900"}, "python3.12"),
        ({"python3": "echo 900"}, "python3"),
        ({}, ""),
    ],
)
def test_the_fastest_that_can(tmp_path: Path, found: Mapping[str, str], taken: str) -> None:
    usable = f"{tmp_path}/$(basename $0)"
    for name, does in found.items():
        told = "exit 1" if does == "exit 1" else f"echo {usable}"
        script(tmp_path / name, f'case "$2" in *ensurepip*) {told};; *) {does};; esac')
    assert chosen(tmp_path) == (str(tmp_path / taken) if taken else "")


def test_one_that_cannot_make_an_environment_is_the_last_choice(tmp_path: Path) -> None:
    script(tmp_path / "python3.12", f"echo {tmp_path}/python3.12; exit 1")
    assert chosen(tmp_path) == f"{tmp_path}/python3.12"
    script(tmp_path / "python3.11", f'case "$2" in *ensurepip*) echo {tmp_path}/python3.11;; *) echo 900;; esac')
    assert chosen(tmp_path) == f"{tmp_path}/python3.11"


def script(place: Path, text: str) -> None:
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)


def chosen(path: Path) -> str:
    """With nothing but the commands in a folder, and those that the script needs itself."""
    for needed in ("bash", "sh", "basename"):
        if not (path / needed).exists():
            real = shutil.which(needed)
            assert real is not None
            (path / needed).symlink_to(real)
    env = {**os.environ, "PATH": str(path)}
    bash = str(path / "bash")
    return subprocess.run([bash, str(SCRIPT)], env=env, capture_output=True, text=True, check=True).stdout.strip()


def test_a_real_one_is_found() -> None:
    got = subprocess.run([str(SCRIPT)], capture_output=True, text=True, check=True).stdout.strip()
    program = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    assert subprocess.run([got, "-c", program], check=False).returncode == 0
