"""Compile the loops ahead of time: ``python -m detectors.warm``, after an installation or a change.

Half a minute of work that would else fall to the first worker, at the moment at which it is needed. What is compiled is
kept on disk (see ``schemas.builds``); a second run takes a second. What builds left that are two weeks older is removed.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.bank import Stage1
from detectors.config import Stage1Config
from detectors.surprise import Surprise
from schemas import codec, record_set
from schemas.builds import drop_old
from schemas.events import Batch, Kind, empty_events
from schemas.jit import BUILD, TOOLS
from schemas.packed import Packed
from schemas.topics import ORDERFLOW
from schemas.units import PRICE9, S_NS

MARK: Final = f"warm-{TOOLS}"
"""File in the folder of a build which says that all of it is there."""
_ROUNDS = 400
_ROUNDS_LOADED = 20
_START_NS = 1_343_827_800 * S_NS


def _flow(rounds: int) -> NDArray[Any]:
    """(n,) EVENT: each kind of event so many times, four hundred a second."""
    kinds = [int(kind) for kind in Kind]
    n = rounds * len(kinds)
    events = empty_events(n)
    count = np.arange(n)
    events["kind"] = np.tile(kinds, rounds)
    events["server"], events["symbol"], events["strategy"], events["account"] = b"R1", b"WARM", b"WARM", b"WARM"
    events["seq"], events["ts"] = count, _START_NS + count * (S_NS // 400)
    events["qty"], events["px"], events["bid"], events["ask"] = 100, 2 * PRICE9, 2 * PRICE9 - 10**7, 2 * PRICE9
    events["side"] = 1 + count % 2
    for name, every in (("parent_id", 50), ("cl_ord_id", 1), ("orig_cl_ord_id", 7), ("exec_id", 1)):
        events[name] = np.char.mod("%d", count // every).astype("S24")
    return events


def warm() -> int:
    """Run every loop of stage 1 once, over a made-up flow of all kinds of events; returns how many verdicts it gave."""
    events = _flow(_ROUNDS)
    n = len(events)
    engine = Stage1(Stage1Config(), ORDERFLOW.name, 0)
    codec.decode(ORDERFLOW.name, 0, codec.encode_json_each(events[:20]), np.arange(20))
    values = codec.encode_sbe_each(events)
    found = 0
    sizes = np.array([len(value) for value in values])
    packed = Packed(b"".join(values), np.cumsum(sizes) - sizes, sizes)
    record_set.parse([record_set.Body(b"\x0c" + bytes(6), 1, 0, 0, False)], 0)
    for start in range(0, n, 512):
        part = packed[start : start + 512]
        batch = codec.decode(ORDERFLOW.name, 0, part, np.arange(start, start + len(part))).batch
        found += len(engine.step(batch))
    model = Surprise(("a", "b"), 2)  # no row of that flow is one to learn from
    for k in range(20):
        model.distance(np.array([k % 3, k % 5], np.float64))
        model.learn(np.array([k % 3, k % 5], np.float64))
    return found


def load() -> bool:
    """Load the machine code of stage 1, a tenth of a second, where ``python -m detectors.warm`` has left it. Else do
    nothing, and say so: to compile it takes a minute, which is for the caller to choose."""
    if not (BUILD / MARK).exists():
        return False
    events = _flow(_ROUNDS_LOADED)
    n = len(events)
    Stage1(Stage1Config(), ORDERFLOW.name, 0).step(
        Batch(ORDERFLOW.name, 0, events, np.arange(n), np.zeros(n, np.int32))
    )
    return True


if __name__ == "__main__":
    warm()
    if BUILD.is_dir():  # else nothing was compiled (NUMBA_DISABLE_JIT)
        (BUILD / MARK).touch()
    drop_old(BUILD)
