"""Feature rows of one server as columns, from which the records are made where they are wanted: in another process, say."""

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from detectors.arrays import I64
from detectors.features import FRAME_NS, NAMES
from schemas.records import Breach, FeatureRow, Money, Source

MARKS: Final = 5
"""Whole numbers of a row: place, offset and item of the event that ended the frame, frame, events scored before it."""
_MONEY: Final = 3
_NOTHING: Final = dict.fromkeys(NAMES, 0.0)
"""Values before they are filled in: a dict that is copied and filled in is made in two thirds of the time."""
Placed = tuple[int, int, Breach | FeatureRow]
"""Place of the deciding event, rank among that event's verdicts, verdict."""


class Rows(Struct, array_like=True, frozen=True):
    """n rows, in the order of the events that ended their frames. Bytes are little-endian, as the machines are."""

    server: str
    topic: str
    partition: int
    detectors: tuple[str, ...]
    numbers: bytes
    """(n, k) float64: values by NAMES, scores by detector, money (loss, loss a second, gross)."""
    marks: bytes
    """(n, MARKS) int64."""
    novelty: list[float]
    """Distance / bound of each."""
    counters: list[tuple[int, dict[str, int]]]
    """(row from which on they hold, counters but for ``events``), by row."""

    def records(self) -> list[tuple[int, FeatureRow]]:
        """Place and record of each row."""
        features, scored = len(NAMES), len(NAMES) + len(self.detectors)
        numbers = np.frombuffer(self.numbers).reshape(-1, scored + _MONEY).tolist()
        marks = np.frombuffer(self.marks, np.int64).reshape(-1, MARKS).tolist()
        server, topic, partition = self.server, self.topic, self.partition
        unscored = dict.fromkeys((*self.detectors, "novelty"), 0.0)
        out: list[tuple[int, FeatureRow]] = []
        changes = [*self.counters, (len(marks), {})]
        at, counters = 1, self.counters[0][1]
        for k, (row, (place, offset, item, frame, events)) in enumerate(zip(numbers, marks, strict=True)):
            if changes[at][0] == k:
                at, counters = at + 1, changes[at][1]
            values, scores = _NOTHING.copy(), unscored.copy()
            values.update(zip(NAMES, row))  # noqa: B905 - of a row, the first so many
            scores.update(zip(self.detectors, row[features:scored]))  # noqa: B905 - as many
            scores["novelty"] = self.novelty[k]
            told = counters.copy()
            told["events"] = events
            record = FeatureRow(
                server, (frame + 1) * FRAME_NS, frame, values, scores, Source(topic, partition, offset, item),
                Money(row[-3], row[-2], row[-1]), told,
            )  # fmt: skip
            out.append((place, record))
        return out


class Said(Struct, array_like=True):
    """Verdicts of events that were taken in, of one partition."""

    rows: list[Rows] = []
    breaches: list[tuple[int, int, Breach]] = []

    def placed(self) -> list[Placed]:
        """All of them, in the order of the events that decided them."""
        found: list[Placed] = [(place, 0, row) for rows in self.rows for place, row in rows.records()]
        found += self.breaches
        found.sort(key=_order)
        return found


def _order(placed: Placed) -> tuple[int, int]:
    return placed[:2]


def marks_of(places: I64, offsets: I64, items: NDArray[np.int32], frames: I64, events: I64) -> bytes:
    """The whole numbers of n rows, (n,) each."""
    marks = np.empty((len(places), MARKS), np.int64)
    columns: tuple[NDArray[Any], ...] = (places, offsets, items, frames, events)
    for at, column in enumerate(columns):
        marks[:, at] = column
    return marks.tobytes()


__all__ = ["Rows", "Said", "marks_of"]
