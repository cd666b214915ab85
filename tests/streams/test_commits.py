"""What is committed is never more than what was marked, whatever the broker answers."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.commits import Safe, SafeOffsets

TPS = st.sampled_from([("a", 0), ("a", 1), ("b", 0)])


class Commits(RuleBasedStateMachine):
    """Marks, commits that succeed or fail, revocations, against a plain model of the broker."""

    def __init__(self) -> None:
        super().__init__()
        self.safe = SafeOffsets()
        self.marked: dict[tuple[str, int], int] = {}
        self.broker: dict[tuple[str, int], int] = {}

    @rule(tp=TPS, offset=st.integers(0, 100), note=st.sampled_from(["", "7"]))
    def mark(self, tp: tuple[str, int], offset: int, note: str) -> None:
        self.safe.mark(tp, offset, note)
        self.marked[tp] = max(offset, self.marked.get(tp, 0))

    @rule(taken=st.booleans(), topics=st.sampled_from([None, {"a"}, {("b", 0)}]))
    def commit(self, taken: bool, topics: set[object] | None) -> None:
        due = self.safe.due(topics)
        if topics is not None:
            assert all(tp in topics or tp[0] in topics for tp in due)
        if taken:
            self.safe.confirm(due)
            self.broker.update({tp: safe.offset for tp, safe in due.items()})

    @rule(tp=TPS)
    def revoke(self, tp: tuple[str, int]) -> None:
        self.safe.forget([tp])
        self.marked.pop(tp, None)
        self.broker.pop(tp, None)

    @invariant()
    def never_past_a_mark(self) -> None:
        assert all(offset <= self.marked.get(tp, offset) for tp, offset in self.broker.items())

    @invariant()
    def a_failed_commit_is_due_again(self) -> None:
        due = self.safe.due()
        for tp, offset in self.marked.items():
            assert tp in due or self.broker.get(tp) == offset
            assert tp in due or self.safe.confirmed(tp) == offset


TestCommits = Commits.TestCase


@given(st.lists(st.integers(0, 50), min_size=1))
def test_marks_only_grow(offsets: list[int]) -> None:
    safe = SafeOffsets()
    for offset in offsets:
        safe.mark(("t", 0), offset)
    assert safe.due() == {("t", 0): Safe(max(offsets), "")}
