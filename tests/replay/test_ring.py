"""The ring hands every row to whom it belongs, waits for nobody who is gone, and fills no slot that is being read."""

import threading
from collections.abc import Callable, Iterator
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

import pytest

from replay.log import LogError
from replay.piece import Piece, Room, batches
from replay.ring import Feed, Outlet, Ring, fed

ROWS = 4


def numbered(room: Callable[[int], Room], pieces: int, fail: BaseException | None = None) -> Iterator[Piece]:
    """Pieces of which row k has offset k; partition 0 has the first row of each, partition 1 the others."""
    for k in range(pieces):
        into = room(ROWS)
        into.offsets[:] = range(ROWS * k, ROWS * (k + 1))
        into.events["seq"], into.items[:] = into.offsets, 0
        yield Piece(into, [(0, 0, 1), (1, 1, ROWS)])
    if fail is not None:
        raise fail


class Reader:
    """A feed in a thread, and the pipes of those it feeds."""

    def __init__(self, slots: int, pieces: int, shares: list[set[int]], fail: BaseException | None = None) -> None:
        self.ring = Ring(get_context("spawn"), ROWS, slots)
        ends = [Pipe() for _ in shares]
        self.pipes: list[Connection] = [theirs for _, theirs in ends]
        feed = Feed(self.ring, [Outlet(ours, frozenset(mine)) for (ours, _), mine in zip(ends, shares, strict=True)])
        self.error: BaseException | None = None

        def run() -> None:
            try:
                feed.run(lambda room: numbered(room, pieces, fail))
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def ended(self) -> bool:
        self.thread.join(20)
        return not self.thread.is_alive()

    def offsets(self, k: int) -> Iterator[int]:
        for piece in fed(self.ring, self.pipes[k]):
            for batch in batches(piece):
                assert (batch.events["seq"] == batch.offsets).all()
                yield from batch.offsets.tolist()


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_everyone_gets_their_rows(slots: int) -> None:
    reader = Reader(slots, 50, [{0}, {1}])
    found: dict[int, list[int]] = {}

    def take(k: int) -> None:
        found[k] = list(reader.offsets(k))
        reader.pipes[k].close()

    takers = [threading.Thread(target=take, args=(k,)) for k in range(2)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(20)
    assert found[0] == list(range(0, 200, ROWS))
    assert found[1] == [k for k in range(200) if k % ROWS]
    assert reader.ended()
    assert reader.error is None


def test_a_slot_that_is_read_is_not_filled() -> None:
    reader = Reader(2, 50, [{0}, {1}])
    slow, fast = reader.offsets(0), reader.offsets(1)
    assert next(slow) == 0
    taken = [next(fast) for _ in range(6)]
    assert taken == [1, 2, 3, 5, 6, 7], "both slots"
    stopped = threading.Event()
    threading.Thread(target=lambda: (next(fast), stopped.set()), daemon=True).start()
    assert not stopped.wait(0.3), "the third piece needs the slot that the slow one looks at"
    assert next(slow) == 4
    assert stopped.wait(20)
    for pipe in reader.pipes:
        pipe.close()
    assert reader.ended()


def test_who_is_gone_is_not_waited_for() -> None:
    reader = Reader(1, 50, [{0}, {1}])
    reader.pipes[0].close()
    assert list(reader.offsets(1)) == [k for k in range(200) if k % ROWS]
    reader.pipes[1].close()
    assert reader.ended()
    assert reader.error is None


def test_reading_stops_when_nobody_is_left() -> None:
    reader = Reader(1, 10**9, [{0}, {1}])
    for pipe in reader.pipes:
        pipe.close()
    assert reader.ended()
    assert reader.error is None


def test_a_log_that_cannot_be_read_is_told_and_any_other_error_raised() -> None:
    reader = Reader(2, 3, [{0}], LogError("torn at row 12"))
    with pytest.raises(LogError, match="torn at row 12"):
        list(reader.offsets(0))
    reader.pipes[0].close()
    assert reader.ended()
    assert reader.error is None
    reader = Reader(2, 3, [{0}], ZeroDivisionError())
    with pytest.raises((EOFError, ConnectionResetError, BrokenPipeError)):
        list(reader.offsets(0))
    assert reader.ended()
    assert isinstance(reader.error, ZeroDivisionError)
