"""``knightwatch tune``: search detector and policy parameters over labelled logs."""

import json
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from knightwatch.commands.options import Json
from knightwatch.config import load


def register(app: typer.Typer) -> None:
    """Add ``tune``."""
    app.command("tune")(tune)


def tune(
    train: list[str] = typer.Option(
        help="Log to tune on, with labels beside it; or SCENARIO[:SEED[:MINUTES]]. Repeat."
    ),
    test: list[str] = typer.Option(help="Log or scenario to judge on: none of those tuned on. Repeat."),
    out: Path = typer.Option(help="Folder for tuned.toml, evidence.json and the search, which goes on if it is there."),
    trials: int = typer.Option(50, min=1, help="Configurations to try, those of earlier runs counted."),
    seed: int = typer.Option(0, min=0, help="Of the search."),
    false_halt_usd: float = typer.Option(250_000.0, min=0, help="What a false halt costs, USD."),
    false_warning_usd: float = typer.Option(1_000.0, min=0, help="What a false warning costs, USD."),
    only: list[str] = typer.Option([], help="Only these parameters, as stage1.rate.*; may be given several times."),
    config: Path | None = typer.Option(None, help="Configuration to begin with (TOML); defaults otherwise."),
    as_json: Json = False,
) -> None:
    """Search for parameters that lose less before a halt and halt less often for nothing; judge them on other logs.

    Writes a TOML file that validates, and the evidence for it. Applies nothing: a person decides.
    """
    import msgspec

    from replay.tune import Prices, search
    from replay.tune_space import space

    if shared := set(train) & set(test):
        raise ValueError(f"{', '.join(sorted(shared))}: in --train and in --test; judge on logs that were not tuned on")
    base = load(config)
    parameters = space(base, only)
    prices = Prices(false_halt_usd, false_warning_usd)
    sets = [[_labelled(name, out / "logs", base.kafka.partitions) for name in names] for names in (train, test)]
    with _view(trials, as_json) as on_trial:
        outcome = search(out, sets[0], sets[1], base, parameters, prices, trials, seed, on_trial)
    text = _toml(outcome, base, train, test)
    (out / "tuned.toml").write_text(text, encoding="utf-8")
    document = {
        "improved": outcome.improved,
        "values": outcome.values,
        "config": str(out / "tuned.toml"),
        "build": version("knightwatch"),
        "seed": seed,
        "prices": msgspec.to_builtins(prices),
        "space": [{"key": p.key, "low": p.low, "high": p.high} for p in parameters],
        "train": train,
        "test": test,
        "logs": {x.name: _digest(x) for logs in sets for x in logs},
        **msgspec.to_builtins(outcome),
    }
    (out / "evidence.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    typer.echo(json.dumps(document)) if as_json else _print(document)


def _labelled(name: str, folder: Path, partitions: int) -> Any:
    """The log of a name, in memory: a file, or a scenario that is made in ``folder`` if it is not there yet."""
    from producers import scenarios
    from producers.files import write
    from replay.memory import MemoryLog
    from replay.open import open_log
    from replay.score import labels_of
    from replay.tune import Labelled

    scenario, *rest = name.split(":")
    path = Path(name)
    if scenario in scenarios.NAMES and not path.exists():
        seed = int(rest[0]) if rest else 0
        minutes = float(rest[1]) if len(rest) > 1 else None
        path = folder / f"{name.replace(':', '-')}.parquet"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write(scenarios.build(scenario, seed, minutes=minutes), path)
    return Labelled(name, MemoryLog(open_log(path, partitions)), labels_of(path))


def _digest(labelled: Any) -> str:
    """SHA-256 over the events, so that the evidence names what it stands on."""
    found = sha256()
    for source in labelled.log.sources():
        for batch in source.batches():
            found.update(batch.events.tobytes())
    return found.hexdigest()


def _toml(outcome: Any, base: Any, train: list[str], test: list[str]) -> str:
    """The tuned file, checked by reading it again."""
    from halts.config import parse
    from replay.settings import differences, to_toml, with_values

    tuned = with_values(base, outcome.values)
    better = "better" if outcome.improved else "NOT better"
    head = (
        f"Tuned by knightwatch {version('knightwatch')}; {better} than the base on the logs held out (evidence.json).\n"
        f"tuned on: {', '.join(train)}: cost USD {outcome.train_base.cost_usd:,.0f} -> {outcome.train_best.cost_usd:,.0f}\n"
        f"held out: {', '.join(test)}: cost USD {outcome.test_base.cost_usd:,.0f} -> {outcome.test_best.cost_usd:,.0f}"
    )
    changed = {key: now for key, (_, now) in differences(tuned, load(None)).items() if now is not None}
    text = to_toml(changed, head)
    assert parse(text, "tuned.toml") == tuned
    return text


def _view(trials: int, quiet: bool) -> Any:
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)

    @contextmanager
    def view() -> Any:
        with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
            task = bar.add_task("tune", total=trials)
            yield lambda done, best: bar.update(task, completed=done, description=f"tune: best USD {best:,.0f}")

    return view()


def _print(document: dict[str, Any]) -> None:
    for name in ("train", "test"):
        base, best = document[f"{name}_base"], document[f"{name}_best"]
        words = "tuned on" if name == "train" else "held out"
        halts = f"false halts {base['totals']['false_halts']} -> {best['totals']['false_halts']}"
        typer.echo(f"{words}: cost USD {base['cost_usd']:,.0f} -> {best['cost_usd']:,.0f}, {halts}")
    for key, value in document["values"].items():
        typer.echo(f"  {key} = {value}")
    verdict = "better" if document["improved"] else "not better"
    typer.echo(f"{verdict} on the logs held out; written to {document['config']}, applied nowhere")
