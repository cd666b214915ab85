"""The agents: take a batch, hand it to its engine. What they do is in stage1, nodes and desk."""

from collections.abc import Mapping
from typing import Any

from mode.supervisors import CrashingSupervisor

from schemas.topics import ORDERFLOW
from streams.desk import DeskHolder
from streams.nodes import Forwarder
from streams.stage1 import Stage1Partitions


def declare(
    app: Any,
    topics: Mapping[str, Any],
    stage1: Stage1Partitions,
    desk: DeskHolder,
    forwarders: Mapping[str, Forwarder],
) -> None:
    """One agent per topic (name -> Faust topic). A failing agent ends the worker: going on after a step that failed
    would skip events, and a silent desk closes the gates."""

    async def flow(stream: Any) -> None:
        async for batch in stream:
            partition = await stage1.of(batch)
            if partition is not None:
                await partition.take(batch)

    async def decide(stream: Any) -> None:
        async for batch in stream:
            running = await desk.of(batch)
            if running is not None:
                await running.take(batch)

    def forward(forwarder: Forwarder) -> Any:
        async def forwarding(stream: Any) -> None:
            async for batch in stream:
                await forwarder.take(batch)

        return forwarding

    special = {ORDERFLOW.name: flow, **{name: forward(forwarder) for name, forwarder in forwarders.items()}}
    for name, topic in topics.items():
        agent = special.get(name, decide)
        app.agent(topic, name=name, concurrency=1, supervisor_strategy=CrashingSupervisor)(agent)
