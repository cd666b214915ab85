"""The table of rules: which breaches halt, warn, wait, or do nothing."""

import math

import pytest
from msgspec.structs import replace

from halts.config import DeskConfig, Rule, default_rules
from halts.policy import Judgement, Open, cause_of, judge, largest_money, observed
from schemas.records import Breach, FirstEvent, Money, Source
from schemas.units import MS_NS, S_NS
from tests.halts.desk_world import T0, breach

CONFIG = DeskConfig()


def seen(detector: str, *inputs: int, at: int = 0, **other: object) -> Open:
    """A statistical breach of R3 that was shown by events at these offsets (or whatever ``other`` says)."""
    fields: dict[str, object] = {"hard": False, "family": detector, "score": 2.0, "limit": 1.0} | other
    found: Open | None = None
    for offset in inputs:
        found = observed(found, breach(offset=offset, detector=detector, **fields), at)
    assert found is not None
    return found


def level(*opens: Open, at: int = 0, config: DeskConfig = CONFIG, ts: int | None = T0) -> str:
    return judge(config, opens, at, ts).level


def test_hard_halts_at_once_and_only_what_made_it_is_a_cause() -> None:
    found = judge(CONFIG, [seen("rate", 1, 2), seen("conservation", 3, hard=True)], 0, T0)
    assert (found.level, [c.detector for c in found.causes]) == ("halt", ["conservation"])


@pytest.mark.parametrize(
    ("hard", "outcome", "expected"),
    [(True, "halt", "halt"), (True, "combine", "warn"), (True, "warn", "warn"), (True, "ignore", "none"),
     (False, "halt", "halt"), (False, "combine", "warn"), (False, "warn", "warn"), (False, "ignore", "none")],
)  # fmt: skip
def test_table_is_obeyed(hard: bool, outcome: str, expected: str) -> None:
    rule = Rule(hard=outcome if hard else "ignore", statistical="ignore" if hard else outcome)  # type: ignore[arg-type]
    config = DeskConfig(rules={"rate": rule})
    assert level(seen("rate", 1, 2, hard=hard), config=config) == expected


def test_rule_of_the_detector_goes_before_that_of_its_family() -> None:
    config = DeskConfig(rules={**default_rules(), "rate_1s": Rule(statistical="ignore")})
    assert level(seen("rate_1s", 1, 2, family="rate"), config=config) == "none"
    assert level(seen("rate_5s", 1, 2, family="rate"), config=config) == "warn"


def test_independent_groups_halt_together_one_group_does_not() -> None:
    assert level(seen("rate", 1, 2), seen("crossing", 3)) == "halt"
    assert level(seen("rate", 1, 2), seen("novelty", 3), seen("divergence", 4)) == "warn"
    assert level(seen("rate", 1, 2), seen("silence", 3)) == "warn", "silence only ever warns"


def test_agreement_needs_the_window() -> None:
    near = seen("crossing", 3, ts=T0 + 30 * S_NS)
    far = seen("crossing", 3, ts=T0 + 30 * S_NS + 1)
    assert level(seen("rate", 1, 2), near) == "halt"
    assert level(seen("rate", 1, 2), far) == "warn"


def test_one_bad_tick_does_not_halt_but_waits_at_most_confirm_ms() -> None:
    one_input = (seen("rate", 7), seen("crossing", 7))
    wait = CONFIG.confirm_ms * MS_NS
    assert judge(CONFIG, one_input, 0, T0).hold_until == wait
    assert level(*one_input, at=wait - 1) == "hold"
    late = judge(CONFIG, one_input, wait, None)
    assert (late.level, late.ts_decided) == ("halt", T0 + wait), "event time, the same live and offline"
    assert level(seen("rate", 7, 8), seen("crossing", 7)) == "halt", "a second input confirms"


def test_beyond_bound_halt_alone_when_a_second_input_shows_it() -> None:
    beyond = {"score": 64.0, "bound_halt": 64.0}
    assert level(seen("rate", 1, **beyond)) == "hold"
    assert level(seen("rate", 1, 1, 1, **beyond)) == "hold", "the same input again confirms nothing"
    assert level(seen("rate", 1, 2, **beyond)) == "halt"
    assert level(seen("rate", 1, 2, score=63.9, bound_halt=64.0)) == "warn"
    assert level(seen("rate", 1, 2, score=1e9, bound_halt=0.0)) == "warn", "0 is never"
    assert level(seen("silence", 1, 2, **beyond)) == "warn", "its rule says that it only warns"


def test_score_that_fell_back_restarts_the_wait() -> None:
    above = breach(offset=1, detector="rate", family="rate", hard=False, score=70.0, bound_halt=64.0)
    below = replace(above, score=3.0, source=Source("orderflow", 3, 2))
    again = replace(above, source=Source("orderflow", 3, 3))
    found = observed(observed(observed(None, above, 0), below, 100), again, 200)
    assert (found.beyond_at, found.beyond_seen, found.opened_at) == (200, 1, 0)


def test_deciding_causes_are_in_a_fixed_order() -> None:
    rate = seen("rate", 5, 6, first_event=FirstEvent("orderflow", 3, 5, T0 + 5))
    crossing = seen("crossing", 9, first_event=FirstEvent("orderflow", 3, 2, T0 + 2))
    one, two = judge(CONFIG, [rate, crossing], 0, T0), judge(CONFIG, [crossing, rate], 0, T0)
    assert [c.detector for c in one.causes] == [c.detector for c in two.causes] == ["crossing", "rate"]
    assert one.ts_event == T0 + 2


def test_strongest_of_a_group_speaks_for_it() -> None:
    found = judge(CONFIG, [seen("rate", 1, 2), seen("novelty", 3, score=9.0), seen("crossing", 4)], 0, T0)
    assert {c.detector for c in found.causes} == {"novelty", "crossing"}


def test_money_is_not_added_up_over_detectors() -> None:
    assert largest_money([Money(5, 1, 100), Money(3, 2, 900)]) == Money(5, 2, 900)


def test_numbers_of_a_cause_survive_json() -> None:
    cause = cause_of("x", math.inf, math.nan, -math.inf, {}, FirstEvent("t", 0, 0, 0))
    assert all(math.isfinite(x) for x in (cause.score, cause.limit, cause.baseline))


def test_no_judgement_puts_off_a_hold_beyond_its_deadline() -> None:
    """Whatever repeats arrive, the deadline stays that of the first sight."""
    rate: Open | None = None
    same: Breach = breach(offset=1, detector="rate", family="rate", hard=False, score=70.0, bound_halt=64.0)
    deadlines = set()
    for at in range(0, CONFIG.confirm_ms * MS_NS, 10 * MS_NS):
        rate = observed(rate, same, at)
        found: Judgement = judge(CONFIG, [rate], at, T0)
        deadlines.add(found.hold_until)
    assert deadlines == {CONFIG.confirm_ms * MS_NS}
