"""A fleet fed by hand: frames of 100 ms for all servers, node and declared records, ticks."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from detectors.fleet.bank import Fleet
from detectors.fleet.config import FleetConfig
from schemas.records import Breach, Declared, FeatureRow, FirstEvent, Money, NodeState, Source

T0 = 1_343_827_800_000_000_000
FRAME = 100_000_000
NAMES = tuple(f"R{i}" for i in range(1, 9))
BUILD, CONFIG, FLAGS = "7.2.1", "c0ffee", {"rlp": True, "power_peg": False}

Values = Mapping[str, float]
Flow = Callable[[int, str], Values]
"""frame, server -> values of its row."""


class World:
    """A fleet, its desk time, and every breach that came out. ``shift_ns`` moves all stamps."""

    def __init__(self, config: FleetConfig | None = None, names: tuple[str, ...] = NAMES, shift_ns: int = 0) -> None:
        self.config = config or FleetConfig()
        self.fleet = Fleet(self.config)
        self.names = names
        self.shift = shift_ns
        self.now = 0
        self.frame = 0
        self.offset = 0
        self.events = dict.fromkeys(names, 0)
        self.money: dict[str, Money] = {}
        self.missing = dict.fromkeys(names, 0)
        self.out: list[Breach] = []

    @property
    def ts(self) -> int:
        return T0 + self.shift + self.now

    def place(self) -> Source:
        self.offset += 1
        return Source("verdicts", 0, self.offset)

    def row(self, server: str, values: Values, late_ns: int = 0) -> None:
        self.events[server] += int(sum(values.get(k, 0) for k in ("orders", "parents", "fills", "rejects")))
        frame = (self.ts - late_ns) // FRAME
        row = FeatureRow(
            server, (frame + 1) * FRAME, frame, dict(values), {}, Source("orderflow", 0, self.offset),
            self.money.get(server, Money()), {"events": self.events[server], "missing": self.missing[server]},
        )  # fmt: skip
        self.fleet.row(row, self.place(), self.now)

    def node(
        self, server: str, build: str = BUILD, config: str = CONFIG, seq: int | None = None, **flags: bool
    ) -> None:
        seq = self.events[server] if seq is None else seq
        state = NodeState(server, self.ts, build, config, {**FLAGS, **flags}, None, seq)
        self.fleet.node(state, self.place(), self.now)

    def declare(
        self, server: str, release: str = "r1", build: str = BUILD, config: str = CONFIG, **flags: bool
    ) -> None:
        said = Declared(server, self.ts, release, build, config, {**FLAGS, **flags})
        self.fleet.declared(said, self.place(), self.now)

    def breach(self, server: str, detector: str = "rate", state: Any = "open", **other: Any) -> None:
        found = Breach(
            server, self.ts, detector, other.pop("family", "rate"), other.pop("hard", False), state,
            other.pop("scope", f"server:{server}"), 2.0, 1.0, 0.0, other.pop("evidence", {}),
            FirstEvent("orderflow", 0, 0, self.ts), Source("orderflow", 0, self.offset),
        )  # fmt: skip
        self.fleet.breach(found, self.place(), self.now)

    def tick(self) -> list[Breach]:
        self.now += FRAME
        found = self.fleet.tick(self.now)
        self.out += found
        return found

    def run(self, seconds: float, flow: Flow, nodes: bool = False) -> list[Breach]:
        """So many seconds of rows of all servers, each after its tick; node records once a second if wanted."""
        found: list[Breach] = []
        for _ in range(round(seconds * 10)):
            for name in self.names:
                values = flow(self.frame, name)
                if values:
                    self.row(name, values)
            if nodes and self.frame % 10 == 0:
                for name in self.names:
                    self.node(name)
            self.frame += 1
            found += self.tick()
        return found

    def restored(self) -> None:
        """Snapshot and restore."""
        self.fleet = Fleet.restore(self.config, self.fleet.snapshot())


def ordinary(seed: int = 1, times: float = 1.0, weights: Mapping[str, float] | None = None) -> Flow:
    """Clustered flow: parents come seldom, each brings a batch of orders; most are filled, half of them aggressively."""
    rng = np.random.default_rng(seed)

    def flow(frame: int, server: str) -> Values:
        rate = times * (weights or {}).get(server, 1.0)
        parents = int(rng.poisson(0.8 * rate))
        orders = int(rng.poisson(1.0, parents).sum() * 3 + rng.poisson(1.6 * rate))
        fills = int(rng.binomial(orders, 0.9))
        hits = int(rng.binomial(fills, 0.45))
        return {
            "parents": parents, "orders": orders, "fills": fills, "buys_at_ask": hits // 2,
            "sells_at_bid": hits - hits // 2, "rejects": int(rng.binomial(orders, 0.002)), "net_usd": 0.0,
        }  # fmt: skip

    return flow


def but(base: Flow, server: str, **more: float) -> Flow:
    """``base``, with more of something on one server in every frame."""

    def flow(frame: int, name: str) -> Values:
        values = dict(base(frame, name))
        if name == server:
            for key, extra in more.items():
                values[key] = values.get(key, 0.0) + extra
        return values

    return flow


def names_of(breaches: list[Breach], state: str = "open") -> list[str]:
    """Detectors, in order, of the breaches in a state."""
    return [b.detector for b in breaches if b.state == state]
