"""Random commands, acks, verdicts, flow, time and restarts against the ledger, judged by a small model of its own.

``python -m benchmarks.ledger_storm [--sequences 1000000] [--seed 1] [--json]``. Two laws, checked at each input: a scope
that is closed opens only when the model, which knows nothing but the inputs and the records, says that it was authorised
(or as the end of a drill); and whatever the model says is authorised does open. At the end of each sequence every scope
that is closed is released the documented way: none may stay stuck. Exits 1 at the first breach, and prints the sequence.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from halts.config import DeskConfig
from halts.keys import Operator
from halts.ledger import decide, evolve
from halts.overview import halt_record
from halts.policy import Judgement
from halts.state import CauseAdded, Flow, LedgerState, Moved, NodeAlive, Overtaken, Refused, Said, TimePasses, Touch
from schemas.records import Ack, Cause, Command, FirstEvent, Money
from schemas.units import MS_NS

ROLES: Final[dict[str, tuple[str, ...]]] = {
    "ann": ("halt", "drill", "resume", "approve"),
    "bob": ("resume", "approve"),
    "cat": ("halt", "resume", "approve"),
    "dan": ("approve",),
    "eve": ("resume", "break_glass"),
    "mal": (),
}
OWNS: Final = {"cat": ("strategy:X", "server:R2")}
CONFIG: Final = DeskConfig(
    cool_off_ms=300, resume_stage_ms=500, ack_timeout_ms=200, join_timeout_ms=400, request_ttl_ms=900,
    warn_quiet_ms=400, probation_ms=800, command_age_ms_max=2_000, commands_max=64,
    operators={name: Operator("-", roles, OWNS.get(name, ())) for name, roles in ROLES.items()},  # type: ignore[arg-type]
)  # fmt: skip
SCOPES: Final = ("firm", "server:R1", "server:R2", "strategy:X", "symbol:A")
SERVERS: Final = ("R1", "R2")
PEOPLE: Final = tuple(ROLES)
VERBS: Final = ("halt", "resume", "resume", "resume", "resume", "approve", "approve", "approve", "approve", "drill")
WAITS: Final = 3
STEPS: Final = (6, 24)
CLOSED: Final = ("HALTING", "HALTED")
WALL0: Final = 10**18
FIRST: Final = FirstEvent("orderflow", 0, 0, WALL0)


@dataclass
class Scope:
    """What the model knows of one scope: from the records that were published, and the inputs."""

    closed: bool = False
    epoch: int = 0
    since: int = 0
    halt_id: str = ""
    halted_at: int = 0
    drill: bool = False
    about: set[str] = field(default_factory=set)
    asked: tuple[str, str, int] | None = None
    """Id, person and desk time of the resume that waits."""


def about(scope: str, server: str, causes: Iterable[Cause]) -> set[str]:
    """Scopes that a halt is about, by what its causes name."""
    found = {scope} | ({f"server:{server}"} if server else set())
    for cause in causes:
        named: dict[str, Any] = cause.evidence
        found |= {f"{kind}:{named[kind]}" for kind in ("strategy", "server") if kind in named}
        found |= {f"server:{word}" for word in named.get("servers", ())}
        found |= {named["scope"]} if "scope" in named else set()
        found |= set(named.get("scopes", ()))
    return found


class Breach(AssertionError):
    """One of the two laws does not hold."""


class Model:
    """The rules in its own words. ``now`` is desk time, ns."""

    def __init__(self) -> None:
        self.now = 0
        self.scopes = {name: Scope() for name in SCOPES}
        self.used: set[str] = set()

    def authorised(self, said: Said) -> str:
        """The scope that must open because of ``said``; empty if none may. Keeps what was asked."""
        c = said.command
        if said.problem or c.command_id in self.used:
            return ""
        self.used.add(c.command_id)
        s = self.scopes[c.scope]
        if c.verb not in ("resume", "approve") or abs(said.ts - c.ts) > 2_000 * MS_NS or not s.closed:
            return ""
        if c.emergency and c.verb != "resume":
            return ""
        if c.halt_id not in ("", s.halt_id) or not s.since <= c.epoch <= s.epoch or set(OWNS.get(c.by, ())) & s.about:
            return ""
        cool = self.now - s.halted_at >= 300 * MS_NS
        if c.verb == "approve":
            asked = s.asked
            return c.scope if asked and asked[0] == c.approves and asked[1] != c.by and cool else ""
        if c.emergency:
            return c.scope
        if c.scope == "firm" or c.scope.startswith("server:"):
            s.asked = (c.command_id, c.by, self.now)
            return ""
        return c.scope if cool else ""

    def saw(self, move: Moved) -> None:
        """A transition."""
        s = self.scopes[move.scope]
        s.epoch += 1
        s.closed = move.state in CLOSED
        s.halt_id = move.halt_id
        detectors = {cause.detector for cause in move.causes}
        s.drill = s.closed and detectors == {"drill"}
        s.about = about(move.scope, move.server, move.causes)
        if move.state == "HALTING":
            s.halted_at = self.now
            if not move.again:
                s.since = s.epoch
        if move.state != "HALTED":
            s.asked = None

    def passes(self, now: int) -> None:
        """Desk time; requests that nobody approved are void."""
        self.now = now
        for s in self.scopes.values():
            if s.closed and s.asked and now - s.asked[2] >= 900 * MS_NS:
                s.asked = None


class Storm:
    """One sequence of random inputs. Everything follows from ``seed``."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.state = LedgerState()
        self.model = Model()
        self.ids = 0
        self.adopting = False
        self.inputs: list[Any] = []
        self.counts = {"openings": 0, "authorised": 0, "refused": 0, "released": 0, "drills_ended": 0}

    def run(self) -> dict[str, int]:
        """Play the sequence; Breach if a law does not hold."""
        for _ in range(self.rng.randint(*STEPS)):
            for given in self._next():
                self.give(given)
        self._release()
        return self.counts

    def give(self, given: Any) -> None:
        """One input, and both laws."""
        self.inputs.append(given)
        may_open = self.model.authorised(given) if isinstance(given, Said) else ""
        if isinstance(given, TimePasses):
            self.model.now = given.now
        opened = []
        for event in decide(CONFIG, self.state, given):
            before = self.state
            self.state = evolve(before, event)
            if isinstance(event, Moved):
                was = self.model.scopes[event.scope]
                if was.closed and event.state not in CLOSED:
                    opened.append((event, was.drill))
                self.model.saw(event)
            elif isinstance(event, CauseAdded):
                self._about(event)
            elif isinstance(event, Overtaken):
                self.model.scopes[event.scope].epoch = event.epoch
            elif isinstance(event, Refused):
                self.counts["refused"] += 1
        if isinstance(given, TimePasses):
            self.model.passes(given.now)
        self._judge(given, may_open, opened)
        if not self.adopting:
            self._compare()

    def _about(self, event: CauseAdded) -> None:
        """A cause that was added: the halt is about what it names as well, and no drill any more."""
        s = self.model.scopes[event.scope]
        s.about |= about(event.scope, "", (event.cause,))
        s.drill = s.drill and event.cause.detector == "drill"

    def _judge(self, given: Any, may_open: str, opened: list[tuple[Moved, bool]]) -> None:
        for event, drill in opened:
            if drill and isinstance(given, TimePasses) and event.state == "ACTIVE":
                self.counts["drills_ended"] += 1
                continue
            if event.scope != may_open or event.state != "RESUMING":
                raise Breach(f"{event.scope} opened into {event.state}, which nobody was authorised to do")
            self.counts["openings"] += 1
        if may_open:
            self.counts["authorised"] += 1
            if self.state.scope(may_open).state != "RESUMING":
                raise Breach(f"an authorised resume of {may_open} did not open it")

    def _compare(self) -> None:
        for name, s in self.model.scopes.items():
            found = self.state.scope(name)
            if found.closed != s.closed or found.epoch < s.epoch:
                raise Breach(f"{name} is {found.state} at epoch {found.epoch}, the records say {s}")

    # --- inputs ---------------------------------------------------------------------------------------------------

    def _next(self) -> Iterator[Any]:
        rng = self.rng
        kind = rng.choices(
            ("judgement", "say", "time", "ack", "flow", "node", "touch", "honest", "restart"),
            (14, 30, 20, 18, 4, 5, 3, 8, 3),
        )[0]
        if kind == "restart":
            self._restart()
            return
        if kind == "honest":
            yield from self._honest(rng.choice(SCOPES))
            return
        yield getattr(self, f"_{kind}")()

    def _node(self) -> NodeAlive:
        return NodeAlive(self.rng.choice(SERVERS))

    def _touch(self) -> Touch:
        return Touch(self.rng.choice(SCOPES), WALL0 + self.state.now, Money(1.0))

    def _time(self) -> TimePasses:
        step = self.rng.choice((50, 100, 250, 500)) * MS_NS
        held = frozenset(n for n in self.state.live if self.rng.random() < 0.1)
        return TimePasses(self.state.now + step, held)

    def _flow(self) -> Flow:
        late = WALL0 + self.state.now + self.rng.choice((-500, 500)) * MS_NS
        return Flow(self.rng.choice(SERVERS), late, late, 3, FIRST, Money())

    def _ack(self) -> Ack:
        rng = self.rng
        s = self.state.scope(rng.choice(SCOPES))
        server = s.scope[7:] if s.scope.startswith("server:") and rng.random() < 0.8 else rng.choice(SERVERS)
        epoch = s.halt_epoch + rng.choice((0, 0, 0, 1, -1))
        halt_id = s.halt_id if rng.random() < 0.9 else "other"
        status = rng.choice(("blocked", "cancelling", "confirmed", "confirmed"))
        return Ack(server, WALL0 + self.state.now, halt_id, s.scope, epoch, status)  # type: ignore[arg-type]

    def _judgement(self) -> Judgement:
        rng = self.rng
        scope = rng.choice(SCOPES)
        server = scope[7:] if scope.startswith("server:") else rng.choice(("", *SERVERS))
        evidence: dict[str, object] = {"strategy": "X"} if rng.random() < 0.3 else {}
        detector = rng.choice(("conservation", "rate", "drift"))
        first = FirstEvent("orderflow", 0, rng.randrange(50), WALL0)
        return Judgement(
            scope=scope,
            level=rng.choice(("warn", "halt", "halt", "none")),
            causes=(Cause(detector, 3.0, 1.0, 0.0, evidence, first),),
            server=server,
            ts_event=WALL0,
            ts_decided=WALL0 + self.state.now,
            flow=rng.random() < 0.5,
            seen=rng.choice((1, 2)),
        )

    def _say(self) -> Said:
        rng = self.rng
        verb = VERBS[rng.randrange(len(VERBS))]
        waiting = [name for name in SCOPES if self.model.scopes[name].asked] if verb == "approve" else []
        s = self.state.scope(rng.choice(waiting or SCOPES))
        asked = self.model.scopes[s.scope].asked
        return self._said(
            verb,
            s.scope,
            asked[1] if asked and rng.random() < 0.2 else rng.choice(PEOPLE),
            epoch=s.epoch + rng.choice((0, 0, 0, 0, -1, -2, 1)),
            halt_id=rng.choice(("", s.halt_id, s.halt_id, "other")),
            approves=asked[0] if asked and rng.random() < 0.8 else "nothing",
            emergency=rng.random() < 0.1,
            forged=rng.random() < 0.15,
            again=rng.random() < 0.1,
            stale=rng.random() < 0.1,
        )

    def _honest(self, scope: str) -> Iterator[Any]:
        """As the runbook says, but for who approves, and whether they wait."""
        s = self.state.scope(scope)
        if not s.closed:
            return
        if self.rng.random() < 0.6:
            yield TimePasses(self.state.now + 300 * MS_NS, frozenset())
        ask = self._said("resume", scope, "ann", epoch=self.state.scope(scope).epoch)
        yield ask
        agrees = self.rng.choice(("bob", "dan", "cat", "ann", "mal"))
        yield self._said("approve", scope, agrees, epoch=self.state.scope(scope).epoch, approves=ask.command.command_id)

    def _said(
        self, verb: Any, scope: str, by: str, *, epoch: int, halt_id: str = "", approves: str = "",
        emergency: bool = False, forged: bool = False, again: bool = False, stale: bool = False,
    ) -> Said:  # fmt: skip
        self.ids += not again or not self.ids
        wall = WALL0 + self.state.now
        stamp = wall - 3_000 * MS_NS if stale else wall
        c = Command(f"c{self.ids}", stamp, verb, scope, "reason", by, halt_id, epoch, approves, emergency=emergency)
        role = "break_glass" if emergency else verb
        problem = "the signature is wrong" if forged else None if role in ROLES[by] else f"{by} may not {role}"
        return Said(c, FirstEvent("commands", 0, self.ids, stamp), problem, wall)

    # --- restart, release -----------------------------------------------------------------------------------------

    def _restart(self) -> None:
        """The desk dies, its snapshot with it: what stands on ``halts`` is all that is left."""
        standing = [halt_record(self.state, name, 1) for name in self.state.scopes if self.state.scope(name).epoch]
        now = self.state.now
        self.state = evolve(LedgerState(), decide(CONFIG, LedgerState(), TimePasses(now, frozenset()))[0])
        self.model.used.clear()
        self.ids += 1
        self.adopting = True
        for record in standing:
            s = self.model.scopes[record.scope]
            s.asked, s.halted_at, s.since = None, now, s.epoch
            s.about = about(record.scope, record.scope[7:] if record.scope.startswith("server:") else "", record.cause)
            self.give(record)
        self.adopting = False
        self._compare()

    def _release(self) -> None:
        """Every latch has a way out."""
        for name in SCOPES:
            if not self.state.scope(name).closed:
                continue
            for _ in range(WAITS):  # what time itself halts anew begins its cool-off then
                self.give(TimePasses(self.state.now + 400 * MS_NS, frozenset()))
            if not self.state.scope(name).closed:  # it was a drill
                continue
            self.ids += 1
            for given in self._honest_release(name):
                self.give(given)
            if self.state.scope(name).closed:
                raise Breach(f"{name} is stuck in {self.state.scope(name).state}")
            self.counts["released"] += 1

    def _honest_release(self, name: str) -> Iterator[Said]:
        ask = self._said("resume", name, "ann", epoch=self.state.scope(name).epoch)
        yield ask
        if self.state.scope(name).closed:
            epoch = self.state.scope(name).epoch
            yield self._said("approve", name, "bob", epoch=epoch, approves=ask.command.command_id)


def storm(sequences: int, seed: int) -> dict[str, Any]:
    """Play ``sequences`` of them; the counts of all together."""
    total: dict[str, int] = {}
    inputs = 0
    for i in range(sequences):
        one = Storm(seed * 1_000_003 + i)
        try:
            counts = one.run()
        except Breach as breach:
            shown = "\n".join(f"  {given}" for given in one.inputs)
            raise Breach(f"sequence {i} of seed {seed}: {breach}\n{shown}") from breach
        inputs += len(one.inputs)
        for key, n in counts.items():
            total[key] = total.get(key, 0) + n
    return {"sequences": sequences, "seed": seed, "inputs": inputs, **total, "breaches": 0}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--sequences", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    began = time.perf_counter()
    try:
        found = storm(arguments.sequences, arguments.seed)
    except Breach as breach:
        print(breach, file=sys.stderr)
        raise SystemExit(1) from breach
    found["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(found) if arguments.json else "\n".join(f"{key:14} {n:,}" for key, n in found.items()))


if __name__ == "__main__":
    main()
