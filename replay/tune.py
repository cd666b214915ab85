"""Search for better parameters: on training logs, in money; judged on other logs. Nothing is applied by itself.

Objective of a trial: what the incidents of the training logs had cost when they were halted (all of it where they were
not), plus the price of every false halt. Trials are kept in a journal file, so that a search goes on where it ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from halts.config import Config
from producers.labels import Labels
from replay.log import Log
from replay.score import Row, Totals, score, totals
from replay.settings import with_values
from replay.tune_space import Parameter

JOURNAL: Final = "study.journal"
LOSS, FALSE = "loss_usd", "false_halts"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A log to run again and again, and its truth."""

    name: str
    log: Log
    labels: Labels


class Prices(Struct, frozen=True):
    """What a mistake costs, in USD."""

    false_halt_usd: float = 250_000.0
    """A router off for half an hour, its orders worked elsewhere: set it to what it costs your firm."""
    false_warning_usd: float = 1_000.0
    """A person who looks."""


class Verdict(Struct, frozen=True):
    """A configuration on a set of logs."""

    cost_usd: float
    totals: Totals
    rows: tuple[Row, ...]


class Trial(Struct, frozen=True):
    """One configuration tried on the training logs."""

    number: int
    cost_usd: float
    loss_usd: float
    false_halts: int
    values: dict[str, Any]


class Outcome(Struct, frozen=True):
    """What a search found. ``values``: the settings that differ from the base; empty when nothing was better."""

    values: dict[str, Any]
    trials: tuple[Trial, ...]
    front: tuple[int, ...]
    """Numbers of the trials that no other beats in both loss and false halts, by loss."""
    train_base: Verdict
    train_best: Verdict
    test_base: Verdict
    test_best: Verdict

    @property
    def improved(self) -> bool:
        """Whether the held-out logs agree that it is better."""
        return self.test_best.cost_usd < self.test_base.cost_usd


def judge(logs: Sequence[Labelled], config: Config, prices: Prices) -> Verdict:
    """Score every log under a configuration, and say what it comes to."""
    rows = tuple(score(x.name, lambda x=x: x.log, x.labels, config.stage1, config.desk) for x in logs)  # type: ignore[misc]
    loss = sum(_loss(row) for row in rows)
    found = totals(rows)
    cost = loss + found.false_halts * prices.false_halt_usd + found.false_warnings * prices.false_warning_usd
    return Verdict(round(cost, 2), found, rows)


def _loss(row: Row) -> float:
    """A gain before the halt is luck, and counts as nothing; an incident missed counts in full."""
    if not row.halt_expected:
        return 0.0
    return max(0.0, row.loss_usd) if row.detected else max(row.loss_usd, row.loss_usd_unhalted)


def search(
    directory: Path,
    train: Sequence[Labelled],
    test: Sequence[Labelled],
    base: Config,
    parameters: Sequence[Parameter],
    prices: Prices,
    trials: int,
    seed: int,
    on_trial: Callable[[int, float], None] = lambda done, best: None,
) -> Outcome:
    """Run trials until there are ``trials`` of them, those of earlier runs in ``directory`` counted."""
    train_base = judge(train, base, prices)
    study = _study(directory, seed, parameters)

    def objective(trial: Any) -> float:
        import optuna

        values = {p.key: p.suggest(trial) for p in parameters}
        try:
            verdict = judge(train, with_values(base, values), prices)
        except msgspec.ValidationError as error:
            raise optuna.TrialPruned(str(error)) from error
        trial.set_user_attr(LOSS, sum(_loss(row) for row in verdict.rows))
        trial.set_user_attr(FALSE, verdict.totals.false_halts)
        trial.set_user_attr("values", values)
        on_trial(trial.number + 1, min([verdict.cost_usd, *_costs(study)]))
        return verdict.cost_usd

    study.optimize(objective, n_trials=max(0, trials - len(study.trials)))
    done = _trials(study)
    best = min(done, key=lambda t: (t.cost_usd, t.number), default=None)
    values = best.values if best is not None and best.cost_usd < train_base.cost_usd else {}
    if best is not None:
        values = simplified(values, best.cost_usd, lambda some: judge(train, with_values(base, some), prices).cost_usd)
    tuned = with_values(base, values)
    return Outcome(
        values=values,
        trials=tuple(done),
        front=pareto(done),
        train_base=train_base,
        train_best=judge(train, tuned, prices),
        test_base=judge(test, base, prices),
        test_best=judge(test, tuned, prices),
    )


def simplified(values: dict[str, Any], cost: float, cost_of: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """Without the changes that are not needed for the cost: a person has to answer for each that is left."""
    for key in list(values):
        fewer = {k: v for k, v in values.items() if k != key}
        if cost_of(fewer) <= cost:
            values = fewer
    return values


def pareto(trials: Sequence[Trial]) -> tuple[int, ...]:
    """Numbers of the trials that no other beats, or equals and came before, in loss and false halts."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.loss_usd, t.false_halts, t.number)):
        if not front or trial.false_halts < front[-1].false_halts:
            front.append(trial)
    return tuple(t.number for t in front)


def _study(directory: Path, seed: int, parameters: Sequence[Parameter]) -> Any:
    """The search kept in ``directory``, new or to go on. ValueError if it was for other parameters."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ValueError("tuning needs optuna, which is not installed: pip install 'knightwatch[replay]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directory.mkdir(parents=True, exist_ok=True)
    storage = JournalStorage(JournalFileBackend(str(directory / JOURNAL)))
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False)
    study = optuna.create_study(
        study_name="knightwatch", storage=storage, sampler=sampler, direction="minimize", load_if_exists=True
    )
    wanted = [[p.key, p.low, p.high] for p in parameters]
    if study.user_attrs.get("space", wanted) != wanted:
        raise ValueError(f"{directory / JOURNAL}: a search over other parameters or ranges; use another --out")
    study.set_user_attr("space", wanted)
    return study


def _costs(study: Any) -> list[float]:
    return [trial.value for trial in study.trials if trial.value is not None]


def _trials(study: Any) -> list[Trial]:
    """Finished trials, by number."""
    return [
        Trial(t.number, t.value, t.user_attrs[LOSS], t.user_attrs[FALSE], t.user_attrs["values"])
        for t in study.trials
        if t.value is not None
    ]
