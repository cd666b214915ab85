"""Stage 1 for one server: filters repeats, keeps stream time, runs the detectors, closes frames."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import I64, Bools, steps_from, where
from detectors.catalog import CATALOG
from detectors.children import Children
from detectors.clock import Oddity, Sequence, StreamClock
from detectors.config import Stage1Config
from detectors.detector import Context, Detector
from detectors.excursion import Excursion, Finding
from detectors.features import FRAME_NS, NAMES
from detectors.flow import Flow, columns
from detectors.intern import IdTable
from detectors.kinds import FILL
from detectors.novelty import Novelty
from detectors.positions import Positions
from detectors.totals import COLUMNS, GROSS, PROFIT, SCALE, Totals
from schemas.events import Batch
from schemas.records import Breach, FeatureRow, Money
from schemas.scopes import scope
from schemas.units import MIN_NS, MS_NS, S_NS, usd

Placed = tuple[int, int, Breach | FeatureRow]
"""Position of the deciding event in the batch, rank among that event's verdicts, verdict."""
COUNTERS = (
    "events", "late", "clamped", "clock_resets", "gaps", "missing", "repeats", "restarts", "exec_repeats",
)  # fmt: skip
"""Running totals in every row: events scored, odd stamps, holes and repeats in the sequence, repeated ExecIDs."""
_F = len(NAMES)


class _Rows(NamedTuple):
    """Closed frames: changes of the totals (m, k), feature values and scores as lists, totals at the end (m, k)."""

    deltas: NDArray[np.float64]
    values: list[list[float]]
    scores: list[tuple[float, ...]]
    totals: I64


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
        stamps = batch.events["ts"].astype(np.int64)
        fresh, odd = self.sequence.fresh(batch.events["seq"].astype(np.int64), stamps)
        self._odd = [(int(places[i]), name, by) for i, name, by in odd]
        if fresh is not None and not fresh.all():
            batch, places, stamps = _keep(batch, fresh), places[fresh], stamps[fresh]
        once = self._first_executions(batch, places)
        if once is not None:
            batch, places, stamps = _keep(batch, once), places[once], stamps[once]
        out: list[Placed] = []
        if len(batch):
            times, odd = self.clock.advance(stamps)
            self._odd += [(int(places[i]), name, by) for i, name, by in odd]
            self._odd.sort()
            out = self._parts(columns(self.server, batch, times), places)
        self._count(None)
        return out

    def _count(self, place: int | None) -> None:
        """Raise the counters by what was odd up to a place in the batch (None: the rest)."""
        while self._odd and (place is None or self._odd[0][0] <= place):
            _, name, by = self._odd.pop(0)
            self.counters[name] += by

    def _parts(self, flow: Flow, places: I64) -> list[Placed]:
        """Work off a flow minute by minute."""
        minutes = flow.t // MIN_NS
        cuts = [0, *(where(minutes[1:] != minutes[:-1]) + 1).tolist(), len(flow)]
        out: list[Placed] = []
        for a, b in pairwise(cuts):
            self._roll(int(minutes[a]))
            part = flow if len(cuts) == 2 else flow.part(a, b)
            out += self._part(part, places[a:b])
            self.counters["events"] += b - a
        return out

    def _first_executions(self, batch: Batch, places: I64) -> Bools | None:
        """(n,) False at fills whose ExecID was seen before, or None when there are none."""
        at = where(batch.events["kind"] == FILL)
        if not len(at):
            return None
        keys = np.ascontiguousarray(batch.events["exec_id"][at]).view(np.uint64).reshape(len(at), 3)
        named = keys[:, 0] != 0
        _, new = self.execs.resolve(keys, named)
        repeated = at[named & ~new]
        if not len(repeated):
            return None
        self._odd += [(int(places[i]), "exec_repeats", 1) for i in repeated]
        once = np.ones(len(batch), np.bool_)
        once[repeated] = False
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
        flow, totals = context.flow, context.totals
        frames = flow.t // FRAME_NS
        before = self.frame if self.frame >= 0 else int(frames[0])
        runs = np.zeros(len(flow), np.int64)
        runs[0] = self.run
        closing = where(steps_from(frames, before))
        out: list[Placed] = []
        evidence: dict[int, dict[str, Any]] = {}
        rows = self._columns(totals, closing)
        run, quiet_from = self.run, self.novel.beyond_at + self.novelty.quiet_ns
        others = breaches - int(self.novel.open)
        for k, i in enumerate(closing.tolist()):
            frame = int(frames[i - 1]) if i else before
            if run >= self.novelty.limit and i:
                quiet_from = int(flow.t[i - 1]) + self.novelty.quiet_ns
            calm = int(others[i]) == 0 and int(flow.t[i]) > quiet_from
            runs[i] = run = self.novelty.row(frame, rows.deltas[k, :_F], calm)
            if run:
                evidence[i] = self.novelty.evidence()
            self._count(int(places[i]))
            out.append((int(places[i]), 0, self._row(context, i, frame, rows, k)))
        if len(closing):
            self.frame_base = totals[closing[-1]].copy()
        self.frame = int(frames[-1])
        held = np.zeros(len(flow), np.int64)
        held[closing] = closing
        runs = runs[np.maximum.accumulate(held)]
        self.run = int(runs[-1])
        for finding in self.novel.step(flow, runs, totals):
            out.append((int(places[finding.index]), len(self.detectors) + 1, self._novelty(context, finding, evidence)))
        return out

    def _columns(self, totals: I64, closing: I64) -> "_Rows":
        """What the rows of the closed frames hold, worked out for all of them at once."""
        bases = np.concatenate([self.frame_base[None], totals[closing]])
        deltas = (bases[1:] - bases[:-1]) * SCALE
        scores = []
        for detector, carried in zip(self.detectors, self.ratios, strict=True):
            ratio = detector.values()[closing - 1] / detector.excursion.limit
            ratio[closing == 0] = carried
            scores.append(ratio.round(4).tolist())
        return _Rows(deltas, deltas[:, :_F].round(2).tolist(), list(zip(*scores, strict=True)), totals[closing])

    def _row(self, context: Context, i: int, frame: int, rows: "_Rows", k: int) -> FeatureRow:
        """The row of the k-th closed frame, which event i closes."""
        scores = dict(zip(self._names, rows.scores[k], strict=True))
        bound = self.novelty.bound
        scores["novelty"] = round(self.novelty.distance / bound, 4) if bound else 0.0
        per_s = round(-float(rows.deltas[k, PROFIT]) * (S_NS // FRAME_NS), 2)
        money = Money(usd(-int(rows.totals[k, PROFIT])), per_s, usd(int(rows.totals[k, GROSS])))
        named = dict(zip(NAMES, rows.values[k], strict=True))
        ts = (frame + 1) * FRAME_NS
        counters = {**self.counters, "events": self.counters["events"] + i}
        return FeatureRow(self.server, ts, frame, named, scores, context.flow.source(i), money, counters)

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


def _keep(batch: Batch, mask: Any) -> Batch:
    return Batch(batch.topic, batch.partition, batch.events[mask], batch.offsets[mask], batch.items[mask])
