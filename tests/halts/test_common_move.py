"""What a move of the whole fleet explains neither warns nor halts, for a bounded time; a hard invariant always does."""

from typing import Any

from detectors.fleet.bank import FleetView
from halts.config import DeskConfig
from halts.policy import Open, judge
from schemas.records import FeatureRow, FirstEvent, Money, NodeSeen, NodeState, Source
from schemas.units import MS_NS
from tests.detectors.fleet.fleet_world import NAMES, ordinary
from tests.halts.desk_world import World, breach

CONFIG = DeskConfig()
AT = 10**12


def an_open(detector: str = "rate", **other: Any) -> Open:
    fields: dict[str, Any] = {
        "scope": "server:R1", "detector": detector, "family": detector, "server": "R1", "hard": False, "score": 30.0,
        "limit": 22.0, "baseline": 0.0, "bound_halt": 0.0, "evidence": {}, "first_event": FirstEvent("o", 0, 1, 1),
        "money": Money(), "ts": 5, "source": Source("o", 0, 1), "seen": 2, "opened_at": AT, "heard_at": AT,
    }  # fmt: skip
    return Open(**(fields | other))


def view(explained: str = "", compared: str = "") -> FleetView:
    return FleetView(frozenset(explained.split()), frozenset(compared.split()))


def level(*opens: Open, at: int = AT, explained: str = "R1", compared: str = "") -> str:
    return judge(CONFIG, opens, at, 5, view(explained, compared)).level


def test_two_groups_that_agree_are_put_off_and_then_count() -> None:
    both = an_open(), an_open("crossing", source=Source("o", 0, 2))
    assert level(*both, explained="") == "halt"
    put_off = judge(CONFIG, both, AT, 5, view("R1"))
    assert (put_off.level, put_off.causes) == ("none", ())
    assert put_off.again_at == AT + CONFIG.common_hold_ms * MS_NS
    assert level(*both, at=put_off.again_at) == "halt"


def test_what_a_move_of_all_could_explain_waits_until_the_fleet_was_seen() -> None:
    both = an_open(ts=7), an_open("crossing", source=Source("o", 0, 2))
    put_off = judge(CONFIG, both, AT, 7, view(compared="R1"))
    assert (put_off.level, put_off.looks) == ("none", True)
    assert put_off.again_at == AT + CONFIG.common_look_ms * MS_NS
    seen = judge(CONFIG, both, put_off.again_at, None, view(compared="R1"))
    assert (seen.level, seen.looks, seen.flow) == ("halt", False, False), "a tick shows no new order"
    assert seen.ts_decided == 7 + CONFIG.common_look_ms * MS_NS, "decided when the look was over, not when it began"
    explained = judge(CONFIG, both, put_off.again_at, None, view("R1", "R1"))
    assert (explained.level, explained.looks) == ("none", False)
    known = judge(CONFIG, both, AT, 7, view("R1", "R1"))
    assert (known.level, known.looks) == ("none", False), "that all move is known: nothing is waited for"
    fresh = judge(CONFIG, (*both, an_open("malformed", server="R9")), AT, 7, view("R1", "R1 R9"))
    assert (fresh.level, fresh.looks) == ("warn", False)
    assert level(an_open(bound_halt=25.0, beyond_at=AT, beyond_seen=2), compared="R1") == "halt"
    assert level(an_open(hard=True), compared="R1") == "halt"


def test_what_volume_does_not_explain_counts_at_once() -> None:
    assert level(an_open(), an_open("drift")) == "warn"
    assert level(an_open("repetition"), an_open("drift")) == "halt"
    assert level(an_open(), an_open("conservation", hard=True)) == "halt"
    assert level(an_open(bound_halt=25.0, beyond_at=AT, beyond_seen=2)) == "halt"
    assert level(an_open(), an_open("crossing"), explained="R2") == "halt"


