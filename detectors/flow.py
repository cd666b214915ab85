"""One server's consecutive events as contiguous columns, with what several detectors need worked out once.

A ``Flow`` lies within one minute of stream time, so that baselines, which change on the minute, are constants in it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, U8, U64
from detectors.intern import words
from schemas.events import Batch
from schemas.records import FirstEvent, Source

_SIGN: NDArray[np.int64] = np.array([0, 1, -1, 0, 0, -1], np.int64)
"""Side code -> +1 for a buy, -1 for a sell or a short sell."""


@dataclass(slots=True)
class Flow:
    """(n,) columns of one server, log order; n >= 1. Prices in 1e-9, times in ns."""

    server: str
    topic: str
    partition: int
    events: NDArray[Any]
    offsets: I64
    items: NDArray[np.int32]
    t: I64
    """Stream time."""
    kind: U8
    qty: I64
    px: I64
    sign: I64
    bid: I64
    ask: I64

    def __len__(self) -> int:
        return len(self.t)

    def part(self, a: int, b: int) -> "Flow":
        """Events a to b."""
        s = slice(a, b)
        return Flow(
            self.server, self.topic, self.partition, self.events[s], self.offsets[s], self.items[s], self.t[s],
            self.kind[s], self.qty[s], self.px[s], self.sign[s], self.bid[s], self.ask[s],
        )  # fmt: skip

    def ids(self, name: str) -> U64:
        """(n, w) an id column as words."""
        return words(self.events[name])

    def text(self, name: str, i: int) -> str:
        """A string field of event i."""
        return bytes(self.events[name][i]).decode("ascii", "replace")

    def source(self, i: int) -> Source:
        """Kafka coordinates of event i."""
        return Source(self.topic, self.partition, int(self.offsets[i]), int(self.items[i]))

    def first_event(self, i: int) -> FirstEvent:
        """Event i as the place where trouble began."""
        return FirstEvent(
            self.topic,
            self.partition,
            int(self.offsets[i]),
            int(self.events["ts"][i]),
            self.text("cl_ord_id", i),
            int(self.items[i]),
        )


def columns(server: str, batch: Batch, stream_time: I64) -> Flow:
    """Contiguous columns of a batch that holds one server's events."""
    e = batch.events
    side = e["side"]
    return Flow(
        server, batch.topic, batch.partition, e, batch.offsets, batch.items, stream_time,
        np.ascontiguousarray(e["kind"]), np.ascontiguousarray(e["qty"]), np.ascontiguousarray(e["px"]),
        _SIGN[side], np.ascontiguousarray(e["bid"]), np.ascontiguousarray(e["ask"]),
    )  # fmt: skip
