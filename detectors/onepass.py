"""One compiled pass over a server's events: what every detector of the catalogue reads and scores, in one call.

A call of a compiled loop from Python costs 0.25 us for each array that it is given, and each operation of numpy a
microsecond: on batches of a few events that was half a millisecond, ten times the work itself. So all loops run inside one
call, over tables that are put together again only when one of them has grown or the minute has changed, and over rooms
that are made once and shared by all servers of an engine; and both are one argument (``schemas.bound``).

A detector that is new needs none of this: its ``step`` is called after the pass with the same flow, and may loop over it
as it likes (CONTRIBUTING.md). To join the pass it brings ``tables``, a compiled ``walk`` and a room.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, Bools
from detectors.children import ChildFlow, Children, ChildTables, child_room
from detectors.children import walk as children_walk
from detectors.config import Stage1Config
from detectors.conservation import Conservation, ConservationOut, ConservationTables, conservation_room
from detectors.conservation import walk as conservation_walk
from detectors.crossing import Crossing, CrossingOut, CrossingTables, crossing_room
from detectors.crossing import walk as crossing_walk
from detectors.detector import Detector
from detectors.exposure import Exposure, ExposureOut, ExposureTables, exposure_room
from detectors.exposure import walk as exposure_walk
from detectors.fanout import FanOut, FanOutTables
from detectors.fanout import walk as fanout_walk
from detectors.features import NAMES
from detectors.flow import Columns, Where
from detectors.keyed import Shown, shown_room
from detectors.malformed import Malformed, MalformedTables
from detectors.malformed import walk as malformed_walk
from detectors.orphans import Orphans, OrphansTables
from detectors.orphans import walk as orphans_walk
from detectors.positions import Positions, SymbolFlow, SymbolTables, symbol_room
from detectors.positions import walk as positions_walk
from detectors.rate import Rate, RateOut, RateTables, rate_room
from detectors.rate import walk as rate_walk
from detectors.repetition import Repetition, RepetitionTables
from detectors.repetition import walk as repetition_walk
from detectors.totals import COLUMNS, Totals
from detectors.totals import walk as totals_walk
from schemas.bound import Bound, Memory, store
from schemas.jit import compiled
from schemas.units import MS_NS

Floats = NDArray[np.float64]

CHUNK: Final = 4_096
"""Events in a pass at most. What is done once a pass costs some 30 us; of more events the rooms leave the second cache."""
DETECTORS: Final = 8
"""In the pass."""
_AHEAD: Final = 4_096
"""New ids for which tables have room when they are put together."""


class Outs(NamedTuple):
    """What each detector says of each event."""

    conservation: ConservationOut
    rate: RateOut
    crossing: CrossingOut
    repetition: Shown
    malformed: Shown
    exposure: ExposureOut
    fanout: Shown
    orphans: Shown


class Room(NamedTuple):
    """Columns of up to ``CHUNK`` events and what is worked out of them; totals (CHUNK + 1, k). once: False at fills whose
    ExecID was seen before. The last five are ``detectors.frames``'."""

    t: I64
    once: Bools
    columns: Columns
    symbol: SymbolFlow
    child: ChildFlow
    totals: I64
    outs: Outs
    closing: I64
    frames: I64
    deltas: Floats
    rows: Floats
    values: I64


def room_of(n: int = CHUNK) -> Room:
    """Room for n events."""
    outs = Outs(
        conservation_room(n), rate_room(n), crossing_room(n), shown_room(n), shown_room(n),
        exposure_room(n), shown_room(n), shown_room(n),
    )  # fmt: skip
    columns = Columns(np.empty(n, np.uint8), *np.empty((5, n), np.int64))
    totals = np.empty((n + 1, len(COLUMNS)), np.int64)
    return Room(
        np.empty(n, np.int64), np.empty(n, np.bool_), columns, symbol_room(n), child_room(n), totals, outs,
        np.empty(n, np.int64), np.empty(n, np.int64), np.empty((n, len(NAMES))), np.empty((n, len(NAMES) + DETECTORS + 4)),
        np.zeros(DETECTORS, np.int64),
    )  # fmt: skip


class Tables(NamedTuple):
    """State of one server. last: as in ``OnePass``; on: (8,) which detectors run."""

    symbols: SymbolTables
    children: ChildTables
    total: I64
    conservation: ConservationTables
    rate: RateTables
    crossing: CrossingTables
    repetition: RepetitionTables
    malformed: MalformedTables
    exposure: ExposureTables
    fanout: FanOutTables
    orphans: OrphansTables
    last: I64
    on: Bools


