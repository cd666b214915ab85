"""Parameters of stage 1, with units in the names. Every one has a default that config/default.toml repeats."""

from typing import Annotated

from msgspec import Meta, Struct, field

from schemas.units import DAY_MIN


class ConservationConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Children against parents. See ``detectors/conservation.py``."""

    emissions_limit: int = 2
    """Weighted count of orders beyond their parent, within the window, at which the breach opens."""
    excess_usd_unit: float = 100_000.0
    """An order weighs one more for each such amount that it puts beyond its parent."""
    window_s: float = 60.0
    """The count falls back to zero when no further order went beyond its parent for so long."""
    done_race_ms: float = 500.0
    """Orders this soon after the parent was done upstream are a race, not a breach."""
    tolerance_qty: int = 0
    """Shares by which children may exceed their parent."""


class RateConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Orders per second. See ``detectors/rate.py``."""

    arl_events: float = 1e9
    """Mean number of orders between false alarms of one server, all its series together, if flow keeps to the bounds."""
    jumps: tuple[float, ...] = (2.0, 3.0, 5.0, 10.0, 30.0)
    """Rate ratios against which the banks of CUSUMs are set."""
    prior_per_s: float = 200.0
    """Upper bound of a server's normal rate until the baseline is warm, and the least it can become."""
    prior_strategy_per_s: float = 60.0
    """The same for one strategy on a server."""
    prior_symbol_per_s: float = 30.0
    """The same for one symbol on a server."""
    headroom: float = 4.0
    """Upper bound of the normal rate as a multiple of the learned mean."""
    dispersion_min: float = 100.0
    """Least variance-to-mean ratio assumed: real flow comes in clusters (sweeps, auctions)."""
    dispersion_strategy: float = 20.0
    dispersion_symbol: float = 36.0
    quiet_s: float = 5.0
    bound_halt: float = 64.0
    """Score, in limits, beyond which this detector halts alone."""


class CrossingConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Buying at the ask and selling at the bid. See ``detectors/crossing.py``."""

    burn_usd_limit: float = 5_000.0
    """Spread burn beyond the allowance at which the breach opens."""
    burn_usd_per_s_prior: float = 400.0
    """Allowed burn per second until the baseline is warm, and the least it can become."""
    matched_usd_limit: float = 5_000_000.0
    """Aggressive buying offset by aggressive selling in the same symbol, beyond the allowance."""
    matched_usd_per_s_prior: float = 400_000.0
    explained_share: float = 0.1
    """Part that counts of what a fill costs which a parent order asked for."""
    headroom: float = 3.0
    quiet_s: float = 5.0
    bound_halt: float = 64.0


class RepetitionConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The same order again. See ``detectors/repetition.py``. Each limit is in orders, each allowance in orders a second."""

    same_parent_limit: float = 16.0
    """Equal children of one parent, beyond the allowance."""
    same_parent_per_s: float = 5.0
    same_order_limit: float = 150.0
    """Orders equal to the price, whatever their parents."""
    same_order_per_s: float = 20.0
    same_price_limit: float = 40.0
    """Orders of one size and limit price that jump from symbol to symbol."""
    same_price_per_s: float = 1.0
    reentry_limit: float = 20.0
    """Orders sent again within ``reentry_ms`` of the router's own cancel."""
    reentry_per_s: float = 5.0
    """A market maker that keeps a quote up does this four times a second."""
    reentry_ms: float = 50.0
    turn_limit: float = 30.0
    """Orders that undo an own fill within ``turn_ms``."""
    turn_per_s: float = 1.0
    turn_ms: float = 10.0
    turn_asked_share: float = 0.1
    """Part that counts of such an order, beyond its own parent's count, when an accepted parent asks for it."""
    reused_limit: float = 3.0
    """New orders under the ClOrdID of an older one."""
    reused_per_s: float = 0.02
    walks_max: int = 4_096
    """Orders followed at once; the one that repeats least gives way."""
    quiet_s: float = 5.0
    bound_halt: float = 2.0
    """Score, in limits, beyond which this detector halts alone."""


class MalformedConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Orders and requests that cannot be right. See ``detectors/malformed.py``. Limits and allowances count orders."""

    reject_share_prior: float = 0.05
    """Share of orders that venues may refuse until the server's own share is learned."""
    reject_share_min: float = 0.003
    """The least it can become."""
    reject_headroom: float = 1.5
    """The same as a multiple of the learned share."""
    reject_ratio: float = 5.0
    """A share so many times as large is to be found."""
    nats_limit: float = 10.0
    """Log-likelihood ratio at which the breach opens."""
    forget_limits_per_s: float = 0.0003
    """What the walks of shares lose, in limits, so that a server that stays silent is forgiven within the hour."""
    learn_minutes: float = 30.0
    unknown_limit: float = 20.0
    """Cancels and replaces of orders never sent."""
    unknown_per_s: float = 0.5
    settle_s: float = 600.0
    """A log that begins in mid-session: unknown orders count only so long after its first event."""
    collar: float = 0.10
    """Share of the price by which a limit may lie beyond the other side of the NBBO."""
    amend_max: float = 0.5
    """Share of the old limit by which a replace may move it where the NBBO is not known."""
    px_usd_max: float = 2_000_000.0
    """Prices from here on are no prices."""
    far_limit: float = 3.0
    """Orders beyond the collar."""
    far_per_s: float = 0.02
    usd_unit: float = 1_000_000.0
    """An order beyond the collar counts one more for each such amount."""
    walks_max: int = 512
    quiet_s: float = 5.0
    bound_halt: float = 2.0
    """Score, in limits, beyond which this detector halts alone."""


class AccountLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one server may do in one account."""

    gross_usd: float
    """Sum over symbols of the larger of what is held or working on either side."""
    net_usd: float
    order_usd: float
    """One order or replace."""
    order_qty: int
    parent_usd: float = 2e7
    """One parent order, at the market when its child is sent."""


class SymbolLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one account on one server may do in one symbol: scale it to the instrument."""

    gross_usd: float
    order_qty: int


def _account_limits() -> dict[str, AccountLimits]:
    return {
        "*": AccountLimits(gross_usd=2e9, net_usd=2e9, order_usd=5e6, order_qty=200_000),
        "ERROR": AccountLimits(gross_usd=2e6, net_usd=2e6, order_usd=1e6, order_qty=50_000),
    }


def _symbol_limits() -> dict[str, SymbolLimits]:
    return {"*": SymbolLimits(gross_usd=5e8, order_qty=200_000)}


class ExposureConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Positions and working orders against limits. See ``detectors/exposure.py``."""

    accounts: dict[str, AccountLimits] = field(default_factory=_account_limits)
    """By account; ``*`` for those not named. Without ``*`` they may not trade. Replaces the defaults as a whole."""
    symbols: dict[str, SymbolLimits] = field(default_factory=_symbol_limits)
    """By symbol, for each account; ``*`` for those not named."""
    server_gross_usd: float = 1e10
    server_net_usd: float = 1e10
    pairs_max: int = 65_536
    """Pairs of account and symbol remembered; at least 8192."""
    accounts_max: int = 8_192
    """At least 8192."""
    quiet_s: float = 5.0


class FanOutConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Children of one parent. See ``detectors/fanout.py``."""

    children_limit: float = 40.0
    """Children beyond the allowance at which the breach opens."""
    children_per_s: float = 3.0
    walks_max: int = 2_048
    """Parents followed at once; the one with the fewest children gives way."""
    quiet_s: float = 5.0
    bound_halt: float = 2.0
    """Score, in limits, beyond which this detector halts alone."""


class OrphansConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Children of parents that nobody accepted. See ``detectors/orphans.py``."""

    orders_limit: float = 20.0
    orders_per_s: float = 0.5
    settle_s: float = 3_600.0
    """A log that begins in mid-session: orphans count only so long after its first event."""
    quiet_s: float = 5.0


class NoveltyConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Rows unlike any before. See ``detectors/novelty.py``."""

    warm_rows: int = 600
    """Rows learned before a row is scored (600 are one busy minute)."""
    false_alarms_per_day: float = 0.5
    """Rate of false excursions per server and 6.5-hour day for which the bound is set."""
    run_rows: int = 20
    """Rows in a row beyond the bound that open a breach; a row sees a whole second, so that up to 10 are one odd second."""
    quiet_s: float = 5.0


class Stage1Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of one stage-1 engine (one partition's servers)."""

    servers_max: int = 64
    """Servers that one partition may carry; events of further ones go to dead letters."""
    orders_max: int = 262_144
    """Orders remembered per server; the oldest is forgotten first. At least 65536."""
    parents_max: int = 65_536
    symbols_max: int = 16_384
    lateness_ms_max: int = 1_000
    """An event older than the newest by more is scored on arrival and counted as late."""
    future_ms_max: int = 5_000
    """A stamp further ahead of stream time than this is clamped until the next one confirms it."""
    day_begins_min: Annotated[int, Meta(ge=0, lt=DAY_MIN)] = 0
    """Minute of the UTC day at which a trading day begins, when nothing is traded. As that of stage 2."""
    positions_carry: bool = False
    """Positions go on into the next trading day. Where fills are booked away overnight (clients, clearing) they do not."""
    conservation: ConservationConfig = ConservationConfig()
    rate: RateConfig = RateConfig()
    crossing: CrossingConfig = CrossingConfig()
    repetition: RepetitionConfig = RepetitionConfig()
    malformed: MalformedConfig = MalformedConfig()
    exposure: ExposureConfig = ExposureConfig()
    fanout: FanOutConfig = FanOutConfig()
    orphans: OrphansConfig = OrphansConfig()
    novelty: NoveltyConfig = NoveltyConfig()
