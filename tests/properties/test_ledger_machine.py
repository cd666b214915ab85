"""The ledger as a rule-based state machine against the model of benchmarks.ledger_storm: Hypothesis looks for a short way
to an opening that nobody was authorised to do, or to one that was refused although it was."""

import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from benchmarks.ledger_storm import CLOSED, SCOPES, Storm
from halts.ledger import effective
from halts.state import TimePasses
from schemas.units import MS_NS

people = st.sampled_from(["ann", "bob", "cat", "dan", "eve", "mal"])
scopes = st.sampled_from(SCOPES)
seeds = st.integers(0, 2**16)


class Ledger(RuleBasedStateMachine):
    """Each rule is one input; ``Storm.give`` checks both laws after it."""

    def __init__(self) -> None:
        super().__init__()
        self.storm = Storm(0)

    def _random(self, kind: str, seed: int) -> None:
        self.storm.rng = random.Random(seed)
        self.storm.give(getattr(self.storm, kind)())

    @rule(seed=seeds, kind=st.sampled_from(["_judgement", "_ack", "_flow", "_node", "_touch"]))
    def something(self, seed: int, kind: str) -> None:
        self._random(kind, seed)

    @rule(ms=st.sampled_from([50, 200, 300, 500, 900]), held=st.sets(scopes))
    def time(self, ms: int, held: set[str]) -> None:
        self.storm.give(TimePasses(self.storm.state.now + ms * MS_NS, frozenset(held)))

    @rule(verb=st.sampled_from(["halt", "resume", "drill"]), scope=scopes, by=people, back=st.integers(0, 2))
    def order(self, verb: Any, scope: str, by: str, back: int) -> None:
        epoch = self.storm.state.scope(scope).epoch - back
        self.storm.give(self.storm._said(verb, scope, by, epoch=epoch))

    @rule(
        pick=st.integers(0, 4),
        by=st.one_of(st.none(), people),
        wrong=st.sampled_from(["", "", "epoch", "forged", "stale"]),
    )
    def approve(self, pick: int, by: str | None, wrong: str) -> None:
        """Of a scope for which somebody asked, if there is one; by the asker where ``by`` is None."""
        asked_for = [name for name in SCOPES if self.storm.model.scopes[name].asked] or list(SCOPES)
        scope = asked_for[pick % len(asked_for)]
        asked = self.storm.model.scopes[scope].asked or ("nothing", "ann", 0)
        self.storm.give(
            self.storm._said(
                "approve", scope, by or asked[1], epoch=self.storm.state.scope(scope).epoch - (wrong == "epoch"),
                approves=asked[0], forged=wrong == "forged", stale=wrong == "stale",
            )
        )  # fmt: skip

    @rule(scope=st.sampled_from(["firm", "server:R1", "server:R2"]))
    def ask_after_the_cool_off(self, scope: str) -> None:
        if not self.storm.state.scope(scope).closed:
            self.storm.give(self.storm._said("halt", scope, "ann", epoch=0))
        self.storm.give(TimePasses(self.storm.state.now + 300 * MS_NS, frozenset()))
        self.storm.give(self.storm._said("resume", scope, "bob", epoch=self.storm.state.scope(scope).epoch))

    @rule(scope=scopes, by=people, again=st.booleans())
    def break_glass(self, scope: str, by: str, again: bool) -> None:
        epoch = self.storm.state.scope(scope).epoch
        self.storm.give(self.storm._said("resume", scope, by, epoch=epoch, emergency=True, again=again))

    @rule()
    def restart(self) -> None:
        self.storm._restart()

    @invariant()
    def what_is_closed_closes(self) -> None:
        """The order of a router in a closed scope has an answer, and it is never milder than that scope's own."""
        states = self.storm.state.scopes
        for name in SCOPES:
            s = self.storm.state.scope(name)
            if s.state in CLOSED and s.action != "reduce_only":
                kind, _, value = name.partition(":")
                found = effective(states, **({kind: value} if value else {}))
                assert found is not None
                assert not found.reduce_only

    def teardown(self) -> None:
        """Every latch has a way out."""
        self.storm._release()


Ledger.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLedger = Ledger.TestCase