class OnePass:
    """The pass of one server: its tables, put together again when they are too small or another minute has begun.

    Detectors of the catalogue that were left out (by a benchmark) have tables all the same, for the loop is one and the
    same; they are not run.
    """

    def __init__(
        self, config: Stage1Config, children: Children, positions: Positions, totals: Totals,
        detectors: Sequence[Detector], room: Room,
    ) -> None:  # fmt: skip
        """room: to work in, where the detectors read what the pass wrote; the caller keeps it."""
        self._own = children, positions, totals
        given: dict[type, Any] = {type(d): d for d in detectors}
        makers: dict[type, Callable[[], Any]] = {
            Conservation: lambda: Conservation(config.conservation),
            Rate: lambda: Rate(config.rate),
            Crossing: lambda: Crossing(config.crossing),
            Repetition: lambda: Repetition(config.repetition),
            Malformed: lambda: Malformed(config.malformed),
            Exposure: lambda: Exposure(config.exposure, config.orders_max),
            FanOut: lambda: FanOut(config.fanout),
            Orphans: lambda: Orphans(config.orphans),
        }
        self._all = [given.get(kind) or make() for kind, make in makers.items()]
        self._on = np.array([kind in given for kind in makers])
        self.limits: I64 = np.array([d.excursion.limit for d in self._all])
        self.last: I64 = np.zeros((2, DETECTORS), np.int64)
        """Value of each detector's statistic after the last event of the flow before this one, and of this one."""
        self.places = [list(makers).index(type(d)) if type(d) in makers else -1 for d in detectors]
        """Where a given detector stands among these; -1: it does not run in the pass."""
        self.room = ROOM.put(room)
        for detector, out in zip(self._all, room.outs, strict=True):
            detector.out = out
        self._tables: Tables | None = None
        self._bound: Memory | None = None
        self._left = 0

    def state(self) -> dict[str, Any]:
        """Plain values, for a snapshot."""
        return {"last": self.last}

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of ``state``."""
        self.last[:] = state["last"]
        self.renew()

    def renew(self) -> None:
        """Parameters have changed, or state was loaded."""
        self._tables = self._bound = None

    def run(self, n: int, at: Where) -> None:
        """Take in n events of one minute; their columns and stream times stand in the room, and ``at`` says where."""
        if self._tables is None or (n > self._left and n > self._room()):
            self._renew(int(at.t[0]), max(n, _AHEAD))
        self._left -= n
        assert self._bound is not None
        one_pass(n, at, self.room, self._bound)

    def _room(self) -> int:
        """Events for which all tables are large enough, by what they hold: nearly every event brings no new id to most."""
        children, positions, _ = self._own
        self._left = min(children.room(), positions.room(), *(detector.room() for detector in self._all))
        return self._left

    def _renew(self, t: int, more: int) -> None:
        self._tables = self.together(t, more)
        self._bound = TABLES.put(self._tables)
        self._left = more

    def together(self, t: int, more: int) -> Tables:
        """All tables, with room for ``more`` events of the minute of stream time t (ns)."""
        children, positions, totals = self._own
        if self._tables is None:
            for detector in self._all:
                detector.begin(t)
        mine = [detector.tables(more) for detector in self._all]
        tables = [positions.tables(more), children.tables(more), totals.sum, *mine, self.last, self._on]
        return Tables._make(tables)


@compiled
def _put_room(memory: Memory, room: Room) -> None:
    store(memory, room)


@compiled
def _put_tables(memory: Memory, tables: Tables) -> None:
    store(memory, tables)


ROOM: Final = Bound(room_of(8), _put_room)
TABLES: Final = Bound(
    OnePass(Stage1Config(), Children(8, 8), Positions(8, MS_NS), Totals(), [], room_of(8)).together(0, 8), _put_tables
)  # fmt: skip
read_room: Final = ROOM.read
_read_tables: Final = TABLES.read


@compiled
def one_pass(n: int, at: Where, room_at: Memory, tables_at: Memory) -> None:
    """Take in n events of one server and one minute."""
    room, tables = read_room(room_at), _read_tables(tables_at)
    flow, symbol, child, totals, outs, on = room.columns, room.symbol, room.child, room.totals, room.outs, tables.on
    positions_walk(n, at, flow, tables.symbols, symbol)
    children_walk(n, at, flow, tables.children, child)
    totals_walk(n, flow, symbol, tables.total, totals)
    children = tables.children
    if on[0]:
        conservation_walk(n, at, flow, child, totals, tables.conservation, outs.conservation)
    if on[1]:
        rate_walk(n, at, flow, totals, tables.rate, outs.rate)
    if on[2]:
        crossing_walk(n, at, symbol, child, children.parents, totals, tables.crossing, outs.crossing)
    if on[3]:
        repetition_walk(n, at, flow, child, children.orders, totals, tables.repetition, outs.repetition)
    if on[4]:
        malformed_walk(n, at, flow, child, children, totals, tables.malformed, outs.malformed)
    if on[5]:
        exposure_walk(n, at, flow, child, children, totals, tables.exposure, outs.exposure)
    if on[6]:
        fanout_walk(n, at, child, children.parents, totals, tables.fanout, outs.fanout)
    if on[7]:
        orphans_walk(n, at, flow, child, children.parents, totals, tables.orphans, outs.orphans)
    for k in range(DETECTORS):
        tables.last[0, k] = tables.last[1, k]
    values_at(outs, n - 1, tables.last[1])


@compiled
def values_at(outs: Outs, i: int, out: I64) -> None:
    """The statistic of each detector of the pass after event i."""
    out[0] = outs.conservation.values[i]
    out[1] = outs.rate.scores.value[i]
    out[2] = outs.crossing.values[i]
    out[3] = outs.repetition.values[i]
    out[4] = outs.malformed.values[i]
    out[5] = outs.exposure.shown[0, i]
    out[6] = outs.fanout.values[i]
    out[7] = outs.orphans.values[i]
