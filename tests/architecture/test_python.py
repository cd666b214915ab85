"""Which Python ``make`` takes: the fastest of those that can, and the newest of those that are alike."""

import os
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
        ({"python3.13": "exit 1"}, ""),
    ],
)
def test_the_fastest_that_can(tmp_path: Path, found: Mapping[str, str], taken: str) -> None:
    for name, does in found.items():
        place = tmp_path / name
        place.write_text(f"#!/bin/sh\n{does}\n")
        place.chmod(0o755)
    bash = subprocess.run(["sh", "-c", "command -v bash"], capture_output=True, text=True, check=True).stdout.strip()
    for other in ("bash", "sh"):
        (tmp_path / other).symlink_to(bash)
    env = {**os.environ, "PATH": str(tmp_path)}
    got = subprocess.run([bash, str(SCRIPT)], env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert got == (str(tmp_path / taken) if taken else "")


def test_a_real_one_is_found() -> None:
    got = subprocess.run([str(SCRIPT)], capture_output=True, text=True, check=True).stdout.strip()
    program = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    assert subprocess.run([got, "-c", program], check=False).returncode == 0
