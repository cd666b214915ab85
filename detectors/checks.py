"""The laws that every detector meets (style rule 7): run over the whole catalogue by tests/detectors/test_laws.py.

Each check takes a way to make the detector and a log of one server, and raises ``LawBroken`` with what was found, what
was expected and where to look. They need no Kafka, no desk and no other detector: ``Bench`` does for one detector what
``ServerEngine`` does for all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import where
from detectors.children import Children
from detectors.config import Stage1Config
from detectors.detector import Context, Detector
from detectors.features import FRAME_NS
from detectors.flow import Flow, columns
from detectors.positions import Positions
from detectors.snapshot import dump, from_bytes, load, to_bytes
from detectors.totals import Totals
from schemas.events import Batch, as_words
from schemas.records import FirstEvent
from schemas.units import MIN_NS

Make = Callable[[Stage1Config], Detector]


class LawBroken(AssertionError):
    """Which law, of which detector, and how."""


@dataclass(frozen=True, slots=True)
class Said:
    """A finding as it would be published. ``at``: position of the event in the log."""

    at: int
    edge: str
    score: float
    baseline: float
    first: FirstEvent
    evidence: dict[str, Any]
    money: tuple[float, float, float]


@dataclass(slots=True)
class Heard:
    """What a detector did with a log: the value of its statistic at each event, its findings, its baseline after."""

    values: list[int] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    baseline: float = 0.0


class Bench:
    """One detector with the passes it needs, fed with events of one server in order of time."""

    def __init__(self, make: Make, config: Stage1Config) -> None:
        self.config = config
        self.detector = make(config)
        self.children = Children(config.orders_max, config.parents_max)
        self.positions = Positions(config.symbols_max, FRAME_NS)
        self.totals = Totals()
        self.minute = -1
        self.clean = True
        self.events = 0

    def step(self, batch: Batch, heard: Heard) -> None:
        """Take in a batch and add what was said to ``heard``."""
        if not len(batch):
            return
        words = as_words(batch.events)
        flow = columns("R1", batch, words, batch.events["ts"].astype(np.int64))
        minutes = flow.t // MIN_NS
        for a, b in pairwise([0, *(where(minutes[1:] != minutes[:-1]) + 1).tolist(), len(flow)]):
            if int(minutes[a]) != self.minute:
                if self.minute >= 0:
                    self.detector.minute(self.clean)
                self.minute, self.clean = int(minutes[a]), not self.detector.excursion.open
            self._part(flow.part(a, b), heard)

    def _part(self, flow: Flow, heard: Heard) -> None:
        symbol, child = self.positions.step(flow), self.children.step(flow)
        context = Context(flow, child, symbol, self.totals.step(flow, symbol), self.children, self.positions)
        detector = self.detector
        for finding in detector.step(context):
            money = finding.money(int(flow.t[finding.index]))
            heard.said.append(
                Said(
                    self.events + finding.index, finding.edge, detector.score(finding.value), detector.baseline(),
                    finding.first, detector.evidence(context, finding),
                    (money.loss_usd, money.loss_usd_per_s, money.gross_usd),
                )
            )  # fmt: skip
            self.clean = False
        self.clean = self.clean and not detector.excursion.open
        heard.values += detector.values().tolist()
        heard.baseline = detector.baseline()
        self.events += len(flow)

    def snapshot(self) -> bytes:
        """Everything but the configuration."""
        return to_bytes({"bench": dump(self)})

    def detector_bytes(self) -> int:
        """Size of the detector's own state."""
        return len(to_bytes({"detector": dump(self.detector)}))

    @classmethod
    def restore(cls, make: Make, config: Stage1Config, data: bytes) -> "Bench":
        """A bench that goes on where the snapshot was taken."""
        bench = cls(make, config)
        load(bench, from_bytes(data)["bench"])
        return bench


def hear(make: Make, config: Stage1Config, log: Batch, cuts: Sequence[int] = (), snapshots: bool = False) -> Heard:
    """Run a log, cut at ``cuts``, with a snapshot and restore at each cut or not."""
    bench, heard = Bench(make, config), Heard()
    for a, b in pairwise([0, *sorted({c for c in cuts if 0 < c < len(log)}), len(log)]):
        bench.step(log[a:b], heard)
        if snapshots:
            bench = Bench.restore(make, config, bench.snapshot())
    return heard


def check_repeatable(make: Make, config: Stage1Config, log: Batch) -> None:
    """Same input, same output."""
    _same("the same log twice", make, config, hear(make, config, log), hear(make, config, log))


def check_cutting(make: Make, config: Stage1Config, log: Batch, cuts: Sequence[int]) -> None:
    """Where the log is cut does not matter."""
    _same(f"{len(cuts)} cuts", make, config, hear(make, config, log), hear(make, config, log, cuts))


def check_snapshots(make: Make, config: Stage1Config, log: Batch, cuts: Sequence[int]) -> None:
    """A snapshot and restore changes nothing."""
    _same("snapshot and restore", make, config, hear(make, config, log), hear(make, config, log, cuts, snapshots=True))


