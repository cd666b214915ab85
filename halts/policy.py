"""Which breaches halt, which warn, which halt together: a pure function of what is open on a scope.

Hard invariants halt alone and at once. Statistical scores warn alone; they halt when enough independent groups are open
at once, or one is beyond its stated ``bound_halt``. A statistical halt that rests on a single input waits for a second
input, but never longer than ``confirm_ms``: one bad tick does not halt, and nothing is put off without bound. What a
move of the whole fleet can explain (``Rule.common``) is put off likewise: by ``common_look_ms``, until the fleet has been
seen since; and while it does explain it, by at most ``common_hold_ms``.
"""

from collections.abc import Iterable, Sequence
from math import isfinite
from sys import float_info
from typing import Final, Literal

from msgspec import Struct, structs

from detectors.fleet.bank import FleetView
from halts.config import DeskConfig, Rule
from schemas.records import Breach, Cause, FirstEvent, Money, Source
from schemas.units import MS_NS

Level = Literal["none", "warn", "hold", "halt"]
ALONE: Final = FleetView()
"""No fleet to ask."""
SINGLE: Final = 1
"""Inputs that are not enough for a statistical halt at once."""


class Open(Struct, frozen=True):
    """A breach that is open on a scope. ``ts`` fields are event time, ``*_at`` fields desk time, both ns."""

    scope: str
    detector: str
    family: str
    server: str
    hard: bool
    score: float
    limit: float
    baseline: float
    bound_halt: float
    evidence: dict[str, object]
    first_event: FirstEvent
    money: Money
    ts: int
    source: Source
    seen: int
    """Different inputs that showed it (counted up to 2)."""
    opened_at: int
    heard_at: int
    beyond_at: int = -1
    """When the score first was beyond ``bound_halt``; -1 while it is not."""
    beyond_seen: int = 0
    """Different inputs that showed it beyond (counted up to 2)."""

    def cause(self) -> Cause:
        """As it stands in a halt record."""
        return cause_of(self.detector, self.score, self.limit, self.baseline, self.evidence, self.first_event)


class Judgement(Struct, frozen=True):
    """What follows for a scope. ``causes`` are those that made it; ``hold_until`` is desk time (level ``hold``), and so
    is ``again_at``, when what is put off must be judged again (0: nothing is); ``looks``: only until the fleet was seen.
    ``flow``: the causes mean new orders, now. ``server``: where the flow comes from. ``seen``: inputs behind it (up to 2).
    ``ts_decided``: event time of the input that decided it (a hold that ran out: of the newest cause, plus desk time since).
    """

    scope: str
    level: Level
    causes: tuple[Cause, ...] = ()
    server: str = ""
    ts_event: int = 0
    ts_decided: int = 0
    money: Money = Money()
    flow: bool = False
    seen: int = 2
    hold_until: int = 0
    again_at: int = 0
    looks: bool = False


def cause_of(
    detector: str, score: float, limit: float, baseline: float, evidence: dict[str, object], first: FirstEvent
) -> Cause:
    """A cause whose numbers survive JSON: infinities become the largest float, NaN becomes 0."""
    return Cause(detector, _finite(score), _finite(limit), _finite(baseline), evidence, first)


def _finite(x: float) -> float:
    if isfinite(x):
        return x
    return 0.0 if x != x else (float_info.max if x > 0 else -float_info.max)


def observed(before: Open | None, breach: Breach, at: int) -> Open:
    """The open breach after ``breach`` (state ``open`` or ``update``) was taken in at desk time ``at``."""
    new_input = before is None or before.source != breach.source
    seen = min(2, (before.seen if before else 0) + new_input)
    beyond = 0 < breach.bound_halt <= breach.score
    beyond_seen = min(2, (before.beyond_seen if before else 0) + new_input) if beyond else 0
    beyond_at = (before.beyond_at if before and before.beyond_at >= 0 else at) if beyond else -1
    return Open(
        scope=breach.scope,
        detector=breach.detector,
        family=breach.family,
        server=breach.server,
        hard=breach.hard,
        score=breach.score,
        limit=breach.limit,
        baseline=breach.baseline,
        bound_halt=breach.bound_halt,
        evidence=breach.evidence,
        first_event=breach.first_event,
        money=breach.money,
        ts=max(breach.ts, before.ts) if before else breach.ts,
        source=breach.source,
        seen=max(seen, SINGLE),
        opened_at=before.opened_at if before else at,
        heard_at=at,
        beyond_at=beyond_at,
        beyond_seen=beyond_seen,
    )


def judge(config: DeskConfig, opens: Sequence[Open], at: int, ts: int | None, fleet: FleetView = ALONE) -> Judgement:
    """What the breaches open on one scope mean at desk time ``at``.

    opens: in the order in which they opened, at least one. ts: event time of the breach just taken in; None when a
    tick asks because a hold may have run out. fleet: of which servers a move of all explains what is ``common``.
    """
    every = [(o, config.rule(o.detector, o.family)) for o in opens]
    put_off = [_put_off_until(config, o, rule, fleet) for o, rule in every]
    again_at = min((until for until in put_off if until > at), default=0)
    if not again_at:
        return _judge(config, every, at, ts)
    left = [one for one, until in zip(every, put_off, strict=True) if until <= at]
    judgement = _judge(config, left, at, ts) if left else Judgement(opens[0].scope, "none")
    looks = any(until > at and o.server not in fleet.explained for o, until in zip(opens, put_off, strict=True))
    return structs.replace(judgement, again_at=again_at, looks=looks)


