"""The table of scenarios: name to what is simulated. Incidents ought to be halted; benign look-alikes must not be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from producers import weather
from producers.faults.amends import AmendBypass, OrphanCancels, QuantityRatchet
from producers.faults.bursts import (
    BASKET,
    CONSTANT_PRICE,
    DEAF,
    ONE_LOT,
    PING_PONG,
    SHORT,
    ZERO_PRICE,
    Burst,
    Pattern,
)
from producers.faults.drift import ConfigDrift, PreopenRejects
from producers.faults.loops import ReentryAfterCancel, SelfFeeding, TwoStrategyLoop
from producers.faults.power_peg import EXECUTIONS_PER_S_ONE_SERVER, PowerPeg
from producers.faults.resends import LEAK_PER_S, RESEND_PER_S, RESEND_S, Resend
from producers.faults.sizes import FatFingerParent, QtyPriceSwap
from producers.simulation import Behaviour
from schemas.units import MIN_NS, S_NS

SESSION_MIN: Final = 390.0
BENIGN_LEAD_S: Final = 60.0
"""Seconds of an ordinary day before a benign scenario's peculiarity."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a scenario's maker gets. Times in ns; ``incident_ns`` is 0 for a benign one."""

    rng: np.random.Generator
    start_ns: int
    open_ns: int
    close_ns: int
    end_ns: int
    incident_ns: int


@dataclass(frozen=True, slots=True)
class Spec:
    """A scenario. minutes: its own length; lead_s: calm before the incident; since_open_s: where in the session it
    starts, when the market does not open at the incident."""

    make: Callable[[Setting], Sequence[Behaviour]]
    minutes: float = 10.0
    lead_s: float = 10.0
    opens_at_incident: bool = False
    since_open_s: float = 3_600.0
    session_min: float = SESSION_MIN


def _power_peg(s: Setting) -> Sequence[Behaviour]:
    return [PowerPeg(s.rng, s.incident_ns)]


def _power_peg_rollback(s: Setting) -> Sequence[Behaviour]:
    """The stale code spreads at minute 10 to 20 (the order does not say when); earlier in a shorter run."""
    minute = s.rng.uniform(10, 20)
    at = min(s.incident_ns + int(minute * MIN_NS), s.incident_ns + (s.end_ns - s.incident_ns) // 3)
    return [PowerPeg(s.rng, s.incident_ns, executions_per_s=EXECUTIONS_PER_S_ONE_SERVER * 8, rollback_ns=at)]


def _one(make: Callable[[np.random.Generator, int], Behaviour]) -> Callable[[Setting], Sequence[Behaviour]]:
    """A scenario of one behaviour that takes a generator and the time at which it begins."""
    return lambda s: [make(s.rng, s.incident_ns)]


def _day(
    happen: Callable[[weather.Day, int, int], None], prepare: Callable[[weather.Day], None] | None = None
) -> Callable[[Setting], Sequence[Behaviour]]:
    return lambda s: [weather.Day(s.rng, s.start_ns + round(BENIGN_LEAD_S * S_NS), happen, prepare)]


def _burst(pattern: Pattern) -> Callable[[Setting], Sequence[Behaviour]]:
    return lambda s: [Burst(s.rng, s.incident_ns, pattern)]


def _resend(per_s: float, seconds: float) -> Callable[[Setting], Sequence[Behaviour]]:
    return lambda s: [Resend(s.rng, s.incident_ns, per_s, seconds)]


INCIDENTS: Final[dict[str, Spec]] = {
    "power-peg": Spec(_power_peg, minutes=45, opens_at_incident=True),
    "power-peg-rollback": Spec(_power_peg_rollback, minutes=45, opens_at_incident=True),
    "resend-filled": Spec(_resend(RESEND_PER_S, RESEND_S), minutes=3, lead_s=30),
    "one-lot-burst": Spec(_burst(ONE_LOT), minutes=2, lead_s=30),
    "quantity-ratchet": Spec(_one(QuantityRatchet), minutes=2, lead_s=30),
    "constant-price": Spec(_burst(CONSTANT_PRICE), minutes=15, lead_s=30, since_open_s=-600),
    "basket-burst": Spec(_burst(BASKET), minutes=3, lead_s=30),
    "zero-price-repeat": Spec(_burst(ZERO_PRICE), minutes=3, lead_s=30),
    "orphan-cancels": Spec(_one(OrphanCancels), minutes=5, lead_s=30),
    "fat-finger-parent": Spec(_one(FatFingerParent), minutes=10, lead_s=30),
    "ping-pong": Spec(_burst(PING_PONG), minutes=3, lead_s=30),
    "reentry-after-cancel": Spec(_one(ReentryAfterCancel), minutes=5, lead_s=30, since_open_s=-600),
    "self-feeding": Spec(_one(SelfFeeding), minutes=5, lead_s=30),
    "short-burst": Spec(_burst(SHORT), minutes=2, lead_s=30),
    "qty-price-swap": Spec(_one(QtyPriceSwap), minutes=2, lead_s=30),
    "amend-bypass": Spec(_one(AmendBypass), minutes=3, lead_s=30),
    "two-strategy-loop": Spec(_one(TwoStrategyLoop), minutes=5, lead_s=30),
    "preopen-rejects": Spec(_one(PreopenRejects), minutes=30, since_open_s=-5_340),
    "config-drift": Spec(_one(ConfigDrift), minutes=5, lead_s=30),
    "slow-leak": Spec(_resend(LEAK_PER_S, 0), minutes=10, lead_s=30),
    "flow-after-halt": Spec(_burst(DEAF), minutes=3, lead_s=30),
}
"""Names are those of design section 12."""
BENIGN: Final[dict[str, Spec]] = {
    "calm": Spec(lambda s: [], minutes=30),
    "open-auction": Spec(_day(weather.open_auction), since_open_s=-BENIGN_LEAD_S),
    "close-auction": Spec(_day(weather.close_auction), since_open_s=SESSION_MIN * 60 - 480),
    "news-burst": Spec(_day(weather.news_burst)),
    "market-crash": Spec(_day(weather.market_crash)),
    "failover": Spec(_day(weather.failover)),
    "index-rebalance": Spec(_day(weather.index_rebalance), since_open_s=SESSION_MIN * 60 - 660),
    "strategy-ramp": Spec(_day(weather.strategy_ramp)),
    "drop-copy-resend": Spec(_day(weather.drop_copy_resend, weather.keep_drop_copy)),
    "clock-skew": Spec(_day(weather.clock_skew)),
    "router-restart": Spec(_day(weather.router_restart)),
    "reopening": Spec(_day(weather.reopening)),
    "one-sided-day": Spec(_day(weather.one_sided_day), minutes=30),
}
