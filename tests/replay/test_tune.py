"""The search: money as objective, resumable, judged elsewhere, and a result that validates."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from halts.config import Config, parse
from replay.memory import MemoryLog
from replay.parquet import ParquetLog
from replay.score import labels_of
from replay.settings import differences, to_toml, with_values
from replay.tune import Labelled, Prices, Trial, judge, pareto, search, simplified
from replay.tune_space import Parameter, space
from tests.replay.test_score import write_scenario

BASE = Config()
RATE = [p for p in space(BASE) if p.key in ("stage1.rate.prior_per_s", "stage1.conservation.emissions_limit")]


def labelled(folder: Path, name: str, minutes: float) -> Labelled:
    path, truth = write_scenario(folder / f"{name}.parquet", name, minutes)
    assert labels_of(path) == truth
    return Labelled(name, MemoryLog(ParquetLog(path)), truth)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Labelled], list[Labelled]]:
    folder = tmp_path_factory.mktemp("logs")
    return [labelled(folder, "power-peg", 0.25)], [labelled(folder, "calm", 0.25)]


def test_space_is_of_detectors_and_policy() -> None:
    found = {p.key: p for p in space(BASE)}
    assert "stage1.rate.prior_per_s" in found
    assert "desk.combine_window_ms" in found
    assert not any(key.startswith(("kafka.", "gate.")) for key in found)
    assert "stage1.orders_max" not in found  # memory is no matter of taste
    assert all(0 < p.low < p.high for p in found.values())
    assert [p.key for p in space(BASE, ["stage1.novelty.*"])] == [k for k in found if k.startswith("stage1.novelty.")]
    with pytest.raises(ValueError, match=r"--only 'stage1\.rat\.\*' matches no parameter; found .*stage1\.rate"):
        space(BASE, ["stage1.rat.*"])


def test_values_differences_and_toml_agree() -> None:
    values = {"stage1.rate.prior_per_s": 123.0, "desk.confirm_ms": 50, "desk.rules.rate.hard": "warn"}
    changed = with_values(BASE, values)
    assert {key: new for key, (_, new) in differences(changed, BASE).items()} == values
    assert differences(BASE, BASE) == {}
    assert parse(to_toml(values, "two\nlines"), "x") == changed
    with pytest.raises(KeyError):
        with_values(BASE, {"stage1.rate.nonsense": 1})
    with pytest.raises(msgspec.ValidationError):
        with_values(BASE, {"desk.confirm_ms": -1})


def test_cost_is_loss_and_the_price_of_false_halts(logs: tuple[list[Labelled], list[Labelled]]) -> None:
    train, test = logs
    free, dear = judge(train + test, BASE, Prices(0, 0)), judge(train + test, BASE, Prices(1e6, 10.0))
    found = dear.totals
    assert dear.cost_usd - free.cost_usd == found.false_halts * 1e6 + found.false_warnings * 10
    wild = with_values(
        BASE, {"stage1.rate.prior_per_s": 0.5, "stage1.rate.dispersion_min": 1.0, "stage1.rate.bound_halt": 1.0}
    )
    nervous = judge(test, wild, Prices(1e6, 0))
    assert nervous.totals.false_halts > 0
    assert nervous.cost_usd == nervous.totals.false_halts * 1e6


def test_search_goes_on_where_it_ended(logs: tuple[list[Labelled], list[Labelled]], tmp_path: Path) -> None:
    train, test = logs
    args: Any = (tmp_path, train, test, BASE, RATE, Prices())
    first = search(*args, trials=2, seed=1)
    assert [t.number for t in first.trials] == [0, 1]
    second = search(*args, trials=4, seed=1)
    assert second.trials[:2] == first.trials
    assert len(second.trials) == 4
    assert search(*args, trials=3, seed=1).trials == second.trials
    assert second.train_best.cost_usd <= second.train_base.cost_usd
    assert set(second.values) <= {p.key for p in RATE}
    with pytest.raises(ValueError, match="a search over other parameters"):
        search(tmp_path, train, test, BASE, [Parameter("stage1.rate.headroom", 1, 2, False)], Prices(), 1, 1)


def test_front() -> None:
    made = [
        Trial(i, 0.0, loss, halts, {})
        for i, (loss, halts) in enumerate([(5, 0), (1, 3), (5, 0), (2, 3), (3, 1), (9, 0)])
    ]
    assert pareto(made) == (1, 4, 0)
    assert pareto([]) == ()


def test_changes_that_do_nothing_are_dropped() -> None:
    found = simplified({"a": 1, "b": 2, "c": 3}, 10.0, lambda some: 10.0 if "b" in some else 20.0)
    assert found == {"b": 2}
