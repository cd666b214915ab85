"""Faust's assignor keeps the desk's topics, all of one partition, on one worker, whoever comes and goes."""

from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.settings import Settings
from streams.transport import BatchedApp

DESK = ("verdicts", "acks", "commands")
FLOW = ("orderflow", "nodes", "declared")


class Cluster(ClusterMetadata):  # type: ignore[misc]
    """The topics as ``knightwatch topics`` makes them."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0} if topic in DESK else set(range(8))


@pytest.fixture(scope="module")
def assignor() -> Any:
    app = BatchedApp("assignor", batched={}, broker="kafka://x", datadir=str(Settings().folder), web_enabled=False)
    app.finalize()
    return app.assignor


def assign(assignor: Any, held: dict[str, bytes | None]) -> dict[str, Any]:
    """One rebalance. held: member -> the user data that it brings from the one before."""
    topics = [*DESK, *FLOW]
    fresh = assignor.metadata(set(topics)).user_data
    members = {name: ConsumerProtocolMemberMetadata(4, topics, data or fresh) for name, data in held.items()}
    return dict(assignor.assign(Cluster(), members))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sets(st.sampled_from("abcde"), min_size=1), min_size=1, max_size=5))
def test_desk_stays_whole(assignor: Any, rounds: list[set[str]]) -> None:
    held: dict[str, bytes | None] = {}
    for members in rounds:
        given_out = assign(assignor, {name: held.get(name) for name in sorted(members)})
        desks, flow = [], {}
        for name, assignment in given_out.items():
            mine = {topic: set(partitions) for topic, partitions in assignment.assignment if partitions}
            if set(mine) & set(DESK):
                desks.append({topic for topic in mine if topic in DESK})
            assert len({frozenset(mine.get(topic, ())) for topic in FLOW}) == 1, "a server's topics stay together"
            for partition in mine.get("orderflow", ()):
                assert partition not in flow, "one owner"
                flow[partition] = name
            held[name] = assignor._decompress(assignment.user_data)
        assert desks == [set(DESK)]
        assert set(flow) == set(range(8))
