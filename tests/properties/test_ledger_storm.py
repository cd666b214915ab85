"""The ledger against the small model of benchmarks.ledger_storm: no unauthorised opening, and a way out of every latch.

The million is ``python -m benchmarks.ledger_storm``; here are 1,500 sequences, and the proof that the model sees a rule
that was taken away.
"""

from collections.abc import Callable

import pytest

from benchmarks.ledger_storm import Breach, storm
from halts import authority


def test_no_unauthorised_opening_and_no_latch_without_a_way_out() -> None:
    found = storm(1_500, seed=20)
    assert found["openings"] == found["authorised"] > 1_000, "what is authorised opens, nothing else does"
    assert found["refused"] > 1_000
    assert found["released"] > 1_000


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("_self_approval", lambda asked, c: ""),
        ("_involved", lambda d, s, by: ""),
        ("_cooling", lambda d, s: ""),
        ("_stale", lambda d, said: ""),
        ("_unapproved", lambda d, s, c: "nobody ever"),
        ("_single", lambda d, s: True),
    ],
)
def test_the_model_sees_a_rule_that_is_missing_or_too_strict(
    rule: str, broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, rule, broken)
    with pytest.raises((Breach, AssertionError)):
        storm(1_500, seed=20)
