"""How the C library of this process gives memory back."""

import ctypes
import sys
from typing import Final

BLOCK_BYTES: Final = 256 * 1024
_M_MMAP_THRESHOLD: Final = -3


def give_back_large_blocks() -> bool:
    """Blocks of ``BLOCK_BYTES`` and more go back to the system when they are freed. False where the C library is not
    glibc, which alone needs to be told.

    By itself glibc raises that bound to the largest block freed so far, up to 32 MB, and takes smaller ones from a heap
    that shrinks only at its end. A worker makes and frees tens of megabytes for each snapshot: between what lives on,
    they leave holes that nothing fits into, and the process grows by the hour (mallopt(3), M_MMAP_THRESHOLD).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, BLOCK_BYTES))
