"""One server's consecutive events as contiguous columns, with what several detectors need worked out once.

A ``Flow`` lies within one minute of stream time, so that baselines, which change on the minute, are constants in it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, U8, U64
from detectors.intern import words
from schemas.events import Batch, Side, word_of
from schemas.jit import compiled
from schemas.records import FirstEvent, Source

_QTY, _PX, _BID, _ASK = (word_of(name) for name in ("qty", "px", "bid", "ask"))
_CODES, _SEQ = word_of("kind"), word_of("seq")
"""The first of them: the word of which kind is the lowest byte and side the next."""
_B, _S, _SS = np.uint64(Side.B), np.uint64(Side.S), np.uint64(Side.SS)


class Columns(NamedTuple):
    """(n,) what the compiled loops read of events: kind, shares, price, side (1, -1 or 0) and NBBO; prices in 1e-9."""

    kind: U8
    qty: I64
    px: I64
    sign: I64
    bid: I64
    ask: I64


class Where(NamedTuple):
    """Where events stand: (n, 28) words, (n,) stream time, offsets and items."""

    words: U64
    t: I64
    offsets: I64
    items: Any


@dataclass(slots=True)
class Flow:
    """(n,) columns of one server, log order; n >= 1. Prices in 1e-9, times in ns."""

    server: str
    topic: str
    partition: int
    events: NDArray[Any]
    words: U64
    """(n, 28) the same events as 64-bit words."""
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
            self.server, self.topic, self.partition, self.events[s], self.words[s], self.offsets[s], self.items[s],
            self.t[s], self.kind[s], self.qty[s], self.px[s], self.sign[s], self.bid[s], self.ask[s],
        )  # fmt: skip

    def ids(self, name: str) -> U64:
        """(n, w) an id column as words."""
        return words(self.events[name])

    def text(self, name: str, i: int) -> str:
        """A string field of event i."""
        return bytes(self.events[name][i]).decode("ascii", "replace")

    def source(self, i: int) -> Source:
        """Kafka coordinates of event i."""
        return Source(self.topic, self.partition, self.offsets.item(i), self.items.item(i))

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


def places(flow: Flow) -> Where:
    """Where the events of a flow stand."""
    return Where(flow.words, flow.t, flow.offsets, flow.items)


def read(flow: Flow) -> Columns:
    """What the compiled loops read of a flow."""
    return Columns(flow.kind, flow.qty, flow.px, flow.sign, flow.bid, flow.ask)


def columns(server: str, batch: Batch, words: U64, stream_time: I64) -> Flow:
    """Contiguous columns of a batch that holds one server's events; words: (n, 28) the same events."""
    n = len(words)
    signed = np.empty((5, n), np.int64)
    c = Columns(np.empty(n, np.uint8), *signed)
    split(n, words, c)
    return Flow(server, batch.topic, batch.partition, batch.events, words, batch.offsets, batch.items, stream_time, *c)


@compiled
def split(n: int, words: U64, out: Columns) -> None:
    """The columns of n events."""
    for i in range(n):
        codes = words[i, _CODES]
        out.kind[i] = codes & np.uint64(0xFF)
        side = (codes >> np.uint64(8)) & np.uint64(0xFF)
        out.qty[i] = words[i, _QTY]
        out.px[i] = words[i, _PX]
        out.sign[i] = 1 if side == _B else -1 if side in (_S, _SS) else 0
        out.bid[i] = words[i, _BID]
        out.ask[i] = words[i, _ASK]


@compiled
def settled_at(at: Where, settle_ns: int) -> int:
    """From what stream time on an id that was never seen is news, if this is the server's first flow: 0 when the log
    begins with its session, else ``settle_ns`` later, for what was sent before the log began is still being answered."""
    return int(at.t[0]) + settle_ns if at.words[0, _SEQ] > np.uint64(1) else 0
