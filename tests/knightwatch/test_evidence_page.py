"""The evidence of a halt: what is in the pack of a halt that the detectors made, and the page that shows it."""

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from halts.evidence import Line, evidence, halts_in
from knightwatch.evidence_page import date, page
from schemas.units import MS_NS, S_NS
from tests.halts.desk_world import World, breach


@given(st.integers(1, 4_102_444_800))
@example(1_343_827_800)
@example(1_709_164_800)
def test_date_is_that_of_the_calendar(seconds: int) -> None:
    expected = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.000 UTC")
    assert date(seconds * S_NS) == expected


def lines_of(world: World) -> list[Line]:
    return [Line(i, world.now // MS_NS, value) for i, value in enumerate(world.audit())]


def test_a_halt_that_widened_is_told_from_the_first_bad_order_to_the_people() -> None:
    world = World()
    world.tick()
    world.row("R1", world.now, fills=1.0)
    world.put(breach())
    world.ack("blocked")
    world.ack("cancelling", working=2, orders=("R3-7", "R3-8"))
    world.row("R3", world.now + 300 * MS_NS, orders=4)  # it goes on: the firm is halted too
    assert world.state("firm") == "HALTING"
    world.say("resume", "mallory", epoch=0)
    lines = lines_of(world)
    server, firm = halts_in(lines)
    pack = evidence(server, lines)
    assert pack is not None
    assert (pack.scope, pack.state, pack.first_bad["cl_ord_id"], pack.first_bad["detector"]) == (
        "server:R3", "HALTING", "C1", "conservation",
    )  # fmt: skip
    assert pack.related == (f"{firm} (firm)",)
    assert [c["detector"] for c in pack.causes] == ["conservation", "after_halt_flow"]
    assert pack.stuck_orders == ("R3-7", "R3-8")
    assert [(p.name, p.did) for p in pack.people] == [("mallory", ("resume (refused)",))]
    kinds = [entry.kind for entry in pack.timeline]
    assert kinds[0] == "transition"
    assert {"ack", "after_halt_flow", "refused"} <= set(kinds)
    assert all(entry.sha256 for entry in pack.timeline)
    shown = page(pack)
    assert "R3-7, R3-8" in shown
    assert "CHAIN BROKEN" in shown, "nobody has verified it yet"
    assert evidence("none", lines) is None


def test_a_later_halt_of_the_same_scope_is_a_story_of_its_own() -> None:
    world = World()
    world.halted()
    world.tick(5_000)
    world.say("approve", "bob", approves=world.say("resume", "ann"))
    world.tick(70_000)
    assert world.state() == "ACTIVE"
    world.put(breach(offset=99))
    first, second = halts_in(lines_of(world))
    packs = [evidence(id_, lines_of(world)) for id_ in (first, second)]
    assert packs[0] is not None
    assert packs[1] is not None
    assert (packs[0].state, packs[1].state) == ("ACTIVE", "HALTING")
    assert packs[0].timeline[-1].n < packs[1].timeline[0].n
    assert packs[1].people == ()
