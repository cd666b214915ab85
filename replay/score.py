"""What a configuration is worth on a labelled log: how soon it halts, what was lost until then, whom it halts wrongly.

The log was recorded with open gates, so it goes on after a halt; what counts is what had happened up to it. No gate
answers in such a log, so the desk is run with ``ack_timeout_ms`` 0: it does not widen a halt that nobody acknowledges.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from detectors.config import Stage1Config
from halts.config import DeskConfig
from producers.labels import Labels
from producers.labels import decode as decode_labels
from replay.cost import Cost, cost_until
from replay.engines import live_engines
from replay.log import Log, LogError
from replay.parquet import log_stem
from replay.runner import Observers, Run
from schemas.records import HaltRecord
from schemas.units import MS_NS, S_NS

SESSION_S: Final = 6.5 * 3_600
"""A router-day: one router for the length of a US session."""
CONFIDENCE: Final = 0.95


class FalseHalt(Struct, frozen=True):
    """A halt that ought not to have been."""

    scope: str
    ts: int
    detectors: tuple[str, ...]
    text: str


class Row(Struct, frozen=True):
    """One log under one configuration. Times from the first bad event to the first right halt; -1 where there is none."""

    log: str
    scenario: str
    seed: int
    halt_expected: bool
    detected: bool
    scope: str
    detectors: tuple[str, ...]
    time_to_halt_ms: float
    bad_orders_before_halt: int
    loss_usd: float
    """Of the bad fills up to the halt (of the whole log where there was none), marked to the mid before the trouble."""
    loss_usd_unhalted: float
    false_halts: tuple[FalseHalt, ...]
    warnings: int
    false_warnings: int
    router_days: float
    """Time in which any halt is a false one, in sessions of one router."""
    events: int
    breaches: dict[str, int]


class Totals(Struct, frozen=True):
    """Rows taken together. The interval is exact (Poisson, 95 %); with no false halt its upper end is 3 / router-days."""

    incidents: int
    detected: int
    time_to_halt_ms_median: float
    bad_orders_before_halt: int
    loss_usd: float
    loss_usd_unhalted: float
    router_days: float
    false_halts: int
    false_halts_per_router_day: float
    interval: tuple[float, float]
    warnings: int
    false_warnings: int


def labels_of(path: Path, given: Path | None = None) -> Labels:
    """The labels beside a log; LogError says where they were looked for."""
    stem = log_stem(path)
    places = (
        [given]
        if given
        else [
            path.with_name(path.name + ".labels.json"),
            stem.with_name(stem.name + ".labels.json"),
            path / "labels.json",
        ]
    )
    for place in places:
        if place.is_file():
            try:
                return decode_labels(place.read_bytes())
            except msgspec.DecodeError as error:
                raise LogError(f"{place}: not labels ({error}); expected what `knightwatch simulate` writes") from error
    looked = ", ".join(str(place) for place in places)
    raise LogError(f"{path}: no labels; looked for {looked}. Give them with --labels.")


def score(
    name: str,
    open_log: Callable[[], Log],
    labels: Labels,
    stage1: Stage1Config,
    desk: DeskConfig,
    on_events: Callable[[int], None] = lambda n: None,
) -> Row:
    """Run the log and hold its halts against the labels. ``open_log`` is called once or twice (for the cost)."""
    studied = msgspec.structs.replace(desk, ack_timeout_ms=0)
    result = Run(open_log(), live_engines(stage1, studied), observers=Observers(events=on_events)).run()
    right, wrong = _sorted_out(result.halts, labels, "HALTING")
    warned, warned_wrongly = _sorted_out(result.halts, labels, "WARNED")
    cost = Cost()
    if labels.halt_expected:
        cost = cost_until(open_log(), labels.bad, labels.first_bad_ts, right[0].ts_decided if right else None)
    return Row(
        log=name,
        scenario=labels.scenario,
        seed=labels.seed,
        halt_expected=labels.halt_expected,
        detected=bool(right),
        scope=right[0].scope if right else "",
        detectors=_detectors(right[0]) if right else (),
        time_to_halt_ms=round((right[0].ts_decided - labels.first_bad_ts) / MS_NS, 3) if right else -1.0,
        bad_orders_before_halt=cost.orders,
        loss_usd=cost.loss_usd,
        loss_usd_unhalted=labels.loss_usd_unhalted,
        false_halts=tuple(FalseHalt(h.scope, h.ts_decided, _detectors(h), h.text) for h in wrong),
        warnings=len(warned) + len(warned_wrongly),
        false_warnings=len(warned_wrongly),
        router_days=_router_days(labels),
        events=result.events,
        breaches=dict(sorted(result.verdicts.items())),
    )


def totals(rows: Sequence[Row]) -> Totals:
    """Sums over logs; the median is over detected incidents (-1 if there are none)."""
    incidents = [row for row in rows if row.halt_expected]
    times = sorted(row.time_to_halt_ms for row in incidents if row.detected)
    false_halts = sum(len(row.false_halts) for row in rows)
    router_days = sum(row.router_days for row in rows)
    return Totals(
        incidents=len(incidents),
        detected=len(times),
        time_to_halt_ms_median=_median(times),
        bad_orders_before_halt=sum(row.bad_orders_before_halt for row in incidents),
        loss_usd=round(sum(row.loss_usd for row in incidents), 2),
        loss_usd_unhalted=round(sum(row.loss_usd_unhalted for row in incidents), 2),
        router_days=round(router_days, 6),
        false_halts=false_halts,
        false_halts_per_router_day=round(false_halts / router_days, 6) if router_days else 0.0,
        interval=poisson_interval(false_halts, router_days),
        warnings=sum(row.warnings for row in rows),
        false_warnings=sum(row.false_warnings for row in rows),
    )


def poisson_interval(count: int, exposure: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact (Garwood) interval of a rate from ``count`` events in ``exposure``, per unit of exposure.

    With no event it is one-sided: from 0 to -ln(1 - confidence) / exposure, the rule of three at 95 %. An exposure of 0
    bounds nothing: (0, inf).
    """
    from scipy.stats import chi2  # river depends on scipy

    if exposure <= 0:
        return 0.0, float("inf")
    if count == 0:
        return 0.0, float(chi2.ppf(confidence, 2)) / 2 / exposure
    tail = (1 - confidence) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 / exposure
    return low, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2 / exposure


def _sorted_out(halts: Sequence[HaltRecord], labels: Labels, state: str) -> tuple[list[HaltRecord], list[HaltRecord]]:
    """Transitions into a state: those on a scope in trouble, from the trouble's beginning on, and the others."""
    begins: dict[str, int] = {}
    if labels.halt_expected:
        for label in labels.scopes:
            begins[label.scope] = min(label.ts, begins.get(label.scope, label.ts))
    right: list[HaltRecord] = []
    wrong: list[HaltRecord] = []
    for record in halts:
        if record.state == state:
            begin = begins.get(record.scope)
            (right if begin is not None and record.ts_decided >= begin else wrong).append(record)
    return right, wrong


def _router_days(labels: Labels) -> float:
    """Routers times the sessions in which all was well: up to the first bad event."""
    end = labels.first_bad_ts if labels.halt_expected and labels.first_bad_ts else labels.end_ns
    return len(labels.servers) * max(0, end - labels.start_ns) / S_NS / SESSION_S


def _detectors(record: HaltRecord) -> tuple[str, ...]:
    return tuple(Counter(cause.detector for cause in record.cause))


def _median(values: Sequence[float]) -> float:
    if not values:
        return -1.0
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else round((values[middle - 1] + values[middle]) / 2, 3)
