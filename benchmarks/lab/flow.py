"""Order flow to measure with, and what must come out of it, counted by numpy alone: the oracle."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers import scenarios
from schemas.events import EVENT, Kind, empty_events
from schemas.units import S_NS

Sums = dict[str, dict[int, int]]
"""Server -> start of the window (s UTC) -> shares."""

COUNTED: Final = {
    "parents": Kind.parent, "orders": Kind.order, "replaces": Kind.replace, "cancels": Kind.cancel, "acks": Kind.ack,
    "fills": Kind.fill, "canceled": Kind.canceled, "rejects": Kind.rejected,
}  # fmt: skip
"""Value of a feature row -> the kind of event it counts."""


def power_peg(events: int, seed: int) -> NDArray[Any]:
    """(events,) EVENT: a healthy fleet of eight, then one stale router of it. The last event of each server is a
    cancel a second later, so that every frame of 100 ms before it is closed."""
    return _closed(_simulated("power-peg", events, seed))


def calm(events: int, seed: int, servers: int = 8, intensity: float = 1.0) -> NDArray[Any]:
    """(events,) EVENT of an ordinary day."""
    return _simulated("calm", events, seed, servers, intensity)


def _simulated(name: str, events: int, seed: int, servers: int = 8, intensity: float = 1.0) -> NDArray[Any]:
    parts: list[NDArray[Any]] = []
    n = 0
    for chunk in scenarios.build(name, seed, servers, minutes=300, intensity=intensity):
        parts.append(chunk.events)
        n += len(chunk.events)
        if n >= events:
            break
    whole = np.concatenate(parts, dtype=EVENT)[:events]
    if len(whole) < events:
        raise ValueError(f"{name} has {len(whole):,} events in 300 minutes; expected {events:,}: ask for fewer")
    return whole


def _closed(events: NDArray[Any]) -> NDArray[Any]:
    names = np.unique(events["server"])
    if len(events) <= len(names):
        raise ValueError(f"{len(events)} events are too few; expected more than {len(names)}, one for each server")
    events = events[: len(events) - len(names)]
    ends = empty_events(len(names))
    ends["server"], ends["kind"], ends["cl_ord_id"], ends["orig_cl_ord_id"] = names, Kind.cancel, b"END", b"NONE"
    ends["symbol"], ends["side"] = events["symbol"][events["symbol"] != b""][0], 1
    ends["ts"] = events["ts"].max() + S_NS
    for i, name in enumerate(names):
        mine = events["seq"][events["server"] == name]
        ends["seq"][i] = (int(mine.max()) if len(mine) else 0) + 1
    return np.concatenate([events, ends], dtype=EVENT)


def windowed(events: NDArray[Any]) -> Sums:
    """Shares (field ``qty``) of each server in each second of event time."""
    names, which = np.unique(events["server"], return_inverse=True)
    seconds = (events["ts"] // S_NS).astype(np.int64)
    first = int(seconds.min())
    width = int(seconds.max()) - first + 1
    cells = which * width + (seconds - first)
    sums = np.zeros(len(names) * width, np.int64)
    np.add.at(sums, cells, events["qty"])
    seen = np.bincount(cells, minlength=len(sums)).reshape(-1, width) > 0
    return {
        bytes(name).decode(): {first + int(s): int(sums[i * width + s]) for s in np.flatnonzero(seen[i])}
        for i, name in enumerate(names)
    }


def counted(events: NDArray[Any]) -> dict[str, dict[str, int]]:
    """Per server what its feature rows must add up to: events by kind, and shares filled. The last
    event of a server is left out, because its frame is still open."""
    out: dict[str, dict[str, int]] = {}
    for name in np.unique(events["server"]):
        mine = events[events["server"] == name][:-1]
        kind, qty = mine["kind"], mine["qty"]
        found = {value: int((kind == code).sum()) for value, code in COUNTED.items()}
        found["fill_qty"] = int(qty[kind == Kind.fill].sum())
        out[bytes(name).decode()] = found
    return out