def check_shift(make: Make, config: Stage1Config, log: Batch, shift_ns: int) -> None:
    """Time has no origin: all stamps moved by whole minutes (baselines change on the minute) give the same."""
    if shift_ns % MIN_NS:
        raise ValueError(f"a shift of {shift_ns} ns; expected whole minutes")
    moved = Batch(log.topic, log.partition, log.events.copy(), log.offsets, log.items)
    moved.events["ts"] += np.uint64(shift_ns)
    before, after = hear(make, config, log), hear(make, config, moved)
    back = [
        Said(s.at, s.edge, s.score, s.baseline, _earlier(s.first, shift_ns), s.evidence, s.money) for s in after.said
    ]
    _same(f"stamps {shift_ns} ns later", make, config, before, Heard(after.values, back, after.baseline))


def check_numbers(make: Make, config: Stage1Config, log: Batch) -> None:
    """Every number that leaves is one: no NaN, no infinity, and no statistic below zero."""
    heard = hear(make, config, log)
    detector = make(config)
    if heard.values and min(heard.values) < 0:
        raise LawBroken(f"{detector.name}: the statistic is {min(heard.values)} at some event; expected 0 or more")
    for said in heard.said:
        for where_, number in _numbers("", (said.score, said.baseline, said.money, said.evidence)):
            if not isfinite(number):
                raise LawBroken(f"{detector.name}: {number} in {where_ or 'its score'} of the {said.edge} at {said.at}")
    if not isfinite(detector.bound_halt) or detector.bound_halt < 0:
        raise LawBroken(f"{detector.name}: bound_halt is {detector.bound_halt}; expected 0 (never) or a score")


def check_calm(make: Make, config: Stage1Config, log: Batch, findings_max: int = 0) -> None:
    """Calm flow raises at most so many breaches, and none in its first minute (nothing is said before it is known)."""
    heard = hear(make, config, log)
    opened = [s for s in heard.said if s.edge == "open"]
    if len(opened) > findings_max:
        raise LawBroken(
            f"{make(config).name}: {len(opened)} breaches on calm flow, at most {findings_max}: {opened[0]}"
        )
    minute = int(log.events["ts"][0]) + MIN_NS
    early = [s for s in opened if int(log.events["ts"][s.at]) < minute]
    if early:
        raise LawBroken(f"{make(config).name}: a breach in the first minute, before anything can be known: {early[0]}")


def check_fault(make: Make, config: Stage1Config, log: Batch, first_bad: int, orders_max: int) -> Said:
    """Its own fault is found: after the first bad event, before ``orders_max`` orders more; and names a first event that
    is part of it. first_bad: position in the log."""
    heard = hear(make, config, log)
    name = make(config).name
    opened = [s for s in heard.said if s.edge == "open"]
    if not opened:
        raise LawBroken(f"{name}: its own fault was not found; highest value {max(heard.values)}")
    said = opened[0]
    if said.at < first_bad:
        raise LawBroken(f"{name}: opened at event {said.at}, before its fault began at {first_bad}")
    asked = int(np.isin(log.events["kind"][first_bad : said.at + 1], (3, 4, 5)).sum())
    if asked > orders_max:
        raise LawBroken(f"{name}: found its fault after {asked} requests, at most {orders_max}")
    named = int(where((log.offsets == said.first.offset) & (log.items == said.first.item))[0])
    if not first_bad <= named <= said.at:
        raise LawBroken(
            f"{name}: names event {named} as the first; the fault began at {first_bad}, opened at {said.at}"
        )
    return said


def check_bounded(make: Make, config: Stage1Config, flood: Callable[[int], NDArray[Any]], rounds: int) -> None:
    """However many ids, symbols and names come, state does not grow without end. flood(k): round k's events, with ids
    that never came before; the second half of the rounds may add nothing to what the first half took."""
    bench, sizes = Bench(make, config), []
    offset = 0
    for k in range(rounds):
        events = flood(k)
        offsets = np.arange(offset, offset + len(events))
        bench.step(Batch("orderflow", 0, events, offsets, np.zeros(len(events), np.int32)), Heard())
        offset += len(events)
        sizes.append(bench.detector_bytes())
    half = max(sizes[: rounds // 2])
    if sizes[-1] > 1.05 * half + 4_096:
        raise LawBroken(f"{bench.detector.name}: state grows: {sizes} bytes after each round of new ids")


def _same(what: str, make: Make, config: Stage1Config, expected: Heard, found: Heard) -> None:
    name = make(config).name
    if expected.values != found.values:
        pairs = enumerate(zip(expected.values, found.values, strict=False))
        at, (old, new) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        raise LawBroken(f"{name}, {what}: the statistic at event {at} is {new}, expected {old}")
    for old_said, new_said in zip(expected.said, found.said, strict=False):
        if old_said != new_said:
            raise LawBroken(f"{name}, {what}: said {new_said}, expected {old_said}")
    if len(expected.said) != len(found.said):
        raise LawBroken(f"{name}, {what}: {len(found.said)} findings, expected {len(expected.said)}")
    if expected.baseline != found.baseline:
        raise LawBroken(f"{name}, {what}: baseline {found.baseline}, expected {expected.baseline}")


def _earlier(first: FirstEvent, by_ns: int) -> FirstEvent:
    return FirstEvent(first.topic, first.partition, first.offset, first.ts - by_ns, first.cl_ord_id, first.item)


def _numbers(path: str, value: Any) -> list[tuple[str, float]]:
    if isinstance(value, bool | str) or value is None:
        return []
    if isinstance(value, dict):
        return [found for k, v in value.items() for found in _numbers(f"{path}.{k}", v)]
    if isinstance(value, list | tuple):
        return [found for v in value for found in _numbers(path, v)]
    return [(path, float(value))]
