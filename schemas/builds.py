"""Where machine code is kept: a folder for each build, ``~/.cache/knightwatch/loops/BUILD``, or under ``NUMBA_CACHE_DIR``.

A build is named after all sources of the packages that have kernels, and the schema of events. numba looks only at the file
of the function that is called, and would go on running old code of what that one calls in another file, with old
constants, over memory that is laid out otherwise now (``schemas.bound``).
"""

import hashlib
import shutil
from pathlib import Path
from typing import Final

PACKAGES: Final = ("schemas", "detectors", "producers")
DIGITS: Final = 16
OLD_DAYS: Final = 14.0


def build_of(packages: Path = Path(__file__).parent.parent) -> str:
    """The name of the build whose packages stand in this folder."""
    files = [
        path for name in PACKAGES for path in sorted((packages / name).rglob("*")) if path.suffix in (".py", ".xml")
    ]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:DIGITS]


def folder(root: str = "") -> Path:
    """Of this build. root: the user's folder, if there is one."""
    return (Path(root) if root else Path("~/.cache/knightwatch/loops").expanduser()) / build_of()


def drop_old(mine: Path, days: float = OLD_DAYS) -> int:
    """Remove the folders of other builds, beside this one's, that are older than the newest by so many days (14 MB each);
    returns how many. A folder is as old as the last that was added to it."""
    ages = (
        {path: path.stat().st_mtime for path in mine.parent.iterdir() if _is_build(path)}
        if mine.parent.is_dir()
        else {}
    )
    old = [path for path, at in ages.items() if path != mine and at < max(ages.values()) - days * 86_400]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


def _is_build(path: Path) -> bool:
    return path.is_dir() and len(path.name) == DIGITS and set(path.name) <= set("0123456789abcdef")


__all__ = ["build_of", "drop_old", "folder"]
