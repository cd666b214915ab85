"""Feature rows of one server as columns, from which the records are made where they are wanted: in another process, say."""

from operator import itemgetter
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
_ORDER: Final = itemgetter(0, 1)
Placed = tuple[int, int, Breach | FeatureRow]
"""Place of the deciding event, rank among that event's verdicts, verdict."""


class Rows(Struct, array_like=True, frozen=True):
    """n rows, in the order of the events that ended their frames. Bytes are little-endian, as the machines are."""

    server: str
    topic: str
    partition: int
    scored: tuple[str, ...]
    """Names of the scores."""
    numbers: bytes
    """(n, k) float64: values by NAMES, scores, money (loss, loss a second, gross)."""
    marks: bytes
    """(n, MARKS) int64."""
    counters: list[tuple[int, dict[str, int]]]
    """(row from which on they hold, counters but for ``events``), by row."""

    def placed(self) -> list[Placed]:
        """The record of each row, and where it stands."""
        features, scored, names = len(NAMES), len(NAMES) + len(self.scored), self.scored
        numbers = np.frombuffer(self.numbers).reshape(-1, scored + _MONEY).tolist()
        marks = np.frombuffer(self.marks, np.int64).reshape(-1, MARKS).tolist()
        server, topic, partition = self.server, self.topic, self.partition
        unscored = dict.fromkeys(names, 0.0)
        out: list[Placed] = []
        changes = [*self.counters, (len(marks), {})]
        at, counters = 1, self.counters[0][1]
        for k, (row, (place, offset, item, frame, events)) in enumerate(zip(numbers, marks, strict=True)):
            if changes[at][0] == k:
                at, counters = at + 1, changes[at][1]
            values, scores = _NOTHING.copy(), unscored.copy()
            values.update(zip(NAMES, row))  # noqa: B905 - of a row, the first so many
            scores.update(zip(names, row[features:scored]))  # noqa: B905 - as many
            told = counters.copy()
            told["events"] = events
            record = FeatureRow(
                server, (frame + 1) * FRAME_NS, frame, values, scores, Source(topic, partition, offset, item),
                Money(row[-3], row[-2], row[-1]), told,
            )  # fmt: skip
            out.append((place, 0, record))
        return out


class Said(Struct, array_like=True):
    """Verdicts of events that were taken in, of one partition."""

    rows: list[Rows] = []
    breaches: list[tuple[int, int, Breach]] = []

    def placed(self) -> list[Placed]:
        """All of them, in the order of the events that decided them."""
        found: list[Placed] = [placed for rows in self.rows for placed in rows.placed()]
        found += self.breaches
        found.sort(key=_ORDER)
        return found


def marks_of(places: I64, offsets: I64, items: NDArray[np.int32], frames: I64, events: I64) -> bytes:
    """The whole numbers of n rows, (n,) each."""
    marks = np.empty((len(places), MARKS), np.int64)
    columns: tuple[NDArray[Any], ...] = (places, offsets, items, frames, events)
    for at, column in enumerate(columns):
        marks[:, at] = column
    return marks.tobytes()


__all__ = ["Rows", "Said", "marks_of"]
