"""Stage 1 for one server: filters repeats, keeps stream time, runs the detectors, closes frames."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, U64, Bools, steps_from, where
from detectors.catalog import CATALOG
from detectors.children import Children
from detectors.clock import Oddity, Sequence, StreamClock
from detectors.config import Stage1Config
from detectors.detector import Context, Detector
from detectors.excursion import Excursion, Finding
from detectors.features import FRAME_NS, NAMES
from detectors.flow import Flow, columns
from detectors.intern import IdTable, Slots, enter
from detectors.kinds import FILL
from detectors.novelty import Novelty
from detectors.positions import Positions
from detectors.totals import COLUMNS, GROSS, PROFIT, SCALE, Totals
from schemas.events import Batch, as_words, word_of
from schemas.jit import compiled
from schemas.records import Breach, FeatureRow, Money
from schemas.scopes import scope
from schemas.units import MIN_NS, MS_NS, S_NS, USD6

Placed = tuple[int, int, Breach | FeatureRow]
"""Position of the deciding event in the batch, rank among that event's verdicts, verdict."""
COUNTERS = (
    "events", "late", "clamped", "clock_resets", "gaps", "missing", "repeats", "restarts", "exec_repeats",
)  # fmt: skip
"""Running totals in every row: events scored, odd stamps, holes and repeats in the sequence, repeated ExecIDs."""
_F = len(NAMES)
_KIND, _EXEC = word_of("kind"), word_of("exec_id")
_BYTE = np.uint64(0xFF)


class _Rows(NamedTuple):
    """Closed frames: changes of the totals (m, k); feature values, scores and money (loss, loss per s, gross) as lists."""

    deltas: NDArray[np.float64]
    values: list[list[float]]
    scores: list[list[float]]
    money: list[list[float]]


