"""What is open now: breaches by scope, holds that wait for a second input, and the marks by which repeats are known."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from detectors.fleet.bank import FleetView
from halts.config import DeskConfig
from halts.policy import ALONE, Judgement, Open, judge, observed, strength
from schemas.records import Breach
from schemas.units import MS_NS

MARKS_MAX: Final = 16_384
"""Marks kept; the one unused for longest is forgotten first (its repeats would then count as updates)."""

MarkKey = tuple[str, str, str, str, int]
"""detector, scope, server, topic, partition."""


class Mark(Struct, frozen=True):
    """How far a detector's verdicts on a scope have been taken in. ``states`` are those met at exactly this input."""

    key: MarkKey
    offset: int
    item: int
    ts: int
    states: tuple[str, ...]


class OpensState(Struct, frozen=True):
    """Everything in ``Opens`` as plain data."""

    opens: tuple[Open, ...]
    holds: dict[str, int]
    marks: tuple[Mark, ...]
    put_off: dict[str, int] = {}
    looks: tuple[str, ...] = ()


class Opens:
    """Breaches open, by scope and (detector, server), in the order in which they opened.

    Deterministic; desk time comes as an argument. Bounded by ``opens_max`` and MARKS_MAX.
    """

    def __init__(self, config: DeskConfig, state: OpensState | None = None) -> None:
        self._config = config
        self._by_scope: dict[str, dict[tuple[str, str], Open]] = {}
        self._holds: dict[str, int] = {}
        self._put_off: dict[str, int] = {}
        self._looks: dict[str, None] = {}
        self._marks: dict[MarkKey, Mark] = {}
        self._count = 0
        if state is not None:
            for o in state.opens:
                self._by_scope.setdefault(o.scope, {})[(o.detector, o.server)] = o
            self._count = len(state.opens)
            self._holds, self._put_off, self._looks = dict(state.holds), dict(state.put_off), dict.fromkeys(state.looks)
            self._marks = {mark.key: mark for mark in state.marks}

    def state(self) -> OpensState:
        """Plain data from which ``Opens(config, state)`` goes on identically."""
        opens = tuple(o for scope in self._by_scope.values() for o in scope.values())
        marks = tuple(self._marks.values())
        return OpensState(opens, dict(self._holds), marks, dict(self._put_off), tuple(self._looks))

    def is_repeat(self, breach: Breach) -> bool:
        """Was this verdict (by detector and source) taken in before? If not it is marked as taken in.

        A worker that crashed publishes again what it had published: in order, with sources up to the mark. A source
        below the mark that is later in event time comes from a topic made anew, and counts.
        """
        source = breach.source
        key = (breach.detector, breach.scope, breach.server, source.topic, source.partition)
        mark = self._marks.get(key)
        states: tuple[str, ...] = (breach.state,)
        if mark is not None:
            here, marked = (source.offset, source.item), (mark.offset, mark.item)
            if here < marked and breach.ts <= mark.ts:
                return True
            if here == marked:
                if breach.state in mark.states:
                    return True
                states = (*mark.states, breach.state)
            del self._marks[key]
        elif len(self._marks) >= MARKS_MAX:
            del self._marks[next(iter(self._marks))]
        self._marks[key] = Mark(key, source.offset, source.item, breach.ts, states)
        return False

    def take(self, breach: Breach, at: int, fleet: FleetView = ALONE) -> Judgement | None:
        """The scope's judgement after ``breach``; None if it closed and nothing is left open that could halt.
        fleet: as ``judge`` wants it."""
        scope = self._by_scope.setdefault(breach.scope, {})
        key = (breach.detector, breach.server)
        if breach.state == "close":
            if scope.pop(key, None) is not None:
                self._count -= 1
        else:
            if key not in scope:
                self._make_room()
                scope = self._by_scope.setdefault(breach.scope, scope)
                self._count += 1
            scope[key] = observed(scope.get(key), breach, at)
        return self._judge(breach.scope, at, breach.ts, breach.state != "close", fleet)

    def _judge(self, scope: str, at: int, ts: int | None, halts: bool, fleet: FleetView) -> Judgement | None:
        opens = self._by_scope.get(scope)
        if not opens:
            self._drop(scope)
            return None
        judgement = judge(self._config, tuple(opens.values()), at, ts, fleet)
        self._put_off.pop(scope, None)
        self._looks.pop(scope, None)
        if judgement.again_at:
            self._put_off[scope] = judgement.again_at
        if judgement.looks:
            self._looks[scope] = None
        if judgement.level == "hold":
            self._holds[scope] = judgement.hold_until
        elif halts:
            self._holds.pop(scope, None)
        return judgement if halts else None

    def is_due(self, at: int) -> bool:
        """Has any hold, or anything put off, run out at desk time ``at``? If not, ``due`` gives nothing."""
        if not self._holds and not self._put_off:
            return False
        return at >= min((*self._holds.values(), *self._put_off.values()))

    def due(self, at: int, fleet: FleetView = ALONE) -> Iterable[Judgement]:
        """Judgements of the scopes whose hold, or what was put off, has run out at desk time ``at``, in order."""
        waits = (*self._holds.items(), *self._put_off.items())
        for scope in sorted({s for s, until in waits if at >= until}):
            judgement = self._judge(scope, at, None, True, fleet)
            if judgement is not None:
                yield judgement

    @property
    def holding(self) -> bool:
        """Is a judgement held back for a second input, or for a look at the fleet?"""
        return bool(self._holds or self._looks)

    def sweep(self, at: int) -> None:
        """Forget breaches of which nothing was heard for ``open_stale_ms``."""
        oldest = at - self._config.open_stale_ms * MS_NS
        for scope in [s for s, opens in self._by_scope.items() if any(o.heard_at < oldest for o in opens.values())]:
            kept = {key: o for key, o in self._by_scope[scope].items() if o.heard_at >= oldest}
            self._count -= len(self._by_scope[scope]) - len(kept)
            self._replace(scope, kept)

    def forget(self, scope: str) -> None:
        """An authorised resume: what was open before it counts no more, only what is seen from now on."""
        self._count -= len(self._by_scope.get(scope, ()))
        self._replace(scope, {})

    def has(self, scope: str) -> bool:
        """Is anything open on ``scope``?"""
        return scope in self._by_scope

    def listed(self) -> list[dict[str, object]]:
        """For people: what is open, strongest first."""
        opens = [o for scope in self._by_scope.values() for o in scope.values()]
        names = ("scope", "detector", "server", "hard", "score", "limit", "ts")
        ordered = sorted(opens, key=lambda o: (not o.hard, -strength(o), o.scope, o.detector))
        return [{name: getattr(o, name) for name in names} for o in ordered]

    def _replace(self, scope: str, opens: dict[tuple[str, str], Open]) -> None:
        if opens:
            self._by_scope[scope] = opens
        else:
            self._drop(scope)

    def _drop(self, scope: str) -> None:
        """Nothing is open on it any more."""
        self._by_scope.pop(scope, None)
        for waits in (self._holds, self._put_off, self._looks):
            waits.pop(scope, None)

    def _make_room(self) -> None:
        if self._count < self._config.opens_max:
            return
        every = ((o.heard_at, scope, key) for scope, opens in self._by_scope.items() for key, o in opens.items())
        _, scope, key = min(every)
        self._count -= 1
        self._replace(scope, {k: o for k, o in self._by_scope[scope].items() if k != key})
