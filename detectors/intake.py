"""What happens to events before they are scored, in one compiled loop as long as nothing is odd: are they the expected
next ones, is stream time calm, was an execution seen before; then their columns."""

from typing import Final

import numpy as np

from detectors.arrays import I64, U64, Bools
from detectors.clock import calm, follows
from detectors.flow import Columns, split
from detectors.intern import Slots, ahead, enter
from detectors.kinds import FILL
from schemas.events import word_of
from schemas.jit import compiled

CALM, ODD, REPEATS = 0, 1, 2
"""What ``intake`` says: all taken in; something is odd and nothing was taken; executions were repeated (``once`` says
which) and only the executions were taken."""
_KIND, _EXEC = word_of("kind"), word_of("exec_id")
_BYTE: Final = np.uint64(0xFF)


@compiled
def first_executions(n: int, words: U64, execs: Slots, once: Bools) -> int:
    """once: (n,) False at fills whose ExecID was seen before; returns how many."""
    for i in range(n):
        if words[i, _KIND] & _BYTE == FILL:
            ahead(execs, words, i, _EXEC)
    repeats = 0
    for i in range(n):
        once[i] = True
        if words[i, _KIND] & _BYTE == FILL and words[i, _EXEC] != 0:
            _, new = enter(execs, words, i, _EXEC)
            if not new:
                once[i] = False
                repeats += 1
    return repeats


@compiled
def intake(
    words: U64, state: tuple[int, int, int, int], bounds: tuple[int, int, int], execs: Slots, once: Bools, t: I64,
    columns: Columns, taken: I64,
) -> int:  # fmt: skip
    """Take in n events (words) if nothing is odd with them. state: highest sequence number, newest stamp, stream time,
    shift of the clock (``detectors/clock.py``); bounds: lateness, future, end of the minute (ns). Writes stream times,
    columns, and into taken (3,) the new highest number, newest stamp and stream time."""
    highest, newest, now, shift = state
    lateness, future, end = bounds
    n = len(words)
    if highest < 0 or now == 0:
        return ODD
    in_order, newest_here = follows(words, highest)
    if not in_order or not calm(words, now, shift, (lateness, future), t) or t[n - 1] >= end:
        return ODD
    if first_executions(n, words, execs, once):
        return REPEATS
    split(n, words, columns)
    taken[0], taken[1], taken[2] = highest + n, max(newest, newest_here), t[n - 1]
    return CALM
