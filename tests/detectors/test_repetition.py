"""Each of repetition's statistics is set off by its own pattern, and not by what looks like it."""

from typing import Any

import pytest

from detectors.checks import Heard, hear
from detectors.config import RepetitionConfig, Stage1Config
from detectors.repetition import Repetition
from schemas.events import FLAG_POSS_DUP, Kind, Side, batch_of
from tests.detectors.faults import parent, send
from tests.detectors.flows import SYMBOLS, Writer


def heard(writer: Writer, **fields: Any) -> Heard:
    config = Stage1Config(repetition=RepetitionConfig(**fields))
    return hear(lambda c: Repetition(c.repetition), config, batch_of(writer.events()))


def named(found: Heard) -> set[str]:
    return {s.evidence["what"] for s in found.said if s.edge == "open"}


def fill(writer: Writer, ref: str, qty: int, side: Side) -> None:
    writer.execs += 1
    writer.add(
        Kind.fill, cl_ord_id=ref, exec_id=f"x{writer.execs}", qty=qty, px=round(23e9), side=side, symbol=SYMBOLS[3],
        account="A01", strategy="ALGO",
    )  # fmt: skip


@pytest.mark.parametrize(("qty", "said"), [(lambda k: 10, {"same_parent"}), (lambda k: 10 + k, set())])
def test_children_of_one_parent(qty: Any, said: set[str]) -> None:
    writer = Writer()
    for k in range(40):
        writer.wait(5.0)
        send(writer, f"o{k}", qty(k), 23.0 + k / 100, parent_id="P1")
    assert named(heard(writer)) == said


@pytest.mark.parametrize(("gap_ms", "said"), [(2.0, {"same_order"}), (60.0, set())])
def test_equal_orders_without_a_parent(gap_ms: float, said: set[str]) -> None:
    writer = Writer()
    for k in range(400):
        writer.now += round(gap_ms * 1e6)
        send(writer, f"o{k}", 10, 23.0)
    assert named(heard(writer)) == said


@pytest.mark.parametrize(("symbols", "said"), [(12, {"same_price"}), (1, set())])
def test_one_price_in_symbol_after_symbol(symbols: int, said: set[str]) -> None:
    writer = Writer()
    for k in range(100):
        writer.wait(100.0)
        send(writer, f"o{k}", 100, 1.0, Side.S, symbol=SYMBOLS[k % symbols], parent_id=f"P{k}")
    assert named(heard(writer)) == said


@pytest.mark.parametrize(
    ("pulled", "px", "said"), [(True, 23.0, {"reentry_after_cancel"}), (True, 0.01, set()), (False, 23.0, set())]
)
def test_what_was_cancelled_comes_back(pulled: bool, px: float, said: set[str]) -> None:
    """The router's own cancel counts, a venue's does not (an IOC order that found nothing); nor does another price."""
    writer = Writer()
    for k in range(60):
        writer.wait(50.0)
        send(writer, f"o{k}", 10, 23.0 if px == 23.0 else 23.0 + k * px, parent_id=f"P{k}")
        writer.wait(5.0)
        kind = Kind.cancel if pulled else Kind.canceled
        writer.add(kind, cl_ord_id=f"o{k}c" if pulled else f"o{k}", orig_cl_ord_id=f"o{k}" if pulled else "")
    assert named(heard(writer)) == said


@pytest.mark.parametrize(("turned", "said"), [(True, {"own_fills"}), (False, set())])
def test_orders_that_undo_own_fills(turned: bool, said: set[str]) -> None:
    writer = Writer()
    for k in range(80):
        side = Side.S if turned and k % 2 else Side.B
        send(writer, f"o{k}", 100 + k // 2, 23.0, side, parent_id=f"P{k}")
        fill(writer, f"o{k}", 100 + k // 2, side)
        writer.now += 2_000_000 if k % 2 == 0 else 200_000_000
    assert named(heard(writer, turn_limit=20.0)) == said


@pytest.mark.parametrize(
    ("one", "turns", "said"), [(False, 80, set()), (True, 80, {"own_fills"}), (False, 600, {"own_fills"})]
)
def test_clients_who_trade_against_each_other_are_no_loop(one: bool, turns: int, said: set[str]) -> None:
    """Orders that undo own fills, each asked for by a parent of its own, count a tenth; children of one parent count all."""
    writer = Writer()
    if one:
        for side in (Side.B, Side.S):
            parent(writer, f"P{side}", 1_000_000, side=side)
    for k in range(turns):
        side = Side.S if k % 2 else Side.B
        if not one:
            parent(writer, f"P{k}", 100 + k // 2, side=side)
        send(writer, f"o{k}", 100 + k // 2, 23.0, side, parent_id=f"P{side}" if one else f"P{k}")
        fill(writer, f"o{k}", 100 + k // 2, side)
        writer.now += 2_000_000 if k % 2 == 0 else 20_000_000
    assert named(heard(writer, turn_limit=20.0)) == said


@pytest.mark.parametrize(("flags", "said"), [(0, {"reused_cl_ord_id"}), (FLAG_POSS_DUP, set())])
def test_new_orders_under_old_ids(flags: int, said: set[str]) -> None:
    writer = Writer()
    for k in range(16):
        writer.wait(500.0)
        send(writer, f"o{k % 8}", 100 + k, 23.0 + k / 10, flags=flags if k >= 8 else 0)
    assert named(heard(writer)) == said


def test_it_names_the_first_of_the_equal_orders_however_long_ago() -> None:
    writer = Writer()
    for k in range(200):
        writer.now += 150_000_000
        send(writer, f"o{k}", 10, 23.0, parent_id="P1")
        send(writer, f"n{k}", 50 + k, 23.0, parent_id="P1")
    said = heard(writer, same_parent_per_s=6.0).said
    assert (said[0].first.cl_ord_id, said[0].evidence["count"]) == ("o0", 152)