class Day(World):
    """A desk with a fleet before it."""

    def frames(self, seconds: float, times: float = 1.0, seed: int = 1) -> None:
        flow = ordinary(seed, times)
        for k in range(round(seconds * 10)):
            self.tick()
            frame = self.now // (100 * MS_NS)
            for i, name in enumerate(NAMES):
                source = Source("orderflow", i, len(self.inputs))
                self.put(FeatureRow(name, (frame + 1) * 100 * MS_NS, frame, dict(flow(k, name)), {}, source))
                if k % 10 == 0:
                    self.put(NodeSeen(NodeState(name, self.now, "b", "c"), Source("nodes", i, len(self.inputs))))

    def alarm(self, server: str, detector: str, offset: int = 10, **other: Any) -> None:
        family = other.pop("family", detector)
        place = Source("orderflow", 3, offset)
        self.put(
            breach(server, offset, hard=False, detector=detector, family=family, ts=self.now, source=place, **other)
        )


def both(day: Day, servers: tuple[str, ...]) -> None:
    for name in servers:
        day.alarm(name, "rate", 10)
        day.alarm(name, "crossing", 11)


def test_a_move_of_all_is_one_warning_on_the_firm_not_eight_halts() -> None:
    day = Day(CONFIG)
    day.frames(70)
    day.frames(5, 8.0)
    both(day, NAMES)
    day.frames(3, 8.0)
    assert [(h.scope, h.state) for h in day.halts()] == [("firm", "WARNED")]
    assert [c.detector for c in day.halts()[0].cause] == ["breadth"]
    day.put(breach("R3", 20, source=Source("orderflow", 3, 20)))
    assert day.state("server:R3") == "HALTING", "a broken invariant is no matter of volume"
    day.frames(60, 8.0)
    assert day.state("server:R1") == "HALTING", "nothing is put off without bound"


def test_the_same_on_one_server_halts_it() -> None:
    day = Day(CONFIG)
    day.frames(70)
    both(day, ("R1",))
    day.frames(0.8)
    assert day.state("server:R1") == "ACTIVE", "the fleet has not been seen since"
    assert day.desk.waiting()
    day.frames(0.4)
    assert day.state("server:R1") == "HALTING"
    assert day.state("firm") == "ACTIVE"


def test_a_burst_of_all_is_seen_as_one_although_each_server_shows_it_before_the_fleet_was_judged() -> None:
    day = Day(CONFIG)
    day.frames(70)
    both(day, NAMES)
    for name in NAMES:
        day.alarm(name, "repetition", 12, score=1.5)
    day.frames(0.4, 30.0)
    assert day.desk.waiting()
    day.frames(20)
    assert not day.desk.waiting()
    said = {h.scope: (h.state, tuple(c.detector for c in h.cause)) for h in day.halts()}
    own = {f"server:{name}": ("WARNED", ("repetition",)) for name in NAMES}
    assert said == {**own, "firm": ("WARNED", ("breadth",))}, "rate and crossing add nothing to what each repeats"


def test_a_server_without_peers_waits_for_nobody() -> None:
    world = World(CONFIG)
    for offset, detector in enumerate(("rate", "crossing"), 10):
        source = Source("orderflow", 3, offset)
        world.put(breach("R1", offset, hard=False, detector=detector, family=detector, ts=world.now, source=source))
    assert world.state("server:R1") == "HALTING"


def test_what_is_put_off_survives_a_restart() -> None:
    day = Day(CONFIG)
    day.frames(70)
    day.frames(5, 8.0)
    both(day, ("R1", "R2"))
    assert day.state("server:R1") == "ACTIVE"
    day.desk = type(day.desk).restore(CONFIG, day.desk.snapshot())
    day.frames(61, 8.0)
    assert day.state("server:R1") == "HALTING"


def test_stale_software_and_a_burst_on_it_halt() -> None:
    day = Day(CONFIG)
    day.frames(5)
    day.alarm("R8", "drift")
    assert day.state("server:R8") == "WARNED"
    day.alarm("R8", "rate", 11)
    day.frames(1.1)
    assert day.state("server:R8") == "HALTING"
