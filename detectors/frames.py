"""Frames that end in a flow: what their feature rows hold, worked out in one compiled loop."""

from typing import Final

import numpy as np

from detectors.arrays import I64
from detectors.features import FRAME_NS, NAMES
from detectors.onepass import DETECTORS, read_room, values_at
from detectors.totals import GROSS, PROFIT, SCALE
from schemas.bound import Memory
from schemas.jit import compiled
from schemas.units import S_NS, USD6

FEATURES: Final = len(NAMES)
SCORES: Final = FEATURES
NOVELTY: Final = FEATURES + DETECTORS
MONEY: Final = NOVELTY + 1
"""Where a row's values, scores (of the pass, in its order), novelty and money (loss, loss a second, gross) begin."""
_PER_S: Final = -float(S_NS // FRAME_NS)
_USD: Final = float(USD6)


@compiled
def _round(x: float, unit: float) -> float:
    """As ``np.round``; a negative zero becomes zero."""
    return float(np.rint(x * unit) / unit + 0.0)


@compiled
def close_frames(n: int, frame: int, room_at: Memory, last: I64, limits: I64, base: I64) -> int:
    """Frames that end in n events that have been scored: how many.

    frame: the one that was open. last: (2, d) statistics after the flow before and after this one; limits: (d,) of each;
    base: (k,) totals when the open frame began, taken on to the new one. Writes into the room, by frame that ended:
    closing, the event that ends it; frames, which it was; deltas, what its events add to the features; rows, but for
    novelty.
    """
    room = read_room(room_at)
    count = 0
    ends = np.int64((frame + 1) * FRAME_NS)
    totals, rows = room.totals, room.rows
    for i in range(n):
        if room.t[i] < ends:
            continue
        ends = (room.t[i] // FRAME_NS + 1) * FRAME_NS
        row = rows[count]
        for k in range(FEATURES):
            change = (totals[i, k] - base[k]) * SCALE[k]
            room.deltas[count, k] = change
            row[k] = _round(change, 100.0)
        if i:
            values_at(room.outs, i - 1, room.values)
        for k in range(DETECTORS):
            value = room.values[k] if i else last[0, k]
            row[SCORES + k] = _round(value / limits[k], 10_000.0)
        row[MONEY] = _round(-totals[i, PROFIT] / _USD, 100.0)
        row[MONEY + 1] = _round((totals[i, PROFIT] - base[PROFIT]) * SCALE[PROFIT] * _PER_S, 100.0)
        row[MONEY + 2] = _round(totals[i, GROSS] / _USD, 100.0)
        for k in range(len(base)):
            base[k] = totals[i, k]
        room.closing[count] = i
        room.frames[count] = room.t[i - 1] // FRAME_NS if i else frame
        count += 1
    return count
