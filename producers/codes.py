"""The codes of kinds, sides and flags as plain integers: what compiled loops compare with."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.events import Kind, Side

PARENT: Final = int(Kind.parent)
PARENT_DONE: Final = int(Kind.parent_done)
ORDER: Final = int(Kind.order)
REPLACE: Final = int(Kind.replace)
CANCEL: Final = int(Kind.cancel)
ACK: Final = int(Kind.ack)
FILL: Final = int(Kind.fill)
REPLACED: Final = int(Kind.replaced)
CANCELED: Final = int(Kind.canceled)
REJECTED: Final = int(Kind.rejected)
EXPIRED: Final = int(Kind.expired)
BUY: Final = int(Side.B)
SELL: Final = int(Side.S)
SHORT: Final = int(Side.SS)

BAD: Final = 1
"""Bits of ``flags`` in REC and CHILD; what they mean is said at ``tables.Flag``."""
PASSIVE: Final = 2
DUP: Final = 4
FREE: Final = 8

Rows = NDArray[Any]
"""(n,) of a structured dtype; a compiled loop reads and writes its fields row by row."""
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]
