"""The score: right and false halts, the cost up to the halt, and the interval."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.config import Stage1Config
from halts.config import DeskConfig
from producers import scenarios
from producers.labels import FirstBad, Labels, ScopeLabel, encode
from replay.cost import cost_until
from replay.log import LogError
from replay.parquet import ParquetLog
from replay.score import Row, labels_of, poisson_interval, score, totals
from schemas.codec import from_dicts
from tests.replay.conftest import T0
from tests.replay.test_parquet import write_parquet


def labels(**more: Any) -> Labels:
    fields: dict[str, Any] = {
        "scenario": "made", "seed": 1, "servers": ("R0", "R1"), "start_ns": T0, "end_ns": T0 + 3_600 * 10**9,
        "halt_expected": True, "scopes": (ScopeLabel("server:R1", T0 + 10**9),), "first_bad_ts": T0 + 10**9,
        "first_bad": FirstBad("R1", 3, T0 + 10**9, "C"), "events": 8, "bad_events": 4, "bad_orders": 2,
        "orders_blocked": 0, "bad_orders_blocked": 0, "loss_usd": 9.0, "loss_usd_unhalted": 900.0, "loss_basis": "",
        "params": {}, "bad": {"R1": [(3, 4), (6, 7)]},
    }  # fmt: skip
    return Labels(**(fields | more))


def events() -> list[dict[str, Any]]:
    """R1: seq 1, 2 good; 3, 4 bad order and its fill; 5 good; 6, 7 bad order and fill, a second later."""

    def event(seq: int, kind: str, at_s: float, **more: Any) -> dict[str, Any]:
        ids = {"parent_id": "P", "cl_ord_id": f"C{seq}", "symbol": "A", "side": "B", "qty": 100, "px": 10.5}
        if kind == "fill":
            ids["exec_id"] = f"E{seq}"
        quote = {"bid": 10.0, "ask": 10.5, "phase": "cont"}
        return {"v": 1, "kind": kind, "server": "R1", "seq": seq, "ts": T0 + int(at_s * 1e9), **ids, **quote, **more}

    return [
        event(1, "order", 0.5), event(2, "fill", 0.6), event(3, "order", 1.0), event(4, "fill", 1.1),
        event(5, "order", 1.2, bid=11.0, ask=11.5), event(6, "order", 2.0), event(7, "fill", 2.1, side="SS", px=9.5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("halt_s", "orders", "fills", "loss"),
    [
        (0.9, 0, 0, 0.0),
        (1.0, 1, 0, 0.0),
        (1.1, 1, 1, 100 * (10.5 - 10.25)),
        (1.5, 1, 1, 100 * (10.5 - 10.25)),  # that the mid has moved in our favour since is no gain
        (None, 2, 2, 100 * 10.5 - 100 * 9.5),
    ],
)
def test_cost_until(tmp_path: Path, halt_s: float | None, orders: int, fills: int, loss: float) -> None:
    path = write_parquet(tmp_path / "a.parquet", from_dicts(events()), group=2)
    found = cost_until(ParquetLog(path), labels().bad, T0 + 10**9, None if halt_s is None else T0 + int(halt_s * 1e9))
    assert (found.orders, found.fills) == (orders, fills)
    assert found.loss_usd == pytest.approx(loss)


def test_interval_is_exact() -> None:
    """From the tables of Garwood (1936); none in n gives -ln 0.05 / n."""
    assert poisson_interval(0, 10) == pytest.approx((0, -np.log(0.05) / 10))
    assert poisson_interval(5, 1) == pytest.approx((1.6235, 11.6683), abs=1e-3)
    assert poisson_interval(1, 2) == pytest.approx((0.0253 / 2, 5.5716 / 2), abs=1e-3)
    assert poisson_interval(0, 0) == (0, float("inf"))


def write_scenario(path: Path, name: str, minutes: float) -> tuple[Path, Labels]:
    scenario = scenarios.build(name, 2, 4, minutes)
    simulation = scenario.simulate()
    chunks = [chunk.events for chunk in simulation.run()]
    write_parquet(path, np.concatenate(chunks), 100_000)
    found = scenario.labels(simulation)
    path.with_name(path.name + ".labels.json").write_bytes(encode(found))
    return path, found


def score_of(path: Path, truth: Labels, **more: Any) -> Row:
    desk = msgspec.structs.replace(DeskConfig(), **more)
    return score("log", lambda: ParquetLog(path), truth, Stage1Config(), desk)


def test_an_incident(tmp_path: Path) -> None:
    path, truth = write_scenario(tmp_path / "a.parquet", "power-peg", 0.4)
    row = score_of(path, labels_of(path))
    assert row.detected
    assert row.scope in {label.scope for label in truth.scopes}
    assert 0 < row.time_to_halt_ms < 1_000
    assert 0 < row.bad_orders_before_halt < truth.bad_orders
    assert row.loss_usd < truth.loss_usd_unhalted
    assert row.false_halts == ()
    assert row.router_days == pytest.approx(4 * (truth.first_bad_ts - truth.start_ns) / 1e9 / 23_400)
    assert row.events == truth.events
    assert score_of(path, truth) == row


def test_nobody_halts_when_told_to_ignore(tmp_path: Path) -> None:
    from halts.config import Rule, default_rules

    path, truth = write_scenario(tmp_path / "a.parquet", "power-peg", 0.3)
    rules = {family: Rule(hard="ignore", statistical="ignore") for family in default_rules()}
    row = score_of(path, truth, rules=rules)
    assert not row.detected
    assert row.time_to_halt_ms == -1
    assert row.bad_orders_before_halt == truth.bad_orders
    assert row.loss_usd == pytest.approx(truth.loss_usd, rel=0.1)  # marked to another mid than the labels'


def test_a_halt_elsewhere_or_too_early_is_false(tmp_path: Path) -> None:
    path, truth = write_scenario(tmp_path / "a.parquet", "power-peg", 0.3)
    other = msgspec.structs.replace(truth, scopes=(ScopeLabel("server:R9", truth.first_bad_ts),))
    late = msgspec.structs.replace(truth, scopes=tuple(ScopeLabel(s.scope, s.ts + 3_600 * 10**9) for s in truth.scopes))
    for wrong in (other, late):
        row = score_of(path, wrong)
        assert not row.detected
        assert len(row.false_halts) >= 1
        assert row.false_halts[0].detectors


def test_a_benign_log(tmp_path: Path) -> None:
    path, truth = write_scenario(tmp_path / "a.parquet", "calm", 0.3)
    row = score_of(path, truth)
    assert (row.detected, row.false_halts, row.bad_orders_before_halt) == (False, (), 0)
    assert row.router_days == pytest.approx(4 * 0.3 * 60 / 23_400)
    both = totals([row, row])
    assert (both.incidents, both.false_halts) == (0, 0)
    assert both.interval[1] == pytest.approx(3 / both.router_days, rel=2e-3)


def test_labels_are_looked_for(tmp_path: Path, orders: Callable[..., Any]) -> None:
    path = write_parquet(tmp_path / "a.parquet", orders(3))
    with pytest.raises(LogError, match=r"no labels; looked for .*a\.parquet\.labels\.json, .*a\.labels\.json"):
        labels_of(path)
    (tmp_path / "a.labels.json").write_bytes(encode(labels()))
    assert labels_of(path) == labels()
    (tmp_path / "other.json").write_bytes(b"{}")
    with pytest.raises(LogError, match=r"other\.json: not labels"):
        labels_of(path, tmp_path / "other.json")
