"""What a process of a replay says comes out as it was said; and the disk may be full."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.lab import flow
from detectors.bank import Stage1
from detectors.config import Stage1Config
from detectors.features import NAMES
from detectors.rows import Rows, Said, marks_of
from replay.chunks import partition_of, read, written
from replay.piece import Piece, by_server, lanes, room_of
from schemas.events import batch_of


def test_counters_hold_from_the_row_on_at_which_they_changed() -> None:
    n, names = 3, ("rate", "crossing", "novelty")
    numbers = np.arange(n * (len(NAMES) + len(names) + 3), dtype=np.float64).reshape(n, -1)
    marks = marks_of(
        *(np.array(x) for x in ([5, 7, 9], [50, 70, 90])), np.array([0, 1, 2], np.int32), *(np.arange(n),) * 2
    )
    counters = [(0, {"events": 0, "late": 1}), (2, {"events": 0, "late": 4})]
    rows = Rows("R1", "orderflow", 3, names, numbers.tobytes(), marks, counters)
    places, _, records = zip(*rows.placed(), strict=True)
    assert places == (5, 7, 9)
    assert [record.counters for record in records] == [{"events": k, "late": late} for k, late in enumerate((1, 1, 4))]
    assert [(record.source.offset, record.source.item, record.frame) for record in records] == [
        (50, 0, 0), (70, 1, 1), (90, 2, 2),
    ]  # fmt: skip
    last = numbers[2].tolist()
    assert list(records[2].values.items()) == list(zip(NAMES, last, strict=False))
    assert list(records[2].scores.items()) == list(zip(names, last[len(NAMES) :], strict=False))
    money = records[2].money
    assert [money.loss_usd, money.loss_usd_per_s, money.gross_usd] == last[-3:]


@pytest.fixture(scope="module")
def events() -> NDArray[Any]:
    return flow.power_peg(20_000, 5)


def test_servers_one_after_the_other_say_what_they_say_together(events: NDArray[Any]) -> None:
    """Of one partition: dealt out by server beforehand, in pieces, and sent."""
    batch = batch_of(events, partition=2)
    wanted = Stage1(Stage1Config(), "orderflow", 2).step(batch)
    words, which = np.unique(events["server"], return_inverse=True)
    engine = Stage1(Stage1Config(), "orderflow", 2)
    said = []
    for start in range(0, len(events), 3_000):
        part = batch[start : start + 3_000]
        mine = which[start : start + 3_000].astype(np.int32)
        at, cuts = by_server(np.full(len(part), 2), (mine, len(words)))
        assert [cut[0] for cut in cuts] == [2] * len(cuts)
        assert len(cuts) > 1
        piece = Said()
        for _, a, b in cuts:
            rows = np.flatnonzero((at >= a) & (at < b))
            engine.take(part.pick(rows), rows, piece)
        said.append(piece)
    chunk = written(2, True, len(events), said)
    assert partition_of(chunk) == 2
    last, count, pieces = read(chunk)
    assert (last, count) == (True, len(events))
    assert [verdict for part in pieces for verdict in part] == wanted
    assert len(wanted) > 500


def test_too_many_servers_are_put_together_by_partition() -> None:
    where = np.array([3, 0, 3])
    at, cuts = by_server(where, (np.array([0, 1, 2], np.int32), 5_000))
    assert at.tolist() == [1, 0, 2]
    assert cuts == [(0, 0, 1), (3, 1, 3)]


def test_lanes_tell_where_their_events_stood() -> None:
    room = room_of(4)
    at, cuts = by_server(np.array([1, 1, 0, 1]), (np.array([1, 0, 0, 1], np.int32), 2))
    room.places[at] = np.arange(4)
    found = {partition: [places.tolist() for _, places in mine] for partition, mine in lanes(Piece(room, cuts)).items()}
    assert found == {0: [[2]], 1: [[1], [0, 3]]}
