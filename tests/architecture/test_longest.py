"""The files that begin first are files that there are."""

from pathlib import Path

import pytest

from tests.longest import LONGEST


def test_every_name_is_a_file_and_none_stands_twice() -> None:
    tests = Path(__file__).parents[1]
    assert [name for name in LONGEST if not (tests / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


def test_the_longest_begin(request: pytest.FixtureRequest) -> None:
    """In the order of the session, files of the list come in its order, before all others."""
    tests = Path(__file__).parents[1]
    places = [
        LONGEST.index(n) if (n := str(i.path.relative_to(tests))) in LONGEST else len(LONGEST)
        for i in request.session.items
    ]
    assert places == sorted(places)
