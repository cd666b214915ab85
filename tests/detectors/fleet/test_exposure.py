"""Sums over all servers, against the firm's limits."""

import pytest

from detectors.fleet.config import FirmExposureConfig, FleetConfig
from schemas.records import Money
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
