"""Parameters of the fleet's detectors, with units in the names. config/default.toml repeats every default."""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.units import DAY_MIN

Above = Annotated[float, Meta(gt=0)]
AtLeast = Annotated[float, Meta(ge=0)]


class DivergenceConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A server against its peers. See ``detectors/fleet/divergence.py``."""

    limit_nats: Above = 16.0
    """Evidence against "like its peers" at which the breach opens."""
    headroom: Annotated[float, Meta(ge=1)] = 3.0
    """A server may send this many times what its peers' flow makes likely (twice that while its share is unknown)."""
    crossing_headroom: Annotated[float, Meta(ge=1)] = 1.3
    """The same for its share of aggressive fills."""
    dispersion: Annotated[float, Meta(ge=1)] = 150.0
    """Variance-to-mean ratio of orders: they come in clusters, and clusters hit one server at a time."""
    crossing_dispersion: Annotated[float, Meta(ge=1)] = 10.0
    reject_dispersion: Annotated[float, Meta(ge=1)] = 2.0
    reject_share_min: Annotated[float, Meta(gt=0, le=1)] = 0.002
    """Least share of refused orders that counts as ordinary."""
    orders_per_s_min: Above = 2.0
    """Least flow that counts as ordinary."""
    quiet_s: AtLeast = 5.0
    bound_halt: AtLeast = 64.0
    """Limits beyond which it halts alone; 0: never."""


class DriftConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Observed against declared. See ``detectors/fleet/drift.py``."""

    owner: Annotated[str, Meta(min_length=1, max_length=60)] = "release desk"
    """Who has to repair or declare what is found. Named in the warning."""
    grace_s: AtLeast = 5.0
    """Desk time after a declaration in which the node may differ from it: a restart takes time."""
    change_grace_s: AtLeast = 1.0
    """Desk time after a node's own change in which the declaration may come."""
    point_s: Above = 30.0
    """Every so long that nobody repairs it counts as one more point."""
    halt_points: AtLeast = 12.0
    """Points at which it halts alone: one for each thing that differs, each refused order too many, each ``point_s``.
    0: never."""
    widened_servers: Annotated[int, Meta(ge=1, le=1_000)] = 2
    """So many servers that become abnormal after a change, when one was before, say that the change widened it."""
    widened_s: Above = 600.0
    """How long after a change."""


class BreadthConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Many at once. See ``detectors/fleet/breadth.py``."""

    move_ratio: Annotated[float, Meta(gt=1)] = 2.0
    """The fleet moves as one when its median server sends this many times its usual rate, and parents rise too."""
    together_s: AtLeast = 30.0
    """How long a common move explains what single servers show, after it was last seen."""
    servers_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Share of the servers abnormal at once that opens a breach."""
    symbols_limit: Annotated[int, Meta(ge=2)] = 20
    """Symbols abnormal at once that open a breach."""
    quiet_s: AtLeast = 30.0


class ParticipationConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Own push on prices. See ``detectors/fleet/participation.py``."""

    limit_nats: Above = 16.0
    """Evidence against "prices do not follow what we hold" that opens a breach."""
    push_usd_limit: Above = 20_000.0
    """Least push since it began."""
    headroom: AtLeast = 3.0
    """Push that this many times the peers' median is everybody's market."""
    quiet_s: AtLeast = 30.0


class SilenceConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What is not heard. See ``detectors/fleet/silence.py``."""

    heartbeat_s: Above = 12.0
    """Desk time without a node record that opens a breach, of a node that had flow within ``flow_s``. Longer than the
    records of living nodes are held up when a worker dies (6 s session time-out, and the rebalance)."""
    flow_s: Above = 60.0
    missing_events: Annotated[int, Meta(ge=1)] = 1
    """Numbers missing in a server's sequence for longer than ``missing_s``."""
    missing_s: AtLeast = 5.0
    lag_events: Annotated[int, Meta(ge=1)] = 1_000
    """Events that a node says it published and stage 1 has not scored; for ``lag_s``, that is lag: we are blind."""
    lag_s: AtLeast = 2.0
    lag_halt_s: AtLeast = 60.0
    """Blind for so long, the server is halted (rule ``silence_lag``). 0: never."""
    quiet_s: AtLeast = 2.0


class FirmExposureConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The sum over all servers. See ``detectors/fleet/exposure.py``."""

    gross_usd_limit: AtLeast = 2_000_000_000.0
    """Sum of absolute positions of all servers. 0: no limit, which is itself a breach (warns)."""
    net_usd_limit: AtLeast = 1_000_000_000.0
    """Absolute sum of the signed notional filled in the trading day."""
    loss_usd_limit: AtLeast = 100_000_000.0
    """Loss of all servers in the trading day, marked to the NBBO: half the spread of each aggressive fill is part of it."""
    day_begins_min: Annotated[int, Meta(ge=0, lt=DAY_MIN)] = 0
    """Minute of the UTC day at which a trading day begins. As that of stage 1."""
    warn_share: Annotated[float, Meta(gt=0, le=1)] = 0.75
    """Share of a limit that warns."""


class FleetConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of stage 2's detectors."""

    servers_max: Annotated[int, Meta(ge=2, le=1_024)] = 256
    """Servers compared; further ones are not."""
    judge_ms: Annotated[int, Meta(ge=100, le=10_000)] = 500
    """Desk time between two judgements."""
    current_s: Above = 5.0
    """A peer that was heard within this is one to compare with. Desk time."""
    divergence: DivergenceConfig = DivergenceConfig()
    drift: DriftConfig = DriftConfig()
    breadth: BreadthConfig = BreadthConfig()
    participation: ParticipationConfig = ParticipationConfig()
    silence: SilenceConfig = SilenceConfig()
    exposure: FirmExposureConfig = FirmExposureConfig()
