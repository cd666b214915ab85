"""Chunks of bytes between two threads, first in, first out, in memory and beyond a budget in a temporary file."""

import tempfile
import threading
from collections import deque
from typing import IO, Final

MEMORY_BYTES_MAX: Final = 32 << 20
"""What one backlog keeps in memory."""


class Backlog:
    """Whoever puts never waits for whoever gets. The file is begun anew whenever nothing is left in it."""

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self._left = memory_bytes_max
        self._chunks: deque[bytes | tuple[int, int]] = deque()
        """Each chunk, or its (position, bytes) in the file."""
        self._file: IO[bytes] | None = None
        self._end = 0
        self._in_file = 0
        self._changed = threading.Condition()

    def put(self, chunk: bytes) -> None:
        """Add a chunk. OSError where the disk is full."""
        with self._changed:
            if len(chunk) <= self._left:
                self._left -= len(chunk)
                self._chunks.append(chunk)
            else:
                self._chunks.append(self._write(chunk))
            self._changed.notify()

    def put_last(self, chunk: bytes) -> None:
        """Add what tells of an end: whatever the disk is like, it is kept in memory."""
        with self._changed:
            self._left -= len(chunk)
            self._chunks.append(chunk)
            self._changed.notify()

    def get(self) -> bytes:
        """Take the oldest chunk; waits for one."""
        with self._changed:
            while not self._chunks:
                self._changed.wait()
            found = self._chunks.popleft()
            if isinstance(found, tuple):
                return self._read(*found)
            self._left += len(found)
            return found

    def close(self) -> None:
        """Give the file back."""
        with self._changed:
            self._chunks.clear()
            if self._file is not None:
                self._file.close()

    def _write(self, chunk: bytes) -> tuple[int, int]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="knightwatch-backlog-")  # noqa: SIM115 - lives as long as this
        if not self._in_file:
            self._end = 0
        place = self._end, len(chunk)
        self._file.seek(self._end)
        self._file.write(chunk)
        self._end += len(chunk)
        self._in_file += 1
        return place

    def _read(self, position: int, size: int) -> bytes:
        assert self._file is not None
        self._file.seek(position)
        self._in_file -= 1
        return self._file.read(size)


__all__ = ["Backlog"]
