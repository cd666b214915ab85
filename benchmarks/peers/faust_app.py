"""Stock Faust: an agent that takes one event at a time, and a windowed sum kept by hand in a dict.

    python -m benchmarks.peers.faust_app BOOTSTRAP TOPIC EVENTS CODEC RUN FOLDER OUT QTY_AT TS_AT [ECHO_TOPIC]

With ECHO_TOPIC nothing is summed: each event's ``cl_ord_id`` is sent on, for the latency at a low rate.
"""

import sys
from typing import Any

import faust
import msgspec

from benchmarks.peers.sum_loop import Tally, number_reader


def summing(app: faust.App, topic: Any, arguments: list[str]) -> None:
    """One sum a server and second, the event's JSON read by msgspec."""
    events, codec, out = int(arguments[2]), arguments[3], arguments[6]
    numbers = number_reader(int(arguments[7]), int(arguments[8]))
    tally = Tally(events, out)
    decode = msgspec.json.decode

    async def add(stream: Any) -> None:
        async for key, value in stream.items():
            last = tally.one()
            if codec == "sbe":
                qty, ts = numbers(value)
            else:
                event = decode(value)
                qty, ts = event.get("qty", 0), event["ts"]
            tally.sums[key.decode()][ts // 1_000_000_000] += qty
            if last:
                tally.finish()

    app.agent(topic)(add)


def echoing(app: faust.App, topic: Any, target: str) -> None:
    """Each event's value goes on to ``target``."""
    results = app.topic(target, key_type=bytes, value_type=bytes, value_serializer="raw", key_serializer="raw")

    async def echo(stream: Any) -> None:
        async for key, value in stream.items():
            await results.send(key=key, value=value)

    app.agent(topic)(echo)


def main(arguments: list[str]) -> None:
    """Run the worker."""
    bootstrap, name, run, folder = arguments[0], arguments[1], arguments[4], arguments[5]
    app = faust.App(
        run, broker=f"kafka://{bootstrap}", datadir=f"{folder}/{run}", consumer_auto_offset_reset="earliest",
        topic_disable_leader=True, web_enabled=False, store="memory://", key_serializer="raw", value_serializer="raw",
    )  # fmt: skip
    topic = app.topic(name, key_type=bytes, value_type=bytes, internal=False)
    if len(arguments) > 9:
        echoing(app, topic, arguments[9])
    else:
        summing(app, topic, arguments)
    app.finalize()
    app.Worker(loglevel="warning", quiet=True).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1:])
