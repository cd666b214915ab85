"""Reading a stretch of a log by hand: from given offsets to the end as it stands now. No consumer group takes part."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition


@asynccontextmanager
async def reader(bootstrap: str, **client: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer without a group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        **client,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def scan(
    consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], feed: Callable[[TopicPartition, Any], None]
) -> None:
    """Feed every record from ``starts`` (clipped to what the broker still has) to the present end."""
    if not starts:
        return
    consumer.assign(list(starts))
    begins = await consumer.beginning_offsets(list(starts))
    ends = await consumer.end_offsets(list(starts))
    for tp, offset in starts.items():
        consumer.seek(tp, offset if begins[tp] <= offset <= ends[tp] else begins[tp])
    left = {tp for tp in starts if begins[tp] < ends[tp]}
    while left:
        for tp, records in (await consumer.getmany(*left, timeout_ms=500)).items():
            for record in records:
                feed(tp, record)
        left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