def _put_off_until(config: DeskConfig, o: Open, rule: Rule, fleet: FleetView) -> int:
    """Desk time until which it does not count, because the whole fleet moves or may be moving (0: it counts)."""
    if o.hard or not rule.common or o.beyond_at >= 0:
        return 0
    if o.server in fleet.explained:
        return o.opened_at + config.common_hold_ms * MS_NS
    return o.opened_at + config.common_look_ms * MS_NS if o.server in fleet.compared else 0


def _judge(config: DeskConfig, rules: Sequence[tuple[Open, Rule]], at: int, ts: int | None) -> Judgement:
    if halting := [o for o, rule in rules if o.hard and rule.hard == "halt"]:
        return _judgement(config, "halt", halting, rules, at, ts)
    due: list[int] = []
    for makers, due_at, confirmed in (*_lone(config, rules), *_agreeing(config, rules)):
        if confirmed or at >= due_at:
            return _judgement(config, "halt", makers, rules, at, ts)
        due.append(due_at)
    warning = [o for o, rule in rules if (rule.hard if o.hard else rule.statistical) != "ignore"]
    if due:
        return _judgement(config, "hold", warning, rules, at, ts, hold_until=min(due))
    return _judgement(config, "warn" if warning else "none", warning, rules, at, ts)


Candidate = tuple[list[Open], int, bool]
"""Makers, desk time by which it is decided, whether a second input has confirmed it."""


def _lone(config: DeskConfig, rules: Sequence[tuple[Open, Rule]]) -> list[Candidate]:
    """Statistical breaches that may halt alone: their rule says so, or they are beyond ``bound_halt``."""
    wait = config.confirm_ms * MS_NS
    found: list[Candidate] = []
    for o, rule in rules:
        if o.hard:
            continue
        if rule.statistical == "halt":
            found.append(([o], o.opened_at + wait, o.seen > SINGLE))
        elif rule.statistical == "combine" and o.beyond_at >= 0:
            found.append(([o], o.beyond_at + wait, o.beyond_seen > SINGLE))
    return found


def _agreeing(config: DeskConfig, rules: Sequence[tuple[Open, Rule]]) -> list[Candidate]:
    """Independent groups that are open together, the strongest of each group."""
    candidates = [(o, r) for o, r in rules if (r.hard if o.hard else r.statistical) == "combine"]
    if len(candidates) < config.families_to_halt:
        return []
    newest = max(o.ts for o, _ in candidates)
    strongest: dict[str, Open] = {}
    for o, rule in candidates:
        if newest - o.ts > config.combine_window_ms * MS_NS:
            continue
        group = rule.group or o.family
        held = strongest.get(group)
        if held is None or strength(o) > strength(held):
            strongest[group] = o
    if len(strongest) < config.families_to_halt:
        return []
    makers = list(strongest.values())
    confirmed = any(o.seen > SINGLE for o in makers) or len({_place(o.source) for o in makers}) > 1
    return [(makers, max(o.opened_at for o in makers) + config.confirm_ms * MS_NS, confirmed)]


def strength(o: Open) -> float:
    """Score in multiples of the limit."""
    return o.score / o.limit if o.limit > 0 else o.score


def _place(source: Source) -> tuple[str, int, int, int]:
    return (source.topic, source.partition, source.offset, source.item)


def _judgement(
    config: DeskConfig,
    level: Level,
    makers: Sequence[Open],
    rules: Sequence[tuple[Open, Rule]],
    at: int,
    ts: int | None,
    hold_until: int = 0,
) -> Judgement:
    """The judgement that ``makers`` make. Hard causes first, then by first event: so the same cause decided twice leads
    the list, and gives the same halt_id."""
    scope = rules[0][0].scope
    if not makers:
        return Judgement(scope, "none")
    ordered = sorted(makers, key=lambda o: (not o.hard, o.first_event.ts, o.first_event.offset, o.detector))
    flows = {id(o) for o, rule in rules if rule.flow and ts is not None}
    since = at - max(o.heard_at for o in ordered)
    return Judgement(
        scope=scope,
        level=level,
        causes=tuple(o.cause() for o in ordered[: config.causes_max]),
        server=ordered[0].server,
        ts_event=min(o.first_event.ts for o in ordered),
        ts_decided=max(o.ts for o in ordered) + since if ts is None else ts,
        money=largest_money(o.money for o in ordered),
        flow=any(id(o) in flows for o in ordered),
        seen=2 if len({_place(o.source) for o in makers}) > 1 else max(o.seen for o in makers),
        hold_until=hold_until,
    )


def largest_money(parts: Iterable[Money]) -> Money:
    """Element by element the largest: several detectors price the same orders, so that a sum would count them twice."""
    money = Money()
    for part in parts:
        money = Money(
            max(money.loss_usd, _finite(part.loss_usd)),
            max(money.loss_usd_per_s, _finite(part.loss_usd_per_s)),
            max(money.gross_usd, _finite(part.gross_usd)),
        )
    return money
