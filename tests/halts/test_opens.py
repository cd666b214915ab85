"""What is open: repeats, holds, forgetting."""

from typing import Any

from msgspec.structs import replace

from halts.config import DeskConfig
from halts.opens import Opens
from schemas.records import Breach, Source
from schemas.units import MS_NS
from tests.halts.desk_world import T0, breach


def rate(offset: int, **other: Any) -> Breach:
    return breach(offset=offset, **({"detector": "rate", "family": "rate", "hard": False} | other))


def test_repeats_are_known_by_detector_and_source() -> None:
    opens = Opens(DeskConfig())
    first, later = rate(10), rate(12, state="update")
    assert not opens.is_repeat(first)
    assert opens.is_repeat(first)
    assert not opens.is_repeat(later)
    assert opens.is_repeat(first), "below the mark"
    assert not opens.is_repeat(rate(12, state="close")), "another state at the same input"
    assert not opens.is_repeat(replace(first, detector="crossing"))
    assert not opens.is_repeat(replace(first, scope="symbol:ABC"))
    assert not opens.is_repeat(replace(first, source=Source("orderflow", 4, 10)))


def test_a_topic_made_anew_does_not_silence_a_detector() -> None:
    opens = Opens(DeskConfig())
    assert not opens.is_repeat(rate(1_000_000))
    assert not opens.is_repeat(rate(5, ts=T0 + 1)), "lower offset, later event"
    assert opens.is_repeat(rate(5, ts=T0 + 1))


def test_a_closed_breach_neither_agrees_nor_waits() -> None:
    opens = Opens(DeskConfig())
    opens.take(rate(1, score=99.0, bound_halt=64.0), 0)
    assert opens.holding
    assert opens.take(rate(2, state="close"), 50) is None
    assert not opens.holding
    assert not opens.has("server:R3")
    judgement = opens.take(rate(3, detector="crossing", family="crossing"), 60)
    assert judgement is not None
    assert judgement.level == "warn"
    assert not list(opens.due(10**12))


def test_a_hold_runs_out_once() -> None:
    opens = Opens(DeskConfig(confirm_ms=200))
    opens.take(rate(1, score=99.0, bound_halt=64.0), 0)
    assert not list(opens.due(199 * MS_NS))
    found = list(opens.due(200 * MS_NS))
    assert [j.level for j in found] == ["halt"]
    assert not list(opens.due(300 * MS_NS))


def test_what_nobody_hears_of_any_more_is_forgotten() -> None:
    opens = Opens(DeskConfig(open_stale_ms=1_000))
    opens.take(rate(1), 0)
    opens.take(rate(1, server="R4", scope="server:R4"), 900 * MS_NS)
    opens.sweep(1_001 * MS_NS)
    assert (opens.has("server:R3"), opens.has("server:R4")) == (False, True)


def test_number_of_open_breaches_is_bounded() -> None:
    opens = Opens(DeskConfig(opens_max=3))
    for i in range(10):
        opens.take(rate(i, server=f"R{i}", scope=f"server:R{i}"), i)
    assert sorted(str(o["server"]) for o in opens.listed()) == ["R7", "R8", "R9"]
    opens.take(rate(20, server="R9", scope="server:R9", state="update"), 20)
    assert len(opens.listed()) == 3, "an update takes no room"
    for name in ("R7", "R8", "R9"):
        opens.take(rate(30, server=name, scope=f"server:{name}", state="close"), 30)
    assert opens.listed() == []
    opens.take(rate(40), 40)
    assert len(opens.listed()) == 1


def test_state_goes_to_plain_data_and_back() -> None:
    config = DeskConfig()
    opens = Opens(config)
    for b in (rate(1, score=99.0, bound_halt=64.0), rate(3, detector="crossing", family="crossing", scope="firm")):
        opens.is_repeat(b)
        opens.take(b, 7)
    again = Opens(config, opens.state())
    assert again.state() == opens.state()
    assert again.is_repeat(rate(1))
    assert [j.level for j in again.due(10**12)] == ["halt"]
