"""Ground truth of a run: which events belong to the incident, what ought to be halted, what it cost.

Written beside a log as ``FILE.labels.json`` (one JSON object, the fields of ``Labels``). ``bad`` maps a server to
ranges ``[first_seq, last_seq]``, both ends included, of its events that belong to the incident: orders that ought not
to have been sent, and what became of them.
"""

from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

LOSS_BASIS_FULL: Final = "same seed, gate always open, whole incident simulated"
LOSS_BASIS_RATE: Final = (
    "same seed, gate always open; measured loss rate of the last half of the simulated part, times the time left"
)


class ScopeLabel(Struct, frozen=True):
    """A scope whose halt is right, and when its trouble begins (ns). Where several are listed for one fault (the server
    and the strategy that runs on it), halting either is right; any other halt is a false one."""

    scope: str
    ts: int


class FirstBad(Struct, frozen=True):
    """The first event of the incident."""

    server: str
    seq: int
    ts: int
    cl_ord_id: str


class Labels(Struct, frozen=True):
    """Ground truth. Losses are positive, in USD, marked to the mid that would have been without our own flow."""

    scenario: str
    seed: int
    servers: tuple[str, ...]
    start_ns: int
    end_ns: int
    """Up to where the run went."""
    halt_expected: bool
    """True for incidents, False for benign look-alikes: there, any halt is a false one."""
    scopes: tuple[ScopeLabel, ...]
    first_bad_ts: int
    """0 when nothing bad happened."""
    first_bad: FirstBad | None
    events: int
    bad_events: int
    bad_orders: int
    """Orders and replaces of the incident that went out."""
    orders_blocked: int
    bad_orders_blocked: int
    loss_usd: float
    """Of the incident's positions, as far as the run went."""
    loss_usd_unhalted: float
    loss_basis: str
    params: dict[str, Any]
    bad: dict[str, list[tuple[int, int]]]
    v: int = 1


def encode(labels: Labels) -> bytes:
    """Labels as one JSON object."""
    return msgspec.json.encode(labels)


def decode(data: bytes) -> Labels:
    """Labels from JSON; msgspec.ValidationError says what was found and where."""
    return msgspec.json.decode(data, type=Labels)


class Ranges:
    """Sequence numbers gathered as closed ranges."""

    def __init__(self) -> None:
        self.count = 0
        self._parts: list[NDArray[np.int64]] = []

    def add(self, seqs: NDArray[np.int64]) -> None:
        """Ascending numbers, all greater than those added before."""
        if not len(seqs):
            return
        self.count += len(seqs)
        cuts = np.flatnonzero(np.diff(seqs) != 1) + 1
        first = seqs[np.concatenate([[0], cuts])]
        last = seqs[np.concatenate([cuts - 1, [len(seqs) - 1]])]
        part = np.stack([first, last], axis=1)
        if self._parts and self._parts[-1][-1, 1] + 1 == part[0, 0]:
            self._parts[-1][-1, 1] = part[0, 1]
            part = part[1:]
        if len(part):
            self._parts.append(part)

    def pairs(self) -> list[tuple[int, int]]:
        """The ranges, in order."""
        if not self._parts:
            return []
        return [(int(a), int(b)) for a, b in np.concatenate(self._parts)]


def contains(pairs: list[tuple[int, int]], seqs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) True where a seq lies in one of the ranges."""
    if not pairs:
        return np.zeros(len(seqs), np.bool_)
    table = np.array(pairs, np.int64)
    at = np.searchsorted(table[:, 0], seqs, side="right") - 1
    inside: NDArray[np.bool_] = (at >= 0) & (seqs <= table[np.maximum(at, 0), 1])
    return inside
