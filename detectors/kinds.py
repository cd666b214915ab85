"""Event kinds as plain numbers and as tables, for the columnar code: a look-up instead of several comparisons, and no
enum members, which numpy asks for array protocols at every comparison (1 us each, more than the comparison)."""

from typing import Final

import numpy as np

from detectors.arrays import Bools
from schemas.events import Kind

PARENT: Final = int(Kind.parent)
PARENT_DONE: Final = int(Kind.parent_done)
ORDER: Final = int(Kind.order)
REPLACE: Final = int(Kind.replace)
CANCEL: Final = int(Kind.cancel)
ACK: Final = int(Kind.ack)
FILL: Final = int(Kind.fill)
REJECTED: Final = int(Kind.rejected)


def _table(*kinds: Kind) -> Bools:
    out = np.zeros(256, np.bool_)
    out[[int(k) for k in kinds]] = True
    return out


ASKS: Final = _table(Kind.order, Kind.replace)
"""Asks the market for something: a new order or a replace."""
BY_ORIG: Final = _table(Kind.cancel, Kind.canceled)
"""Is about the order named by OrigClOrdID, where there is one."""
DEAD: Final = _table(Kind.canceled, Kind.expired, Kind.rejected)
"""Ends an order without filling it."""
GONE: Final = _table(Kind.cancel, Kind.canceled, Kind.expired, Kind.rejected)
"""After it an order's leaves are no longer counted."""