class ServerEngine:
    """State of one server. ``step`` is pure: no clock, no chance, no I/O, and batch cuts do not matter."""

    def __init__(self, server: str, config: Stage1Config) -> None:
        self.server = server
        self.clock = StreamClock(config.lateness_ms_max * MS_NS, config.future_ms_max * MS_NS)
        self.sequence = Sequence()
        self.execs = IdTable(config.orders_max, 3)
        self.positions = Positions(config.symbols_max, FRAME_NS)
        self.children = Children(config.orders_max, config.parents_max)
        self.totals = Totals()
        self.detectors: list[Detector] = [make(config) for make in CATALOG]
        self._names = tuple(d.name for d in self.detectors)
        self.novelty = Novelty(config.novelty)
        self.novel = Excursion(config.novelty.run_rows, self.novelty.quiet_ns)
        self.frame = -1
        self.frame_base: I64 = np.zeros(len(COLUMNS), np.int64)
        self.minute = -1
        self.minute_clean = True
        self.run = 0
        self.ratios = [0.0] * len(self.detectors)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._odd: list[Oddity] = []

    def step(self, batch: Batch, places: I64) -> list[Placed]:
        """Verdicts of this server's events. places: (n,) their positions in the partition's batch."""
        words = as_words(batch.events)
        fresh, odd = self.sequence.fresh(words)
        self._odd = [(int(places[i]), name, by) for i, name, by in odd]
        if fresh is not None and not fresh.all():
            batch, places, words = _keep(batch, places, fresh)
        once = self._first_executions(words, places)
        if once is not None:
            batch, places, words = _keep(batch, places, once)
        out: list[Placed] = []
        if len(batch):
            times, odd = self.clock.advance(words)
            self._odd += [(int(places[i]), name, by) for i, name, by in odd]
            self._odd.sort()
            out = self._parts(columns(self.server, batch, words, times), places)
        self._count(None)
        return out

    def _count(self, place: int | None) -> None:
        """Raise the counters by what was odd up to a place in the batch (None: the rest)."""
        while self._odd and (place is None or self._odd[0][0] <= place):
            _, name, by = self._odd.pop(0)
            self.counters[name] += by

    def _parts(self, flow: Flow, places: I64) -> list[Placed]:
        """Work off a flow minute by minute."""
        first, last = int(flow.t[0]) // MIN_NS, int(flow.t[-1]) // MIN_NS
        cuts = [0, len(flow)]
        if last > first:
            minutes = flow.t // MIN_NS
            cuts[1:1] = (where(minutes[1:] != minutes[:-1]) + 1).tolist()
        out: list[Placed] = []
        for a, b in pairwise(cuts):
            self._roll(int(flow.t[a]) // MIN_NS)
            part = flow if len(cuts) == 2 else flow.part(a, b)
            out += self._part(part, places[a:b])
            self.counters["events"] += b - a
        return out

    def _first_executions(self, words: U64, places: I64) -> Bools | None:
        """(n,) False at fills whose ExecID was seen before, or None when there are none."""
        once = np.ones(len(words), np.bool_)
        if not len(words) or not _repeats(words, self.execs.reserve(len(words)), once):
            return None
        self._odd += [(int(places[i]), "exec_repeats", 1) for i in where(~once)]
        return once

    def _roll(self, minute: int) -> None:
        """Baselines change on the minute, from minutes in which nothing was in breach."""
        if minute == self.minute:
            return
        if self.minute >= 0:
            for detector in self.detectors:
                detector.minute(self.minute_clean)
        self.minute = minute
        self.minute_clean = not self._open()

    def _open(self) -> int:
        return sum(d.excursion.open for d in self.detectors) + self.novel.open

    def _part(self, flow: Flow, places: I64) -> list[Placed]:
        symbol = self.positions.step(flow)
        child = self.children.step(flow)
        totals = self.totals.step(flow, symbol)
        context = Context(flow, child, symbol, totals, self.children, self.positions)
        changes = np.zeros(len(flow) + 1, np.int64)
        changes[0] = self._open()
        out: list[Placed] = []
        for rank, detector in enumerate(self.detectors):
            for finding in detector.step(context):
                out.append((int(places[finding.index]), rank + 1, self._breach(detector, context, finding)))
                if finding.edge != "update":
                    changes[finding.index + 1] += 1 if finding.edge == "open" else -1
        out += self._frames(context, places, np.cumsum(changes))
        if self.minute_clean and (self._open() or any(isinstance(v, Breach) for _, _, v in out)):
            self.minute_clean = False
        self.ratios = [int(d.values()[-1]) / d.excursion.limit for d in self.detectors]
        out.sort(key=lambda placed: placed[:2])
        return out

    def _frames(self, context: Context, places: I64, breaches: I64) -> list[Placed]:
        """Close the frames that these events leave behind; score and learn each row in turn."""
        flow = context.flow
        if self.frame < 0:
            self.frame = int(flow.t[0]) // FRAME_NS
        last = int(flow.t[-1]) // FRAME_NS
        out: list[Placed] = []
        evidence: dict[int, dict[str, Any]] = {}
        if last == self.frame:
            runs = np.full(len(flow), self.run, np.int64)
        else:
            runs = self._close(context, places, breaches, out, evidence)
            self.frame = last
        self.run = int(runs[-1])
        rank = len(self.detectors) + 1
        for finding in self.novel.step(flow, runs, context.totals):
            out.append((int(places[finding.index]), rank, self._novelty(context, finding, evidence)))
        return out

    def _close(
        self, context: Context, places: I64, breaches: I64, out: list[Placed], evidence: dict[int, dict[str, Any]]
    ) -> I64:
        """A row for each frame that ends in a flow, and (n,) the run of novel rows at each event."""
        flow, totals = context.flow, context.totals
        frames = flow.t // FRAME_NS
        closing = where(steps_from(frames, self.frame))
        rows = self._rows(totals, closing)
        model, others = self.novelty, breaches[closing] - int(self.novel.open)
        quiet_from = self.novel.beyond_at + model.quiet_ns
        runs = [self.run]
        for k, (i, other) in enumerate(zip(closing.tolist(), others.tolist(), strict=True)):
            frame = int(frames[i - 1]) if i else self.frame
            if runs[-1] >= model.limit and i:
                quiet_from = int(flow.t[i - 1]) + model.quiet_ns
            calm = other == 0 and int(flow.t[i]) > quiet_from
            runs.append(model.row(frame, rows.deltas[k, :_F], calm))
            if runs[-1]:
                evidence[i] = model.evidence()
            place = int(places[i])
            if self._odd:
                self._count(place)
            out.append((place, 0, self._row(context.flow, i, frame, rows, k)))
        self.frame_base = totals[closing[-1]].copy()
        return np.repeat(np.array(runs), np.diff(closing, prepend=0, append=len(flow)))

    def _rows(self, totals: I64, closing: I64) -> "_Rows":
        """What the rows of the closed frames hold, worked out for all of them at once."""
        ends = totals[closing]
        deltas = np.diff(ends, axis=0, prepend=self.frame_base[None]) * SCALE
        at = closing - 1
        scores = np.empty((len(self.detectors), len(at)))
        for score, detector in zip(scores, self.detectors, strict=True):
            np.divide(detector.values()[at], detector.excursion.limit, out=score)
        if closing[0] == 0:
            scores[:, 0] = self.ratios
        money = np.stack([-ends[:, PROFIT] / USD6, deltas[:, PROFIT] * -(S_NS // FRAME_NS), ends[:, GROSS] / USD6], 1)
        # adding 0.0 turns a negative zero into zero
        return _Rows(
            deltas,
            (deltas[:, :_F].round(2) + 0.0).tolist(),
            scores.round(4).T.tolist(),
            (money.round(2) + 0.0).tolist(),
        )

    def _row(self, flow: Flow, i: int, frame: int, rows: "_Rows", k: int) -> FeatureRow:
        """The row of the k-th closed frame, which event i closes."""
        scores = dict(zip(self._names, rows.scores[k], strict=True))
        bound = self.novelty.bound
        scores["novelty"] = round(self.novelty.distance / bound, 4) if bound else 0.0
        named = dict(zip(NAMES, rows.values[k], strict=True))
        counters = self.counters.copy()
        counters["events"] += i
        ts = (frame + 1) * FRAME_NS
        return FeatureRow(self.server, ts, frame, named, scores, flow.source(i), Money(*rows.money[k]), counters)

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


@compiled
def _repeats(words: U64, execs: Slots, once: Bools) -> int:
    """Marks fills whose ExecID was seen before in once (n,); returns how many."""
    count = 0
    for i in range(len(words)):
        if words[i, _KIND] & _BYTE == FILL and words[i, _EXEC] != 0:
            _, new = enter(execs, words, i, _EXEC)
            if not new:
                once[i] = False
                count += 1
    return count
