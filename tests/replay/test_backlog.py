"""A backlog hands on what it was given, in order, and never makes the giver wait."""

import threading

import pytest

from replay.backlog import Backlog


@pytest.mark.parametrize("memory", [0, 5, 1_000])
def test_first_in_first_out_wherever_it_is_kept(memory: int) -> None:
    backlog = Backlog(memory)
    given = [bytes([k]) * (k % 7) for k in range(60)]
    for chunk in given[:40]:
        backlog.put(chunk)
    assert (backlog._file is None) == (memory == 1_000)
    taken = [backlog.get() for _ in range(35)]
    for chunk in given[40:]:
        backlog.put(chunk)
    taken += [backlog.get() for _ in range(25)]
    assert taken == given
    backlog.close()


def test_the_file_is_begun_anew_when_it_is_empty() -> None:
    backlog = Backlog(0)
    for _ in range(100):
        backlog.put(b"x" * 1_000)
        backlog.get()
    assert backlog._end == 1_000
    backlog.close()


def test_who_takes_waits_for_who_gives() -> None:
    backlog = Backlog()
    taken: list[bytes] = []
    taker = threading.Thread(target=lambda: taken.append(backlog.get()))
    taker.start()
    assert taken == []
    backlog.put(b"late")
    taker.join(10)
    assert taken == [b"late"]
