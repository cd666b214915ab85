"""Values that lie in one buffer: a sequence of bytes that makes no object for a value until somebody asks for it."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from schemas.jit import compiled, copy

Bytes = NDArray[np.uint8]
I64 = NDArray[np.int64]


class Packed(Sequence[bytes | None]):
    """Value i is ``data[starts[i] : starts[i] + lengths[i]]``; None (a tombstone, a missing key) where the length is -1.

    data: bytes. starts, lengths: (n,) int64, which the caller has checked to lie within data.
    """

    def __init__(self, data: bytes, starts: I64, lengths: I64) -> None:
        self.data = data
        self.starts = starts
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, at: int) -> bytes | None: ...
    @overload
    def __getitem__(self, at: slice) -> "Packed": ...
    def __getitem__(self, at: int | slice) -> "bytes | Packed | None":
        if isinstance(at, slice):
            return Packed(self.data, self.starts[at], self.lengths[at])
        start, length = int(self.starts[at]), int(self.lengths[at])
        return self.data[start : start + length] if length >= 0 else None

    def __iter__(self) -> Iterator[bytes | None]:
        data = self.data
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield data[start : start + length] if length >= 0 else None

    def joined(self) -> Bytes:
        """(sum of lengths,) the values one after another, in memory of their own. There must be no None among them."""
        out = np.empty(int(self.lengths.sum()), np.uint8)
        _join(np.frombuffer(self.data, np.uint8), self.starts, self.lengths, out)
        return out


@compiled
def _join(data: Bytes, starts: I64, lengths: I64, out: Bytes) -> None:
    to = 0
    for i in range(len(starts)):
        copy(out, to, data, starts[i], lengths[i])
        to += lengths[i]
