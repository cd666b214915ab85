"""What stage 1 says now, in the places where it spoke on the day."""

import pytest
from msgspec.structs import replace

from replay.journal import DeskLog, Kept, Place
from replay.timeline import EXTRA, Placed, Timeline
from schemas.records import FeatureRow, Money, Source, Tick, Verdict, encode
from schemas.topics import VERDICTS


def row(offset: int, server: str = "R1") -> FeatureRow:
    return FeatureRow(server, 10 + offset, offset, {"orders": 1.0}, {}, Source("orderflow", 0, offset), money=Money())


class Recorded(DeskLog):
    """A log of these verdicts alone."""

    def __init__(self, verdicts: list[Verdict]) -> None:
        self.kept = [Kept(i, 1_000 + i, b"", encode(verdict)) for i, verdict in enumerate(verdicts)]

    def at(self, place: Place) -> Kept | None:
        return self.kept[place[1]] if place[1] < len(self.kept) else None


def timeline(recorded: list[Verdict], now: list[FeatureRow]) -> Timeline:
    stream = iter([(v.ts, 0, 0, i, v) for i, v in enumerate(now)])
    return Timeline(Recorded(recorded), {0: stream})  # type: ignore[arg-type]


def at(found: Timeline, offset: int) -> tuple[Placed, ...]:
    return found.at((VERDICTS.name, offset))


def test_unchanged_it_is_the_log_itself() -> None:
    """To the very offset, on which the ids of what the desk decides rest."""
    log: list[Verdict] = [row(1), Tick(20, 0, 3), row(2, "R1"), row(2, "R2")]
    found = timeline(log, [row(1), row(2, "R1"), row(2, "R2")])
    assert [at(found, i) for i in range(4)] == [(Placed("verdicts", 0, i, v),) for i, v in enumerate(log)]
    assert list(found.rest()) == []


def test_more_and_less_than_on_the_day() -> None:
    """More stands before the next of the partition, at places of its own; less leaves its place empty."""
    log: list[Verdict] = [row(1), row(4), row(6)]
    found = timeline(log, [row(1), row(2), row(3), row(4), row(9)])
    assert at(found, 0) == (Placed("verdicts", 0, 0, row(1)),)
    extra = (Placed("verdicts", EXTRA, 0, row(2)), Placed("verdicts", EXTRA, 1, row(3)))
    assert at(found, 1) == (*extra, Placed("verdicts", 0, 1, row(4)))
    assert at(found, 2) == ()
    assert list(found.rest()) == [Placed("verdicts", EXTRA, 2, row(9))]


def test_what_stage_1_said_again_stands_again_as_it_is_said_now() -> None:
    now = [replace(row(i), values={"orders": 7.0}) for i in (1, 2, 3)]
    found = timeline([row(1), row(2), row(1), row(2), row(3)], now)
    given = [at(found, i) for i in range(5)]
    assert [placed[0].record for placed in given] == [now[0], now[1], now[0], now[1], now[2]]
    assert [placed[0].again for placed in given] == [False, False, True, True, False]


@pytest.mark.parametrize("floor", [0, 2])
def test_a_desk_that_takes_over_reads_the_same_again(floor: int) -> None:
    log: list[Verdict] = [row(i) for i in range(5)]
    found = timeline(log, [row(0), row(2), row(3), row(3, "R9"), row(4)])
    found.read_again_from(floor, 0)
    first = [at(found, i) for i in range(5)]
    assert [at(found, i) for i in range(floor, 5)] == first[floor:]
    found.read_again_from(1 << 62, 3)
    assert [at(found, i) for i in (3, 4)] == first[3:]
