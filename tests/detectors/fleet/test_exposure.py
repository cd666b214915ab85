"""Sums over all servers, against the firm's limits."""

import pytest

from detectors.fleet.config import FirmExposureConfig, FleetConfig
from detectors.fleet.exposure import FirmExposure
from schemas.records import Money
from schemas.units import S_NS
from tests.detectors.fleet.fleet_world import NAMES, Values, World, ordinary

LIMITS = FirmExposureConfig(gross_usd_limit=8e6, net_usd_limit=4e6, loss_usd_limit=1e6)


def world_with(**money: float) -> World:
    world = World(FleetConfig(exposure=LIMITS))
    world.money = dict.fromkeys(NAMES, Money(**money))
    return world


@pytest.mark.parametrize(("money", "what"), [({"gross_usd": 1e6}, "gross"), ({"loss_usd": 125_000.0}, "loss")])
def test_servers_that_each_keep_to_theirs_may_break_the_firms(money: dict[str, float], what: str) -> None:
    world = world_with(**{k: v * 0.99 for k, v in money.items()})
    world.run(1, ordinary())
    (near,) = world.out
    assert (near.detector, near.hard, near.scope) == ("exposure_near", False, "firm")
    world.money = dict.fromkeys(NAMES, Money(**money))
    world.run(1, ordinary())
    hard = [b for b in world.out if b.detector == "exposure_firm"]
    assert [(b.hard, b.scope, b.state, b.evidence["what"]) for b in hard] == [(True, "firm", "open", what)]


def test_net_is_the_sum_of_signed_fills() -> None:
    world = world_with()

    def buys(frame: int, name: str) -> Values:
        return {"orders": 1.0, "net_usd": 60_000.0 if name != "R8" else -60_000.0}

    world.run(1, buys)
    assert not [b for b in world.out if b.hard]
    world.run(1, buys)
    (found,) = (b for b in world.out if b.hard)
    assert found.evidence["what"] == "net"


def test_no_limit_is_itself_said() -> None:
    none = FirmExposureConfig(gross_usd_limit=0.0, net_usd_limit=0.0, loss_usd_limit=0.0)
    world = World(FleetConfig(exposure=none))
    world.run(1, ordinary())
    (found,) = world.out
    assert found.detector == "exposure_near"
    assert found.evidence["no_limit"] == ["gross", "net", "loss"]


def test_an_ordinary_fleet_is_far_from_it() -> None:
    world = world_with(gross_usd=500_000.0)
    world.run(30, ordinary())
    assert not world.out


def test_loss_and_net_are_those_of_the_trading_day() -> None:
    """Half the spread, day after day, adds up to any limit; a new day begins at zero, and a restored desk knows it."""
    world = world_with(loss_usd=60_000.0)
    world.run(1, lambda frame, name: {"orders": 1.0, "net_usd": 20_000.0})
    assert not world.out  # 0.48 of 1 million, 1.6 of 4
    world.shift += 24 * 3600 * S_NS
    world.money = dict.fromkeys(NAMES, Money(loss_usd=60_100.0))
    world.run(1, ordinary())
    world.restored()
    world.money = dict.fromkeys(NAMES, Money(loss_usd=140_000.0))
    world.run(1, ordinary())
    assert not world.out  # 0.64 of today's, though 1.12 of both days'
    world.money = dict.fromkeys(NAMES, Money(loss_usd=160_000.0))
    world.run(1, ordinary())
    assert [b.detector for b in world.out] == ["exposure_near"]


def test_a_desk_of_before_there_were_days_left_none() -> None:
    firm = FirmExposure(FleetConfig(exposure=LIMITS))
    beyond, near, _, _ = firm.state()
    firm.load([beyond, near])
    assert (firm.day, firm.before) == (-1, {})
