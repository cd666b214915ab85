import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.ids import ID_LEN, IdFormat, run_tag


@given(st.lists(st.tuples(st.integers(0, 98), st.integers(0, 10**12 - 1)), max_size=40))
def test_an_id_is_letter_server_tag_and_number(rows: list[tuple[int, int]]) -> None:
    server, number = (np.array([r[i] for r in rows], np.int64) for i in (0, 1))
    found = IdFormat(b"ABCD")(b"O", server, number).tolist()
    assert found == [b"O%02dABCD-%012d" % row for row in rows]
    assert all(len(i) == ID_LEN for i in found)


def test_a_negative_number_is_an_empty_id() -> None:
    assert IdFormat(b"ABCD")(b"E", np.array([1, 2]), np.array([-1, 7])).tolist() == [b"", b"E02ABCD-000000000007"]


def test_runs_a_second_apart_have_other_tags() -> None:
    tags = {run_tag(1_343_827_800 + s) for s in range(10_000)}
    assert len(tags) == 10_000
    assert all(len(t) == 4 for t in tags)
    with pytest.raises(ValueError, match="has 3 characters, expected 4"):
        IdFormat(b"ABC")
