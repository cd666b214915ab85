"""What was seen lately, by hash: columns of numbers in which the latest with the same place wins, mostly empty."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import where


class Memos:
    """Named columns, zero where nothing was seen. A snapshot holds what is not zero, or a column that is a quarter full.

    columns: name -> dtype. size: places of each.
    """

    def __init__(self, columns: Mapping[str, str], size: int) -> None:
        self.columns: dict[str, NDArray[Any]] = {name: np.zeros(size, dtype) for name, dtype in columns.items()}

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot: by column, where it is not zero (None: all of it), and what stands there."""
        found = {}
        for name, column in self.columns.items():
            at = where(column)
            sparse = len(at) < len(column) // 4
            found[name] = {"at": at, "values": column[at]} if sparse else {"at": None, "values": column}
        return found

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        for name, saved in state.items():
            column = self.columns[name]
            if saved["at"] is None:
                column[:] = saved["values"]
            else:
                column[:] = 0
                column[saved["at"]] = saved["values"]
