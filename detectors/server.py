"""Stage 1 for one server: filters repeats, keeps stream time, runs the detectors, closes frames."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import numpy as np

from detectors.arrays import I64, U64, Bools, where
from detectors.catalog import CATALOG
from detectors.children import ChildFlow, Children
from detectors.clock import Oddity, Sequence, StreamClock
from detectors.config import Stage1Config
from detectors.detector import Context, Detector, Holds
from detectors.excursion import Excursion, Finding
from detectors.features import FRAME_NS
from detectors.flow import Flow, Where, split
from detectors.frames import MONEY, NOVELTY, SCORES, close_frames
from detectors.intake import CALM, ODD, REPEATS, first_executions, intake
from detectors.intern import IdTable
from detectors.novelty import Closed, Novelty
from detectors.onepass import DETECTORS, OnePass, Room
from detectors.positions import Positions, SymbolFlow
from detectors.rows import Rows, Said, marks_of
from detectors.snapshot import dump, raw
from detectors.surprise import Floats
from detectors.totals import COLUMNS, Totals
from schemas.events import Batch, as_words
from schemas.records import Breach
from schemas.scopes import scope
from schemas.units import DAY_MIN, MIN_NS, MS_NS

_ALL: Final = list(range(DETECTORS))
_NONE: Final = np.empty(0, np.int64)
COUNTERS = (
    "events", "late", "clamped", "clock_resets", "gaps", "missing", "repeats", "restarts", "exec_repeats",
)  # fmt: skip
"""Running totals in every row: events scored, odd stamps, holes and repeats in the sequence, repeated ExecIDs."""


class ServerEngine:
    """State of one server. ``step`` is pure: no clock, no chance, no I/O, and batch cuts do not matter."""

    def __init__(self, server: str, config: Stage1Config, room: Room) -> None:
        """room: for a flow's columns and scores, which engines of one thread may share."""
        self.server = server
        self.clock = StreamClock(config.lateness_ms_max * MS_NS, config.future_ms_max * MS_NS)
        self.sequence = Sequence()
        self.execs = IdTable(config.orders_max, 3)
        self.positions = Positions(config.symbols_max, FRAME_NS)
        self.children = Children(config.orders_max, config.parents_max)
        self.totals = Totals()
        self.detectors: list[Detector] = [make(config) for make in CATALOG]
        self.one = OnePass(config, self.children, self.positions, self.totals, self.detectors, room)
        self._names = (*(d.name for d in self.detectors), Novelty.name)
        self.novelty = Novelty(config.novelty)
        self.novel = Excursion(config.novelty.run_rows, self.novelty.quiet_ns)
        self.frame = -1
        self.frame_base: I64 = np.zeros(len(COLUMNS), np.int64)
        self.minute = -1
        self.minute_clean = True
        self.run = 0
        self.ratios = [0.0] * len(self.detectors)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.opened = 0
        """Breaches open."""
        self._odd: list[Oddity] = []
        self._day_begins, self._carry = config.day_begins_min, config.positions_carry
        self._room = room
        self._taken: I64 = np.empty(3, np.int64)
        self._foreign = -1 in self.one.places
        self._moved = True
        self._kept: Any = None
        """Its state in bytes, as long as nothing happens on the server."""

    def step(self, batch: Batch, places: I64, said: Said) -> None:
        """Take in this server's events, at most ``CHUNK``, and add their verdicts to ``said``. places: (n,) ascending, by
        which verdicts are put in order."""
        self._moved, self._kept = True, None
        words = as_words(batch.events)
        room, sequence, clock, n = self._room, self.sequence, self.clock, len(words)
        code = ODD
        if clock.suspect == 0 and clock.late_run == 0:
            taken = self._taken
            bounds = clock.lateness_ns_max, clock.future_ns_max, (self.minute + 1) * MIN_NS
            code = intake(
                words, (sequence.highest, sequence.newest_ts, clock.now, clock.shift), bounds,
                self.execs.reserve(n), room.once, room.t, room.columns, taken,
            )  # fmt: skip
            if code == CALM:
                highest, newest, clock.now = taken.tolist()
                sequence.follow(highest, newest)
                self._part(self._flow(batch, words, n), places, said)
                self.counters["events"] += n
                return
        once = room.once[:n].copy() if code == REPEATS else None
        self._oddly(batch, words, places, once, said)

    def kept(self) -> Any:
        """The state for a snapshot, to be written out before the next step; made once while the server is idle."""
        if self._moved:
            self._moved = False
            return dump(self, views=True)
        if self._kept is None:
            self._kept = raw(dump(self, views=True))
        return self._kept

    def _oddly(self, batch: Batch, words: U64, places: I64, once: Bools | None, said: Said) -> None:
        """As ``step``, for events among which something is odd, or a minute ends. once: (n,) False at fills whose ExecID
        was seen before, if that is known."""
        fresh, odd = self.sequence.fresh(words)
        self._odd = [(int(places[i]), name, by) for i, name, by in odd]
        if fresh is not None and not fresh.all():
            batch, places, words = _keep(batch, places, fresh)
        if once is None:
            once = self._first_executions(words)
        if not once.all():
            self._odd += [(int(places[i]), "exec_repeats", 1) for i in where(~once)]
            batch, places, words = _keep(batch, places, once)
        if len(batch):
            times, odd = self.clock.advance(words)
            self._odd += [(int(places[i]), name, by) for i, name, by in odd]
            self._odd.sort()
            self._minutes(batch, words, times, places, said)
        self._count(None)

    def _flow(self, batch: Batch, words: U64, n: int) -> Flow:
        """What stands in the room."""
        room = self._room
        kind, qty, px, sign, bid, ask = room.columns
        return Flow(
            self.server, batch.topic, batch.partition, batch.events, words, batch.offsets, batch.items, room.t[:n],
            kind[:n], qty[:n], px[:n], sign[:n], bid[:n], ask[:n],
        )  # fmt: skip

    def _count(self, place: int | None) -> None:
        """Raise the counters by what was odd up to a place in the batch (None: the rest)."""
        while self._odd and (place is None or self._odd[0][0] <= place):
            _, name, by = self._odd.pop(0)
            self.counters[name] += by

    def _minutes(self, batch: Batch, words: U64, times: I64, places: I64, said: Said) -> None:
        """Work off events minute by minute."""
        minutes = times // MIN_NS
        cuts = [0, *(where(minutes[1:] != minutes[:-1]) + 1).tolist(), len(words)]
        for a, b in pairwise(cuts):
            self._roll(int(minutes[a]))
            self._room.t[: b - a] = times[a:b]
            split(b - a, words[a:b], self._room.columns)
            self._part(self._flow(batch[a:b], words[a:b], b - a), places[a:b], said)
            self.counters["events"] += b - a

    def _first_executions(self, words: U64) -> Bools:
        """(n,) False at fills whose ExecID was seen before."""
        once = np.ones(len(words), np.bool_)
        if len(words):
            first_executions(len(words), words, self.execs.reserve(len(words)), once)
        return once

    def _roll(self, minute: int) -> None:
        """Baselines change on the minute, from minutes in which nothing was in breach."""
        if minute == self.minute:
            return
        if self.minute >= 0:
            for detector in self.detectors:
                detector.minute(self.minute_clean)
            if not self._carry and self._day(minute) != self._day(self.minute):
                self._begin_day()
        self.one.renew()
        self.minute = minute
        self.minute_clean = not self._open()

    def _day(self, minute: int) -> int:
        return (minute - self._day_begins) // DAY_MIN

    def _begin_day(self) -> None:
        """Positions are counted anew: over weeks those that were booked away would add up to any limit."""
        self.positions.begin_day()
        self.totals.begin_day()
        for detector in self.detectors:
            if isinstance(detector, Holds):
                detector.begin_day()

    def _open(self) -> int:
        return sum(d.excursion.open for d in self.detectors) + self.novel.open

    def _part(self, flow: Flow, places: I64, said: Said) -> None:
        """Events of one minute, which stand in the room."""
        n, room = len(flow), self._room
        self.one.run(n, Where(flow.words, room.t, flow.offsets, flow.items))
        context = Context(flow, room.child, room.symbol, room.totals, self.children, self.positions, True)
        before, heard = self.opened, len(said.breaches)
        changes: list[tuple[int, int]] = []
        for rank, detector in enumerate(self.detectors):
            for finding in detector.step(context if self.one.places[rank] >= 0 else _apart(context, n)):
                said.breaches.append((int(places[finding.index]), rank + 1, self._breach(detector, context, finding)))
                if finding.edge != "update":
                    changes.append((finding.index, 1 if finding.edge == "open" else -1))
        self._frames(context, places, before, changes, said)
        if len(said.breaches) > heard:
            self.opened = self._open()
            self.minute_clean = False
        if self._foreign:
            self.ratios = [int(d.values()[-1]) / d.excursion.limit for d in self.detectors]

    def _frames(
        self, context: Context, places: I64, opened: int, changes: list[tuple[int, int]], said: Said
    ) -> None:  # fmt: skip
        """Close the frames that these events leave behind; score and learn each row in turn. opened: breaches open before
        this flow; changes: (event, 1 or -1) of those that opened or closed in it."""
        flow = context.flow
        if self.frame < 0:
            self.frame = int(flow.t[0]) // FRAME_NS
        last = int(flow.t[-1]) // FRAME_NS
        evidence: dict[int, dict[str, Any]] = {}
        if last == self.frame:
            if not self.run and self.novel.idle:
                return
            runs, closing = [self.run], _NONE
        else:
            runs, closing = self._close(context, places, opened, changes, said, evidence)
            self.frame = last
            if not any(runs) and self.novel.idle:
                self.run = 0
                return
        self.run = runs[-1]
        each = np.repeat(np.array(runs), np.diff(closing, prepend=0, append=len(flow)))
        rank = len(self.detectors) + 1
        for finding in self.novel.step(flow, each, context.totals):
            said.breaches.append((int(places[finding.index]), rank, self._novelty(context, finding, evidence)))

    def _close(
        self, context: Context, places: I64, opened: int, changes: list[tuple[int, int]], said: Said,
        evidence: dict[int, dict[str, Any]],
    ) -> tuple[list[int], I64]:  # fmt: skip
        """A row for each frame that ends in a flow; the run of novel rows before, between and after the events that end
        frames, and these."""
        flow, room, one, model = context.flow, self._room, self.one, self.novelty
        count = close_frames(len(flow), self.frame, one.room, one.last, one.limits, self.frame_base)
        closing, frames = room.closing[:count], room.frames[:count]
        others = np.full(count, opened - self.novel.open)
        for at, by in changes:
            others[closing > at] += by
        before = np.where(closing > 0, flow.t[closing - 1], -1)
        closed = Closed(frames, room.deltas[:count], others == 0, flow.t[closing], before)
        runs = model.score(closed, self.novel.beyond_at + model.quiet_ns)
        if any(runs[1:]):
            evidence |= {i: model.evidence(k) for k, i in enumerate(closing.tolist()) if runs[k + 1]}
        ends = places[closing]
        counters: list[tuple[int, dict[str, int]]] = []
        for k, place in enumerate(ends.tolist() if self._odd else [0]):
            if self._odd or not k:
                self._count(place)
                counters.append((k, self.counters.copy()))
        rows = room.rows[:count]
        rows[:, NOVELTY] = model.shares()
        numbers = self._numbers(closing, rows)
        marks = marks_of(ends, flow.offsets[closing], flow.items[closing], frames, closing + self.counters["events"])
        names = self._names
        said.rows.append(Rows(self.server, flow.topic, flow.partition, names, numbers, marks, counters))
        return runs, closing

    def _numbers(self, closing: I64, rows: Floats) -> bytes:
        """Values, scores and money of rows, as ``Rows`` has them: scores are those of the catalogue of this server, each the
        share of its limit at which a detector stood when the frame ended, and novelty's."""
        places = self.one.places
        if places == _ALL:
            return rows.tobytes()
        scores = np.maximum(places, 0) + SCORES
        found = rows[:, np.concatenate([np.arange(SCORES), scores, [NOVELTY], np.arange(MONEY, MONEY + 3)])]
        for d, (detector, place) in enumerate(zip(self.detectors, places, strict=True)):
            if place < 0:
                own = detector.values()[closing - 1] / detector.excursion.limit
                own = np.where(closing == 0, self.ratios[d], own)
                found[:, SCORES + d] = [round(share, 4) for share in own.tolist()]
        return found.tobytes()

    def _breach(self, detector: Detector, context: Context, finding: Finding) -> Breach:
        i = finding.index
        now = int(context.flow.t[i])
        return Breach(
            server=self.server, ts=now, detector=detector.name, family=detector.family, hard=detector.hard,
            state=finding.edge, scope=scope("server", self.server), score=detector.score(finding.value),
            limit=detector.score(detector.excursion.limit), baseline=detector.baseline(),
            evidence=detector.evidence(context, finding), first_event=finding.first,
            source=context.flow.source(i), money=finding.money(now), bound_halt=round(detector.bound_halt, 3),
        )  # fmt: skip

    def _novelty(self, context: Context, finding: Finding, evidence: dict[int, dict[str, Any]]) -> Breach:
        i, model = finding.index, self.novelty
        now = int(context.flow.t[i])
        return Breach(
            server=self.server, ts=now, detector=model.name, family=model.family, hard=False, state=finding.edge,
            scope=scope("server", self.server), score=float(finding.value), limit=float(model.limit), baseline=0.0,
            evidence=evidence.get(i, {}), first_event=finding.first, source=context.flow.source(i),
            money=finding.money(now), bound_halt=0.0,
        )  # fmt: skip


def _keep(batch: Batch, places: I64, mask: Bools) -> tuple[Batch, I64, U64]:
    """The events of a mask: batch, places, words."""
    at = where(mask)
    kept = batch.pick(at)
    return kept, places[at], as_words(kept.events)


def _apart(context: Context, n: int) -> Context:
    """What a detector that does not run in the pass sees: arrays of n events, and none of the room's other places."""
    child, symbol = ChildFlow(*_cut(context.child, n)), SymbolFlow(*_cut(context.symbol, n))
    return Context(context.flow, child, symbol, context.totals[: n + 1], context.children, context.positions)


def _cut(arrays: Iterable[Any], n: int) -> list[Any]:
    return [array[:n] for array in arrays]
