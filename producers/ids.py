"""Order, parent and execution ids as columns of bytes: ``O03K7QX-000000001234``, built without a Python loop."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from producers.codes import U32
from schemas.jit import Int, compiled

DIGITS: Final = 12
TAG_LEN: Final = 4
ID_LEN: Final = 1 + 2 + TAG_LEN + 1 + DIGITS
"""Letter, two digits of the server, run tag, dash, number: 20 of the 24 characters that an id may have."""
LETTERS: Final = (b"P", b"O", b"E")
"""Parents, orders, executions."""
_ALPHABET: Final = b"0123456789ABCDEFGHJKLMNPQRSTUVWX"


def run_tag(number: int) -> bytes:
    """Four characters (base 32) that tell the ids of one run from another's, e.g. ``run_tag(start_ns // S_NS)``."""
    return bytes(_ALPHABET[(number >> shift) & 31] for shift in (15, 10, 5, 0))


class Words(NamedTuple):
    """What ids are put together from, as 32-bit words. heads: (letters, 100, 2) by letter (in the order of LETTERS) and
    server; quads: (10_000,) four digits."""

    heads: U32
    quads: U32


class IdFormat:
    """Formats ids of one run. ``tag``: exactly four ASCII characters."""

    def __init__(self, tag: bytes) -> None:
        if len(tag) != TAG_LEN:
            raise ValueError(
                f"run tag {tag!r} has {len(tag)} characters, expected {TAG_LEN}; use producers.ids.run_tag"
            )
        quads = np.char.zfill(np.arange(10_000).astype("S4"), 4)
        self._quads = np.ascontiguousarray(quads).view("<u4")
        heads = {letter: [b"%c%02d%s-" % (letter[0], i, tag) for i in range(100)] for letter in LETTERS}
        self._heads = {letter: np.array(rows, "S8").view("u1").reshape(100, 8) for letter, rows in heads.items()}
        self.words = Words(np.stack([self._heads[letter].view("<u4") for letter in LETTERS]), self._quads)

    def __call__(self, letter: bytes, server: NDArray[Any], number: NDArray[np.int64]) -> NDArray[np.bytes_]:
        """(n,) S24 ids; a negative number gives an empty id. server: (n,) index below 100; number: (n,) below 1e12."""
        n = len(number)
        out = np.zeros((n, 24), "u1")
        out[:, 0:8] = self._heads[letter][server]
        thousands = number // 10_000  # floor_divide by a scalar is vectorised in numpy, divmod is not
        millions = thousands // 10_000
        digits = np.empty((n, 3), "u4")
        digits[:, 0] = self._quads.take(millions, mode="clip")
        digits[:, 1] = self._quads.take(thousands - millions * 10_000, mode="clip")
        digits[:, 2] = self._quads.take(number - thousands * 10_000, mode="clip")
        out[:, 8:20] = digits.view("u1").reshape(n, DIGITS)
        if n and number.min() < 0:
            out[number < 0] = 0
        return out.view("S24").reshape(n)


@compiled
def write_id(row: U32, at: int, words: Words, letter: int, server: int, number: Int) -> None:
    """One id, into the 32-bit words of ``row`` from ``at`` on; as ``IdFormat`` makes it. letter: index of LETTERS."""
    if number < 0:
        for k in range(6):
            row[at + k] = 0
        return
    thousands = number // 10_000
    millions = thousands // 10_000
    row[at], row[at + 1] = words.heads[letter, server, 0], words.heads[letter, server, 1]
    row[at + 2] = words.quads[min(millions, 9_999)]
    row[at + 3] = words.quads[thousands - millions * 10_000]
    row[at + 4] = words.quads[number - thousands * 10_000]
    row[at + 5] = 0
