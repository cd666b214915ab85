"""Where a private key comes from: a file that only its owner can read, or the environment. It is never shown."""

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from halts.signing import BadKey, private_text, read_private

KEY_VARIABLE: Final = "KNIGHTWATCH_KEY"
"""The key itself, as PEM."""
KEY_FILE_VARIABLE: Final = "KNIGHTWATCH_KEY_FILE"
DESK_KEY_FILE_VARIABLE: Final = "KNIGHTWATCH_DESK_KEY_FILE"
"""The file of the key with which a worker signs what its desk writes."""
FOLDER_VARIABLE: Final = "KNIGHTWATCH_KEYS"
"""Folder of keys by name; else ``~/.config/knightwatch/keys``."""
MODE: Final = 0o600


def folder() -> Path:
    """Where keys are looked for by name."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else Path.home() / ".config" / "knightwatch" / "keys"


def path_of(name: str) -> Path:
    """The file of a name. ValueError for a name that is no file's."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name for a key; expected one without '/'")
    return folder() / f"{name}.pem"


def read_file(path: Path) -> Ed25519PrivateKey:
    """The key in ``path``. Raises BadKey if others can read it or it is none, OSError if it cannot be read."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise BadKey(
                f"private key {path} has mode {mode:04o}: others can read it; expected {MODE:04o}. Run 'chmod 600 {path}', "
                "and make a new key if it ever stood open"
            )
        text = file.read()
    try:
        return read_private(text)
    except BadKey as error:
        raise BadKey(f"{path}: {error}") from error


def write_file(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a new file that only its owner can read. FileExistsError if there is one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as file:
        file.write(private_text(key))


def find(path: Path | None, name: str = "") -> Ed25519PrivateKey | None:
    """The operator's key: ``path``, else the environment, else the file of ``name`` if there is one; None if nothing is
    given anywhere. Raises as ``read_file`` does."""
    if path is not None:
        return read_file(path)
    if text := os.environ.get(KEY_VARIABLE):
        return read_private(text.encode())
    if given := os.environ.get(KEY_FILE_VARIABLE):
        return read_file(Path(given))
    if not name:
        return None
    try:
        return read_file(path_of(name))
    except (FileNotFoundError, NotADirectoryError):
        return None


def desk_key(path: Path | None) -> Ed25519PrivateKey | None:
    """The key of a worker's desk: ``path``, else the file that the environment names; None if neither is given."""
    given = path or (Path(text) if (text := os.environ.get(DESK_KEY_FILE_VARIABLE)) else None)
    return read_file(given) if given is not None else None
