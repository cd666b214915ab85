"""Streams that come in parts are merged into the one order of all, however they are cut."""

import heapq
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from replay.merge import Timed, merged
from schemas.records import Tick

TIMES = st.lists(st.integers(0, 30), max_size=40).map(sorted)


@given(st.lists(st.tuples(TIMES, st.lists(st.integers(0, 40), max_size=6)), max_size=5))
def test_as_one_by_one(streams: list[tuple[list[int], list[int]]]) -> None:
    whole: list[list[Timed]] = []
    parts: list[list[list[Timed]]] = []
    for partition, (times, cuts) in enumerate(streams):
        timed = [(now, 0, partition, place, Tick(now, place)) for place, now in enumerate(times)]
        whole.append(timed)
        edges = [*sorted({0, len(timed), *(cut for cut in cuts if cut < len(timed))}), len(timed)]
        parts.append([timed[a:b] for a, b in pairwise(edges)])
    assert [timed for part in merged(map(iter, parts)) for timed in part] == list(heapq.merge(*whole))
