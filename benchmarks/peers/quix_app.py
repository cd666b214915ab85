"""Quix Streams: a tumbling window of one second, sum of shares. Runs in a virtual environment of its own.

Arguments: BOOTSTRAP TOPIC EVENTS CODEC RUN FOLDER OUT QTY_AT TS_AT.
"""

from typing import Any

import orjson
from quixstreams import Application

from benchmarks.peers.sum_loop import Tally, number_reader


def main(arguments: list[str]) -> None:
    """Build the pipeline and run it until every event is in."""
    bootstrap, name, events, codec, run, folder, out, qty_at, ts_at = arguments
    app = Application(
        broker_address=bootstrap, consumer_group=run, auto_offset_reset="earliest", state_dir=f"{folder}/{run}",
        loglevel="WARNING", auto_create_topics=True,
    )  # fmt: skip
    numbers = number_reader(int(qty_at), int(ts_at))
    tally = Tally(int(events), out)

    def parse(value: bytes) -> tuple[int, int]:
        if codec == "sbe":
            return numbers(value)
        event: dict[str, Any] = orjson.loads(value)
        return event.get("qty", 0), event["ts"]

    def event_time(value: Any, key: Any, timestamp: int, headers: Any) -> int:
        return int(value[1] // 1_000_000)

    def note(result: Any, key: Any, timestamp: int, headers: Any) -> None:
        last = tally.one()
        tally.sums[key.decode()][result["start"] // 1_000] = result["value"]
        if last:
            tally.finish()

    topic = app.topic(name, key_deserializer="bytes", value_deserializer="bytes")
    frame = app.dataframe(topic)
    frame = frame.apply(parse).set_timestamp(event_time).apply(lambda pair: pair[0])
    frame = frame.tumbling_window(duration_ms=1_000, grace_ms=86_400_000).sum().current()
    frame.update(note, metadata=True)
    app.run()
