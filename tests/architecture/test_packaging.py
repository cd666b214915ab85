"""What an installation that is not editable gets: every package, every data file, every folder the image copies."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import PurePosixPath

import pytest

from tests.architecture.test_rules import PACKAGES, ROOT, tracked

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
FILES = [PurePosixPath(p.relative_to(ROOT).as_posix()) for p in tracked("") if p.relative_to(ROOT).parts[0] in PACKAGES]


def test_every_folder_with_python_in_it_is_a_package() -> None:
    folders = {".".join(f.parent.parts) for f in FILES if f.suffix == ".py"}
    assert folders == set(SETUPTOOLS["packages"]), "tool.setuptools.packages in pyproject.toml spells them out"
    assert {f"{f.parent}/__init__.py" for f in FILES if f.suffix == ".py"} <= set(map(str, FILES))


def test_every_data_file_is_installed() -> None:
    globs: dict[str, list[str]] = SETUPTOOLS["package-data"]
    left = [
        str(f)
        for f in FILES
        if f.suffix != ".py"
        and not any(
            fnmatch(str(f), f"{package.replace('.', '/')}/{pattern.replace('**/', '')}")
            for package, patterns in globs.items()
            for pattern in patterns
        )
    ]
    assert not left, "tool.setuptools.package-data in pyproject.toml does not match these"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_image_has_it(package: str) -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(rf"^COPY {package} {package}$", text, re.MULTILINE)


def test_the_image_runs_as_nobody_in_particular_and_is_checked() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER knightwatch"]
    assert lines.index("USER knightwatch") < next(i for i, line in enumerate(lines) if line.startswith("ENTRYPOINT"))
    assert "\nHEALTHCHECK " in text
