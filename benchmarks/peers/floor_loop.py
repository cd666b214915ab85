"""Bare consumers that do nothing with a record but count it by key: what a client alone can reach.

python -m benchmarks.peers.floor_loop aiokafka|kafka-python BOOTSTRAP TOPIC EVENTS CODEC RUN FOLDER OUT
"""

import asyncio
import sys
from collections import Counter

from aiokafka import AIOKafkaConsumer
from kafka import KafkaConsumer

from benchmarks.peers.sum_loop import Tally


async def with_aiokafka(bootstrap: str, topic: str, tally: Tally) -> None:
    """``getmany`` until everything is in."""
    counts: Counter[bytes] = Counter()
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            counts.update([record.key for record in records])
            if tally.one(len(records)):
                tally.finish(counts={key.decode(): n for key, n in counts.items()})


def with_kafka_python(bootstrap: str, topic: str, tally: Tally) -> None:
    """``poll`` until everything is in."""
    counts: Counter[bytes] = Counter()
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    while True:
        for records in consumer.poll(timeout_ms=500, max_records=5_000).values():
            counts.update([record.key for record in records])
            if tally.one(len(records)):
                tally.finish(counts={key.decode(): n for key, n in counts.items()})


def main(arguments: list[str]) -> None:
    """Run one of the loops."""
    client, bootstrap, topic, events, _, _, _, out = arguments
    tally = Tally(int(events), out)
    if client == "aiokafka":
        asyncio.run(with_aiokafka(bootstrap, topic, tally))
    else:
        with_kafka_python(bootstrap, topic, tally)


if __name__ == "__main__":
    main(sys.argv[1:])
