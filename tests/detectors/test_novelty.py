"""Novelty: silent on flow like before, loud when a combination is new, frozen while it lasts; the model is exact."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import covariance, stats

from detectors import novelty
from detectors.config import NoveltyConfig
from detectors.features import NAMES
from detectors.moments import Moments
from detectors.novelty import INPUTS, Closed, Novelty
from detectors.snapshot import dump, from_bytes, load, to_bytes
from detectors.surprise import Surprise

ORDERS, CANCELS, FILLS = NAMES.index("orders"), NAMES.index("cancels"), NAMES.index("fills")


def rows(n: int, seed: int = 1, busy: float = 1.0) -> NDArray[np.float64]:
    """(n, features) of an ordinary router, 100 ms each."""
    rng = np.random.default_rng(seed)
    out = np.zeros((n, len(NAMES)))
    rate = busy * 4.0 * np.exp(0.3 * np.sin(np.arange(n) / 200.0))
    out[:, ORDERS] = rng.poisson(rate)
    out[:, CANCELS] = rng.binomial(out[:, ORDERS].astype(int), 0.3)
    out[:, FILLS] = rng.binomial(out[:, ORDERS].astype(int), 0.6)
    for k, name in enumerate(NAMES):
        if name in INPUTS and not out[:, k].any():
            out[:, k] = out[:, FILLS] * rng.uniform(90, 110, n)
    return out


def play(model: Novelty, values: NDArray[np.float64], start: int, learn: bool = True) -> list[int]:
    """The run of novel rows after each row."""
    return model.score(closed(np.arange(start, start + len(values)), values, learn), 0)[1:]


def closed(frames: NDArray[np.int64], values: NDArray[np.float64], clean: bool = True) -> Closed:
    """Frames that an event each has ended."""
    n = len(frames)
    return Closed(frames, values, np.full(n, clean), np.ones(n, np.int64), np.full(n, -1))


@pytest.fixture
def warm() -> Novelty:
    model = Novelty(NoveltyConfig())
    assert max(play(model, rows(4_000), 0)) < model.limit
    return model


def test_cancels_without_orders_are_new_although_their_number_is_not(warm: Novelty) -> None:
    odd = rows(60, seed=2)
    odd[:, ORDERS], odd[:, FILLS] = 0.0, 0.0
    odd[:, CANCELS] = 2.0
    assert play(warm, odd, 4_000)[-1] >= warm.limit
    told = warm.evidence(len(odd) - 1)
    assert told["distance"] > told["bound"]
    assert len(told["top"]) == 3


def test_orders_whose_fills_nobody_tells_of_are_new(warm: Novelty) -> None:
    odd = rows(60, seed=9)
    for k, name in enumerate(NAMES):
        if name in INPUTS and name not in ("orders", "cancels"):
            odd[:, k] = 0.0
    assert play(warm, odd, 4_000)[-1] >= warm.limit


def test_what_is_novel_is_not_learned(warm: Novelty) -> None:
    seconds, judged = warm.model.updates, warm.model.judged
    odd = rows(300, seed=3, busy=60.0)
    assert play(warm, odd, 4_000)[-1] > 280
    assert warm.model.updates <= seconds + 2
    assert warm.model.judged <= judged + 10
    assert play(warm, rows(300, seed=4), 4_300)[-1] == 0


def test_ordinary_rows_among_novel_ones_neither_hide_them_nor_teach_them(
    warm: Novelty, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, usual = rows(60, seed=3, busy=60.0), rows(60, seed=4)
    seconds = novelty._last_seconds

    def every_fourth_is_the_mean(*given: Any) -> None:
        seconds(*given)
        given[-1][3::4] = warm.model.learned.mean

    monkeypatch.setattr(novelty, "_last_seconds", every_fourth_is_the_mean)
    before = warm.model.judged
    runs = play(warm, odd, 4_000)
    assert runs[3] == runs[1], "falls by one"
    assert runs[-1] >= warm.limit
    assert warm.model.judged == before
    monkeypatch.undo()
    assert play(warm, usual, 4_060)[-1] == 0


def test_a_second_without_a_novel_row_ends_a_run_however_long(warm: Novelty) -> None:
    assert play(warm, rows(1_000, seed=3, busy=60.0), 4_000)[-1] > 900
    back = play(warm, rows(40, seed=4), 5_000)
    first = next(k for k, run in enumerate(back) if run == 0)
    assert first <= 25, "a second until nothing odd is in it, and one without"


def test_a_frozen_model_scores_but_does_not_learn(warm: Novelty) -> None:
    before = dump(warm.model)
    play(warm, rows(200, seed=5), 4_000, learn=False)
    after = dump(warm.model)
    assert {k: v for k, v in after.items() if k not in ("parts", "last")} == {
        k: v for k, v in before.items() if k not in ("parts", "last")
    }


def test_nothing_is_novel_before_it_is_warm() -> None:
    model = Novelty(NoveltyConfig())
    assert not any(play(model, rows(600), 0))
    assert not any(play(model, rows(50, seed=2, busy=500.0), 600))


@pytest.mark.parametrize("cut", [3, 700, 2_501])
def test_a_snapshot_changes_nothing(cut: int) -> None:
    values = np.concatenate([rows(2_600), rows(100, seed=6, busy=40.0)])
    whole, first, second = Novelty(NoveltyConfig()), Novelty(NoveltyConfig()), Novelty(NoveltyConfig())
    wanted = play(whole, values, 0)
    got = play(first, values[:cut], 0)
    load(second, from_bytes(to_bytes({"model": dump(first)}))["model"])
    assert got + play(second, values[cut:], cut) == wanted
    assert max(wanted) > 10


@pytest.mark.parametrize("cut", [1, 7, 1_300])
def test_how_many_rows_are_taken_at_once_does_not_matter(cut: int) -> None:
    values = np.concatenate([rows(2_600), rows(100, seed=6, busy=40.0), rows(400, seed=8)])
    whole, apart = Novelty(NoveltyConfig()), Novelty(NoveltyConfig())
    wanted = play(whole, values, 0)
    assert [
        run for start in range(0, len(values), cut) for run in play(apart, values[start : start + cut], start)
    ] == wanted
    assert max(wanted) > 10
    assert to_bytes({"model": dump(apart)}) == to_bytes({"model": dump(whole)})


def test_rows_of_silent_seconds_are_left_out_of_the_last_second() -> None:
    apart, alone = Novelty(NoveltyConfig()), Novelty(NoveltyConfig())
    values = rows(2, seed=7)
    apart.score(closed(np.array([100, 150]), values), 0)
    alone.score(closed(np.array([150]), values[1:]), 0)
    assert apart.model.updates == 2
    assert apart.model.learned.mean[INPUTS.index("orders")] * 2 == values[0, ORDERS] ** 0.25 + values[1, ORDERS] ** 0.25


@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_what_is_learned_is_rivers_bit_for_bit(count: int) -> None:
    names = ("orders", "fills", "b", "a", "parents")
    theirs, ours, restored = covariance.EmpiricalCovariance(), Moments(names), Moments(names)
    for x in np.random.default_rng(3).lognormal(2.0, 3.0, (count, 5)):
        theirs.update(dict(zip(names, x.tolist(), strict=True)))
        ours.update(x)
    restored.load(ours.state())
    for mine in (ours, restored):
        state = {(a, b): tuple(rest) for a, b, *rest in mine.state()}
        assert list(state) == list(theirs.matrix)
        for pair, value in theirs.matrix.items():
            assert state[pair] == held(value), pair
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                assert mine.matrix()[i, j] == theirs[a, b].get()


def held(value: stats.Var | stats.Cov) -> tuple[float, ...]:
    if isinstance(value, stats.Var):
        return value.n, value.mean.get(), value._S
    return value.n, value.mean_x.get(), value.mean_y.get(), value.get()


def test_the_distance_is_mahalanobis() -> None:
    rng = np.random.default_rng(8)
    mixed = rng.normal(size=(400, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 0.3]])
    model = Surprise(("a", "b", "c"), 20, floor=0.1)
    for x in mixed:
        model.learn(x)
    x = np.array([1.0, -2.0, 0.5])
    cov = np.cov(mixed.T) + 0.01 * np.eye(3)
    away = x - mixed.mean(axis=0)
    assert model.distance(x) == pytest.approx(np.sqrt(away @ np.linalg.solve(cov, away) / 3), rel=1e-9)
    assert {name for name, _ in model.top(3)} == {"a", "b", "c"}


def test_the_tail_is_rivers_number_for_number() -> None:
    model, theirs = Novelty(NoveltyConfig()), stats.Var()
    values = rows(2_000)
    for start in range(0, len(values), 37):
        part = values[start : start + 37]
        runs = play(model, part, start)
        for distance, run in zip(model._scored.distance.tolist(), runs, strict=True):
            if distance and not run:
                theirs.update(math.log(distance))
    assert dump(model.model)["tail"] == [theirs.mean.n, theirs.mean.get(), theirs._S]
    assert theirs.mean.n > 1_000
    alone = Surprise(("a", "b"), 2)
    for x in np.random.default_rng(1).lognormal(size=(50, 2)):
        alone.distance(x)
        alone.judge()
        alone.learn(x)
    held = alone.state()["tail"]
    with alone.in_loop() as tables:
        assert tables.tail.tolist() == held
    assert alone.state()["tail"] == held
