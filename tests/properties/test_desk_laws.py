"""Laws of the desk: cutting and snapshots change nothing, and nothing but authority opens what was shut."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from halts import audit
from halts.config import DeskConfig
from halts.desk import Desk
from schemas.records import encode
from tests.halts.desk_world import World, breach

CONFIG = DeskConfig(cool_off_ms=200, resume_stage_ms=500, warn_quiet_ms=700, ack_timeout_ms=300)
SERVERS = ("R1", "R2", "R3")
SCOPES = (*(f"server:{s}" for s in SERVERS), "firm", "strategy:PEG")

steps = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from([100, 300, 900])),
    st.tuples(st.just("breach"), st.sampled_from(SERVERS), st.booleans(), st.sampled_from(["open", "update", "close"]),
              st.sampled_from(["conservation", "rate", "drift"]), st.integers(0, 9)),
    st.tuples(st.just("ack"), st.sampled_from(SERVERS), st.sampled_from(SCOPES), st.integers(0, 2), st.integers(-1, 0)),
    st.tuples(st.just("row"), st.sampled_from(SERVERS), st.integers(-5, 5), st.integers(0, 3)),
    st.tuples(st.just("say"), st.sampled_from(["halt", "resume", "approve", "drill"]), st.sampled_from(["ann", "bob"]),
              st.sampled_from(SCOPES), st.integers(-2, 0)),
)  # fmt: skip


def play(world: World, step: tuple[Any, ...], number: int) -> None:
    """One random thing that may happen to a desk."""
    kind, *args = step
    if kind == "tick":
        world.tick(args[0])
    elif kind == "breach":
        server, hard, state, family, offset = args
        world.put(breach(server, offset, hard=hard, state=state, family=family, detector=family))
    elif kind == "ack":
        server, scope, status, shift = args
        epoch = world.desk.ledger.scope(scope).halt_epoch + shift
        world.ack(("blocked", "cancelling", "confirmed")[status], server, scope, epoch=epoch)
    elif kind == "row":
        server, frames, orders = args
        world.row(server, world.now + frames * 100_000_000, orders=orders)
    else:
        verb, by, scope, shift = args
        request = world.desk.ledger.scope(scope).request
        epoch = world.desk.ledger.scope(scope).epoch + shift
        world.say(verb, by, scope, epoch=epoch, approves=request.command_id if request else "")


@given(st.lists(steps, max_size=40), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans())
@settings(max_examples=120)
def test_cutting_and_snapshots_change_nothing(
    happening: list[tuple[Any, ...]], sizes: list[int], snapshots: bool
) -> None:
    world = World(CONFIG)
    for number, step in enumerate(happening):
        play(world, step, number)
    desk, out, start, k = Desk(CONFIG, 1), [], 0, 0
    while start < len(world.inputs):
        size = sizes[k % len(sizes)]
        out += desk.step(world.inputs[start : start + size])
        start, k = start + size, k + 1
        if snapshots:
            desk = Desk.restore(CONFIG, desk.snapshot())
    assert [(o.topic.name, o.key, encode(o.record)) for o in out] == [
        (o.topic.name, o.key, encode(o.record)) for o in world.out
    ]
    again = desk.step(world.inputs)  # re-read from the start, as after a crash
    assert again == []
    assert audit.verify(world.audit()) is None


class Latch(RuleBasedStateMachine):
    """Against a model of one bit per scope: shut once HALTING, open only after a resume that two people asked for, or
    by itself if nothing but a drill had shut it. Each transition has its epoch; what stands may be said again."""

    @initialize()
    def begin(self) -> None:
        self.world = World(CONFIG)
        self.world.tick()
        self.epochs: dict[str, int] = {}
        self.last: dict[str, tuple[int, str, str, str]] = {}
        self.shut: set[str] = set()
        self.drills: set[str] = set()
        self.checked = 0

    @rule(step=steps)
    def anything(self, step: tuple[Any, ...]) -> None:
        play(self.world, step, 0)

    @precondition(lambda self: self.shut)
    @rule(data=st.data())
    def there_is_always_a_way_out(self, data: st.DataObject) -> None:
        scope = data.draw(st.sampled_from(sorted(self.shut)))
        self.world.tick(300)
        asked = self.world.say("resume", "ann", scope)
        self.world.say("approve", "bob", scope, approves=asked)
        assert self.world.state(scope) not in ("HALTING", "HALTED")

    @invariant()
    def nothing_else_opens(self) -> None:
        records = self.world.halts()
        for record in records[self.checked :]:
            stands = (record.epoch, record.halt_id, record.state, record.action)
            if record.state in ("HALTING", "HALTED") and stands == self.last.get(record.scope):
                continue  # an operator's halt of what is shut says again what stands
            self.last[record.scope] = stands
            assert record.epoch == self.epochs.get(record.scope, 0) + 1, "one epoch a transition"
            self.epochs[record.scope] = record.epoch
            drill = record.scope in self.drills
            self.drills.discard(record.scope)
            if record.state in ("HALTING", "HALTED"):
                self.shut.add(record.scope)
                if all(cause.detector == "drill" for cause in record.cause):
                    self.drills.add(record.scope)
            elif drill and record.state == "ACTIVE":
                self.shut.discard(record.scope)
            elif record.scope in self.shut:
                assert record.state == "RESUMING", f"{record.scope} opened into {record.state}"
                people = {p.strip() for p in record.by.split(",")}
                assert record.scope.startswith("strategy:") or len(people) == 2, record.by
                self.shut.discard(record.scope)
        self.checked = len(records)


TestLatch = Latch.TestCase
TestLatch.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
