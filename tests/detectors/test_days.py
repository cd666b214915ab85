"""A trading day begins: what was held before is booked away, what works goes on to work."""

from typing import Any

import pytest

from detectors.bank import Stage1
from detectors.config import Stage1Config
from detectors.exposure import Exposure
from schemas.events import Kind, Side, batch_of
from schemas.records import FeatureRow
from schemas.units import S_NS
from tests.detectors.faults import parent, send
from tests.detectors.flows import Writer

MIDNIGHT = 1_343_865_600_000_000_000  # 2012-08-02 00:00 UTC
USD6 = 10**6


def two_days(begins: int = MIDNIGHT) -> Writer:
    """Before ``begins``: 300 shares at 20 are bought and held, 200 more are wanted. After it: 50 shares are sold."""
    writer = Writer(start=begins - 30 * S_NS)
    parent(writer, "p", 10_000, symbol="SYM0", side=Side.B)
    for n, qty in enumerate((300, 200)):
        send(writer, f"o{n}", qty, 20.0, Side.B, parent_id="p", symbol="SYM0")
    quote = {"symbol": "SYM0", "bid": 20 * 10**9, "ask": 20 * 10**9, "px": 20 * 10**9}
    writer.add(Kind.fill, cl_ord_id="o0", exec_id="e0", qty=300, side=Side.B, **quote)
    writer.now = begins + S_NS
    send(writer, "o2", 50, 20.0, Side.S, parent_id="p", symbol="SYM0")
    writer.add(Kind.fill, cl_ord_id="o2", exec_id="e2", qty=50, side=Side.S, **quote)
    writer.now += S_NS
    writer.add(Kind.ack, cl_ord_id="o1", qty=200, **quote)
    return writer


def gross(engine: Stage1) -> tuple[int, int]:
    """Of the server, USD: what could be held if all that works were filled, and what is held."""
    (server,) = engine.servers.values()
    (exposure,) = (d for d in server.detectors if isinstance(d, Exposure))
    held = server.positions.symbols.cols["position"] * server.positions.symbols.cols["mark"]
    return int(exposure.server[0]) // USD6, int(abs(held).sum()) // USD6


@pytest.mark.parametrize(
    ("config", "begins", "expected", "seen"),
    [
        ({}, MIDNIGHT, (3_000, 1_000), 1_000.0),
        ({"positions_carry": True}, MIDNIGHT, (9_000, 5_000), 5_000.0),
        ({}, MIDNIGHT + 3_600 * S_NS, (9_000, 5_000), 5_000.0),
        ({"day_begins_min": 60}, MIDNIGHT + 3_600 * S_NS, (3_000, 1_000), 1_000.0),
    ],
)
def test_positions_are_counted_anew(
    config: dict[str, Any], begins: int, expected: tuple[int, int], seen: float
) -> None:
    settings, events = Stage1Config(**config), two_days(begins).events()
    engine = Stage1(settings, "orderflow", 0)
    whole = engine.step(batch_of(events))
    assert gross(engine) == expected
    assert [v.money.gross_usd for v in whole if isinstance(v, FeatureRow)][-1] == seen
    one = Stage1(settings, "orderflow", 0)
    cut = []
    for i in range(len(events)):
        cut += one.step(batch_of(events[i : i + 1], first_offset=i))
        one = Stage1.restore(settings, one.snapshot())
    assert cut == whole
    assert gross(one) == expected
