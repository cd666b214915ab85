"""Scenarios by name: ``build("power-peg", seed=1).simulate()`` gives a fresh, deterministic run.

scenario = build("power-peg", seed=7, minutes=2)
simulation = scenario.simulate()
for chunk in simulation.run():          # gate always open; chunks of 100 ms
    ...
labels = scenario.labels(simulation)
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from producers.catalog import BENIGN, INCIDENTS, Setting, Spec
from producers.ids import IdFormat, run_tag
from producers.labels import LOSS_BASIS_FULL, LOSS_BASIS_RATE, Labels, ScopeLabel
from producers.market import BLOCK_NS
from producers.simulation import Behaviour, Chunk, Simulation
from producers.world import OPEN_2012_08_01_NS, World, server_names
from schemas.units import MIN_NS, MS_NS, S_NS

__all__ = ["BENIGN", "INCIDENTS", "NAMES", "Chunk", "Labels", "Scenario", "Simulation", "build"]

NAMES: Final = (*INCIDENTS, *BENIGN)
COUNTERFACTUAL_S: Final = 60
"""Seconds of the incident that are simulated with an open gate before the loss is carried on at its rate."""


@dataclass(frozen=True)
class Scenario:
    """What is to be simulated; holds no state. ``incident_ns``: when the trouble is planned to begin (0: benign)."""

    name: str
    seed: int
    servers: tuple[str, ...]
    start_ns: int
    open_ns: int
    close_ns: int
    end_ns: int
    incident_ns: int
    intensity: float
    first_seq: int
    tag: bytes
    spec: Spec = field(repr=False)

    @property
    def halt_expected(self) -> bool:
        """True for incidents."""
        return self.name in INCIDENTS

    def simulate(self) -> Simulation:
        """A run from the start."""
        world = World(self.servers, self.seed, self.start_ns, self.open_ns, self.close_ns)
        words = [self.seed, zlib.crc32(self.name.encode())]
        rng = np.random.default_rng(np.random.SeedSequence(words))
        setting = Setting(rng, self.start_ns, self.open_ns, self.close_ns, self.end_ns, self.incident_ns)
        behaviours: Sequence[Behaviour] = self.spec.make(setting)
        return Simulation(
            world, behaviours, self.end_ns,
            intensity=self.intensity, ids=IdFormat(self.tag), first_seq=self.first_seq,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks of a fresh run with the gate always open."""
        return self.simulate().run()

    def loss_unhalted(self, at_most_s: int = COUNTERFACTUAL_S) -> tuple[float, str]:
        """Loss (USD) of the incident if nobody stops it, and how it was found.

        A fresh run of the same seed with the gate always open, up to ``at_most_s`` seconds beyond the start of the
        incident; what is left of the scenario is carried on at the loss rate of the last half of that.
        """
        if not self.halt_expected:
            return 0.0, LOSS_BASIS_FULL
        stop = min(self.end_ns, self.incident_ns + at_most_s * S_NS)
        half = self.incident_ns + (stop - self.incident_ns) // 2
        simulation, at_half = self.simulate(), 0.0
        for chunk in simulation.run():
            if chunk.end_ns <= half:
                at_half = simulation.loss_usd
            if chunk.end_ns >= stop:
                break
        loss = simulation.loss_usd
        if stop >= self.end_ns:
            return loss, LOSS_BASIS_FULL
        rate = (loss - at_half) / max(stop - half, 1)
        return loss + rate * (self.end_ns - stop), LOSS_BASIS_RATE

    def labels(self, run: Simulation, unhalted: tuple[float, str] | None = None) -> Labels:
        """Ground truth of ``run`` as far as it went. unhalted: of ``loss_unhalted`` (None: the gate was open)."""
        loss = run.loss_usd
        loss_unhalted, basis = unhalted if unhalted is not None else (loss, LOSS_BASIS_FULL)
        truth = run.world.truth
        return Labels(
            scenario=self.name, seed=self.seed, servers=self.servers, start_ns=self.start_ns, end_ns=run.now_ns,
            halt_expected=self.halt_expected, scopes=tuple(ScopeLabel(s, ts) for s, ts in truth.scopes),
            first_bad_ts=run.first_bad.ts if run.first_bad else 0, first_bad=run.first_bad, events=run.events,
            bad_events=sum(r.count for r in run.bad_ranges), bad_orders=run.bad_orders,
            orders_blocked=run.orders_blocked, bad_orders_blocked=run.bad_orders_blocked,
            loss_usd=round(loss, 2), loss_usd_unhalted=round(loss_unhalted, 2), loss_basis=basis,
            params=dict(truth.params),
            bad={s: r.pairs() for s, r in zip(self.servers, run.bad_ranges, strict=True) if r.count},
        )  # fmt: skip


def build(
    name: str, seed: int = 0, servers: int = 8, minutes: float | None = None, start_ns: int | None = None, *,
    incident_s: float | None = None, intensity: float = 1.0, first_seq: int = 1, tag: bytes = b"",
) -> Scenario:  # fmt: skip
    """The scenario ``name``.

    minutes: length (None: the scenario's own). start_ns: ns UTC of the first block (None: so that the market opens at
    09:30 New York time on 2012-08-01). incident_s: seconds from the start to the incident (None: the scenario's own).
    intensity: multiplies the healthy flow. first_seq and tag (4 characters): for a live run, so that neither sequence
    numbers nor ids repeat those of an earlier run. ValueError says what was wrong.
    """
    spec = INCIDENTS.get(name) or BENIGN.get(name)
    if spec is None:
        raise ValueError(f"no scenario {name!r}; expected one of {', '.join(NAMES)}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed}; expected 0 to 2**63 - 1")
    length = spec.minutes if minutes is None else minutes
    if not 0 < length <= 24 * 60:
        raise ValueError(f"{length} minutes; expected more than 0, at most 1440")
    if not 0 < intensity <= 1_000:
        raise ValueError(f"intensity {intensity}; expected more than 0, at most 1000")
    lead = spec.lead_s if incident_s is None else incident_s
    if lead < 0:
        raise ValueError(f"incident at {lead} s; expected 0 or more")
    lead_ns = round(lead * 10) * BLOCK_NS
    since_open_ns = 0 if spec.opens_at_incident else round(spec.since_open_s * 10) * BLOCK_NS
    base = OPEN_2012_08_01_NS + since_open_ns - (lead_ns if spec.opens_at_incident else 0)
    start = base if start_ns is None else start_ns // MS_NS * MS_NS
    opens = start + (lead_ns if spec.opens_at_incident else -since_open_ns)
    return Scenario(
        name, seed, server_names(servers), start, opens, opens + round(spec.session_min) * MIN_NS,
        start + round(length * 600) * BLOCK_NS, start + lead_ns if name in INCIDENTS else 0,
        intensity, first_seq, tag or run_tag(start // S_NS), spec,
    )  # fmt: skip
