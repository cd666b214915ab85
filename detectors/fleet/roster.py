"""What the fleet shows of itself: the facts that its detectors judge, by server, from the records the desk takes in.

Taking a record in is all that happens between two judgements, so it is cheap: sums in plain floats, no arrays.
Times called ``at`` are desk time (ns), which passes with the ticks; ``ts`` is event time.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final, Protocol

from msgspec import Struct, field

from schemas.records import Breach, Declared, FeatureRow, FirstEvent, Money, NodeState, Source
from schemas.scopes import CANARY_SERVER, parse
from schemas.units import S_NS

COUNTS: Final = ("asks", "parents", "fills", "hits", "rejects")
"""Orders and replaces; parents; fills; aggressive fills; refused orders."""
ASKS, PARENTS, FILLS, HITS, REJECTS = range(len(COUNTS))
CHANGES_MAX: Final = 256
SYMBOLS_MAX: Final = 4_096
NEVER: Final = -(2**62)
BOUNDLESS: Final = 2**62
STALE_NS: Final = 600 * S_NS
_READ: Final = (
    "orders", "replaces", "parents", "fills", "buys_at_ask", "sells_at_bid", "rejects", "net_usd", "spread_burn_usd",
)  # fmt: skip
_values: Final = itemgetter(*_READ)
"""What is read of a row, in one call: there are more rows than anything else."""


class Observed(Struct, frozen=True):
    """What a node runs, or what it ought to."""

    build: str
    config: str
    flags: dict[str, bool]

    def differs(self, other: "Observed") -> dict[str, tuple[str, str]]:
        """What of it differs: ``build``, ``config``, ``flag NAME`` -> (own value, the other's)."""
        found = {}
        for name in ("build", "config"):
            own, its = getattr(self, name), getattr(other, name)
            if own != its:
                found[name] = (own, its)
        for flag in sorted({*self.flags, *other.flags}):
            own, its = self.flags.get(flag), other.flags.get(flag)
            if own != its:
                found[f"flag {flag}"] = (_flag(own), _flag(its))
        return found


def _flag(value: bool | None) -> str:
    return "absent" if value is None else "on" if value else "off"


class Change(Struct, frozen=True):
    """A node began to run, or was declared to run, something else."""

    server: str
    at: int
    ts: int
    declared: bool
    release: str
    what: dict[str, tuple[str, str]]
    """What changed -> (before, after)."""
    abnormal: tuple[str, ...]
    """Servers that were abnormal then."""


class Placed(Protocol):
    """Where a record stands on the desk's log."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


class Server(Struct):
    """One server. ``offset``: of the newest record about it on the desk's log, the source of verdicts about it."""

    name: str
    topic: str
    partition: int
    offset: int
    event: Source | None = None
    """The newest event that stage 1 has told of."""
    ts: int = 0
    heard_at: int = NEVER
    """Of the newest row."""
    asked_at: int = NEVER
    """Of the newest row with orders."""
    frame: int = -1
    frames: int = 0
    """Frames gone by."""
    counts: list[float] = field(default_factory=lambda: [0.0] * len(COUNTS))
    """Totals of ``COUNTS``."""
    loss_usd: float = 0.0
    gross_usd: float = 0.0
    net_usd: float = 0.0
    burn_usd: float = 0.0
    """Paid beyond the mid by aggressive fills, in all."""
    scored: int = 0
    """Events that stage 1 has scored or knows to be missing."""
    missing: int = 0
    running: Observed | None = None
    running_at: int = NEVER
    """Since when."""
    beat_at: int = NEVER
    """Of the newest node record."""
    beat_ts: int = 0
    published: int = 0
    """Events that the node says it has published."""
    level: int = BOUNDLESS
    """Least lead of ``published`` over ``scored`` when a node record came: what it is when stage 1 keeps up."""
    said: Observed | None = None
    said_at: int = NEVER
    release: str = ""
    opens: dict[str, int] = field(default_factory=dict)
    """Detectors with an open breach of stage 1 on this server -> when it was last told."""
    symbols: dict[str, list[str]] = field(default_factory=dict)
    """Detector -> symbols that its open breach names."""

    @property
    def place(self) -> Source:
        """Of the newest record about it."""
        return Source(self.topic, self.partition, self.offset)

    @property
    def first(self) -> FirstEvent:
        """The newest event known; of a server that has sent none, the newest record."""
        at = self.event or self.place
        return FirstEvent(at.topic, at.partition, at.offset, self.ts, item=at.item)


class Roster(Struct):
    """Every server seen, and the last changes of what they run."""

    servers: dict[str, Server] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    ts: int = 0
    """Newest event time."""
    newest: str = ""
    """Server of the last record."""
    left_out: int = 0
    """Records of servers beyond ``servers_max``."""

    def _of(self, name: str, at: Placed, servers_max: int) -> Server | None:
        if name.startswith(CANARY_SERVER) or not name:
            return None
        if len(self.servers) >= servers_max:
            self.left_out += 1
            return None
        server = self.servers[name] = Server(name, at.topic, at.partition, at.offset)
        return server

    def row(self, row: FeatureRow, at: Placed, now: int, servers_max: int) -> None:
        """Take a row in; one that was taken in before (a worker that crashed sends it again) changes nothing."""
        server = self.servers.get(row.server) or self._of(row.server, at, servers_max)
        if server is None:
            return
        frame, ts, before = row.frame, row.ts, server.frame
        if frame <= before and ts <= server.ts:
            return
        # a clock set far ahead, or a topic made anew, is a step of one frame
        step = frame - before
        server.frames += step if 0 < step <= 6_000 and before >= 0 else 1
        server.frame, server.ts, server.heard_at, server.offset = frame, ts, now, at.offset
        self.newest, server.event = server.name, row.source
        if ts > self.ts:
            self.ts = ts
        try:
            orders, replaces, parents, fills, buys, sells, rejects, net_usd, burn_usd = _values(row.values)
        except KeyError:  # of a version that had less
            orders, replaces, parents, fills, buys, sells, rejects, net_usd, burn_usd = (
                row.values.get(name, 0.0) for name in _READ
            )
        counts = server.counts
        if asks := orders + replaces:
            server.asked_at = now
            counts[ASKS] += asks
        counts[PARENTS] += parents
        counts[FILLS] += fills
        counts[HITS] += buys + sells
        counts[REJECTS] += rejects
        server.net_usd += net_usd
        server.burn_usd += burn_usd
        money, told = row.money, row.counters
        server.loss_usd, server.gross_usd = money.loss_usd, money.gross_usd
        missing = told.get("missing", 0)
        scored = told.get("events", 0) + missing
        if scored < server.scored:
            server.level = BOUNDLESS
        server.missing, server.scored = missing, scored

    def node(self, node: NodeState, at: Placed, now: int, servers_max: int) -> None:
        """Take in what a node says of itself."""
        server = self.servers.get(node.server) or self._of(node.server, at, servers_max)
        if server is None:
            return
        if node.seq < server.published:
            server.level = BOUNDLESS
        server.beat_at, server.beat_ts, server.published, server.offset = now, node.ts, node.seq, at.offset
        self.newest = server.name
        if server.scored:
            server.level = min(server.level, node.seq - server.scored)
        if node.ts > self.ts:
            self.ts = node.ts
        before = server.running
        if before is not None and (before.build, before.config, before.flags) == (node.build, node.config, node.flags):
            return
        server.running, server.running_at = Observed(node.build, node.config, dict(node.flags)), now
        if before is not None:
            self._note(server, node.ts, now, False, "", server.running.differs(before))

    def declared(self, said: Declared, at: Placed, now: int, servers_max: int) -> None:
        """Take in what the release process says."""
        server = self.servers.get(said.server) or self._of(said.server, at, servers_max)
        if server is None:
            return
        before = server.said
        server.said, server.release = Observed(said.build, said.config, dict(said.flags)), said.release
        if before is None:
            server.said_at = now
        elif what := server.said.differs(before):
            server.said_at = now
            self._note(server, said.ts, now, True, said.release, what)

    def _note(
        self, server: Server, ts: int, now: int, declared: bool, release: str, what: dict[str, tuple[str, str]]
    ) -> None:
        # what a change turns round is before -> after
        turned = {name: (its, own) for name, (own, its) in what.items()}
        self.changes.append(Change(server.name, now, ts, declared, release, turned, self.abnormal()))
        del self.changes[:-CHANGES_MAX]

    def breach(self, breach: Breach, at: Placed, now: int, servers_max: int) -> None:
        """Take in a verdict of stage 1."""
        server = self.servers.get(breach.server) or self._of(breach.server, at, servers_max)
        if server is None:
            return
        if breach.state == "close":
            server.opens.pop(breach.detector, None)
            server.symbols.pop(breach.detector, None)
            return
        server.opens[breach.detector] = now
        if named := symbols_of(breach):
            kept = server.symbols.setdefault(breach.detector, [])
            kept += [name for name in named if name not in kept][: SYMBOLS_MAX - len(kept)]

    def abnormal(self) -> tuple[str, ...]:
        """Servers with an open breach, in order."""
        return tuple(name for name, server in self.servers.items() if server.opens)

    def forget(self, now: int) -> None:
        """Breaches of which nothing was heard for STALE_NS count no more: who was to close them lost his state."""
        for server in self.servers.values():
            if not server.opens:
                continue
            for detector in [d for d, at in server.opens.items() if now - at > STALE_NS]:
                del server.opens[detector]
                server.symbols.pop(detector, None)

    def change_of(self, server: str, now: int, within_ns: int) -> Change | None:
        """The newest change of what a server runs, or was declared to, within a time; None if there was none."""
        for change in reversed(self.changes):
            if now - change.at > within_ns:
                return None
            if change.server == server:
                return change
        return None

    def current(self, now: int, within_ns: int) -> list[Server]:
        """Servers whose rows come."""
        return [server for server in self.servers.values() if now - server.heard_at <= within_ns]

    def total(self) -> Money:
        """Loss and gross position of all servers."""
        every: Sequence[Server] = list(self.servers.values())
        return Money(round(sum(s.loss_usd for s in every), 2), 0.0, round(sum(s.gross_usd for s in every), 2))


def symbols_of(breach: Breach) -> list[str]:
    """Symbols that a breach names, by its scope or in its evidence."""
    kind, name = parse(breach.scope) if ":" in breach.scope else ("", "")
    named: Any = breach.evidence.get("symbols") or breach.evidence.get("symbol") or ()
    if isinstance(named, str):
        named = [named]
    found = [str(x) for x in named] if isinstance(named, list | tuple | dict) else []
    if kind == "symbol":
        found.append(name)
    return [x for x in found if x]
