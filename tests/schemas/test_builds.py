"""Machine code is kept apart by everything that it was made of."""

import os
import shutil
import time
from pathlib import Path

import pytest

from schemas.builds import build_of, drop_old, folder
from schemas.jit import BUILD

PACKAGES = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "changed",
    [
        "schemas/bound.py",
        "schemas/units.py",
        "schemas/sbe/order-event.xml",
        "detectors/features.py",
        "producers/codes.py",
    ],
)
def test_a_change_anywhere_is_another_build(changed: str, tmp_path: Path) -> None:
    for name in ("schemas", "detectors", "producers"):
        shutil.copytree(PACKAGES / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert build_of(tmp_path) == build_of() == BUILD.name
    with (tmp_path / changed).open("a") as file:
        file.write("\n")
    assert build_of(tmp_path) != build_of()


def test_old_builds_are_dropped(tmp_path: Path) -> None:
    now, mine = time.time(), BUILD.name
    for name, days in (("0" * 16, 26), ("1" * 16, 10), ("2" * 16, 20), (mine, 26), ("not-a-build", 26)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code").write_text("x")
        os.utime(tmp_path / name, (now, now - days * 86_400))
    assert drop_old(tmp_path / mine) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"1" * 16, "2" * 16, mine, "not-a-build"}
    assert drop_old(tmp_path / "nowhere" / mine) == 0


def test_the_users_own_folder_goes_first(tmp_path: Path) -> None:
    assert folder(str(tmp_path)) == tmp_path / build_of()
    assert folder().parent.name == "loops"
