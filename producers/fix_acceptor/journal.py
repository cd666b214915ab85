"""What the session took, on disk before FIX counts it as taken: the state of the conversion, and every message since.

Files in the folder: ``state.json`` names the journal that follows it; ``journal-N`` holds messages, each behind its
length; ``confirmed`` says how many of them are known to be on Kafka. A process that is killed loses nothing that was
appended; a machine that loses power, what was appended since the last ``confirm`` (which syncs).
"""

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

LENGTH: Final = struct.Struct("<I")
MARK: Final = struct.Struct("<QQ")
MESSAGE_BYTES_MAX: Final = 1 << 24


class JournalError(OSError):
    """The folder cannot be used: says what was found, what was expected and what to do."""


class Saved(Struct, frozen=True):
    """``state.json``. generation: N of the journal that follows; state: of the conversion, as it wrote it."""

    generation: int
    state: msgspec.Raw
    v: int = 1


class Journal:
    """One folder, held by one process. ``count`` messages are in the present journal, ``confirmed`` of them on Kafka."""

    def __init__(self, folder: Path) -> None:
        """Raises JournalError, also when another process holds the folder."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise JournalError(
                f"{folder}: found another acceptor at work in it; expected one; stop that one or give another --store"
            ) from None
        self.count = self.confirmed = 0
        self._generation, self._file = 0, -1
        self._mark = os.open(folder / "confirmed", os.O_RDWR | os.O_CREAT, 0o600)

    def restore(self) -> tuple[bytes | None, list[bytes]]:
        """The state last saved (None: there is none) and the messages since, and goes on after them. JournalError."""
        path = self._folder / "state.json"
        if not path.exists():
            return None, []
        try:
            saved = msgspec.json.decode(path.read_bytes(), type=Saved)
        except msgspec.MsgspecError as error:
            raise JournalError(
                f"{path}: found {error}; expected the state of an acceptor; give another --store and have the counterpart "
                "resend the day"
            ) from error
        self._generation = saved.generation
        messages, size = _read(self._path())
        self._open()
        os.ftruncate(self._file, size)
        self.count = len(messages)
        mark = os.pread(self._mark, MARK.size, 0)
        if len(mark) == MARK.size and MARK.unpack(mark)[0] == self._generation:
            self.confirmed = min(MARK.unpack(mark)[1], self.count)
        return bytes(saved.state), messages

    def append(self, raw: bytes) -> None:
        """Keep one message. OSError when the disk does not take it: then it must not count as taken."""
        record = LENGTH.pack(len(raw)) + raw
        if os.write(self._file, record) != len(record):
            raise JournalError(f"{self._path()}: the disk took part of a message; expected room for it; free some")
        self.count += 1

    def confirm(self, count: int) -> None:
        """The first ``count`` messages are on Kafka."""
        os.fsync(self._file)
        os.pwrite(self._mark, MARK.pack(self._generation, count), 0)
        self.confirmed = count

    def begin(self, state: bytes) -> None:
        """Save ``state``, which all messages so far have led to, and begin a journal after it."""
        old = self._path() if self._file >= 0 else None
        self._generation += 1
        self._path().write_bytes(b"")
        partial = self._folder / ".state.json.partial"
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(Saved(self._generation, msgspec.Raw(state))))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self._folder / "state.json")
        if old:
            os.close(self._file)
            old.unlink(missing_ok=True)
        self._open()
        self.count = self.confirmed = 0

    def close(self) -> None:
        """Let the folder go."""
        for file in (self._file, self._mark, self._lock):
            if file >= 0:
                os.close(file)

    def _path(self) -> Path:
        return self._folder / f"journal-{self._generation}"

    def _open(self) -> None:
        self._file = os.open(self._path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _read(path: Path) -> tuple[list[bytes], int]:
    """Whole messages and the bytes they take: what a kill cut off in mid-message is left."""
    data = path.read_bytes() if path.exists() else b""
    messages: list[bytes] = []
    at = 0
    while at + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, at)
        end = at + LENGTH.size + length
        if length > MESSAGE_BYTES_MAX or end > len(data):
            break
        messages.append(data[at + LENGTH.size : end])
        at = end
    return messages, at
