"""A log back into Kafka: same topics, keys, partitions and bytes, with the original spacing or as fast as it goes."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

from replay.log import Log
from schemas.units import S_NS

BLOCK_S_MAX = 30.0


def feed(
    log: Log,
    bootstrap: str,
    prefix: str = "",
    speed: float = 0.0,
    progress: Callable[[int], None] = lambda n: None,
    kafka: Mapping[str, Any] | None = None,
) -> int:
    """Publish every input record of the log; returns how many. speed: 0 is as fast as it goes, 1 the original spacing.
    kafka: further options of the client (security).

    KafkaTimeoutError when the broker takes nothing for half a minute.
    """
    if speed < 0:
        raise ValueError(f"speed {speed}; expected 0 (as fast as it goes) or more")
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type="lz4", linger_ms=5 if speed else 20,
        max_block_ms=round(BLOCK_S_MAX * 1000), client_id="knightwatch-replay",
        **(kafka or {}),
    )  # fmt: skip
    lost: list[BaseException] = []
    sent, first_ts, begun = 0, None, time.monotonic_ns()
    try:
        for message in log.messages():
            if speed:
                first_ts = message.ts if first_ts is None else first_ts
                wait = begun + round((message.ts - first_ts) / speed) - time.monotonic_ns()
                if wait > 0:
                    time.sleep(wait / S_NS)
            future = producer.send(
                prefix + message.topic, key=message.key, value=message.value, partition=message.partition,
                headers=list(message.headers),
            )  # fmt: skip
            future.add_errback(lost.append)
            sent += 1
            progress(1)
        producer.flush(timeout=BLOCK_S_MAX)
    finally:
        producer.close(timeout=1.0)
    if lost:
        raise KafkaTimeoutError(f"{len(lost)} of {sent} records were not delivered; the first: {lost[0]}")
    return sent
