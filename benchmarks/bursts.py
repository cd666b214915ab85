"""The largest bursts that an ordinary day can hold: what whole days (``benchmarks.calm``) meet once in months.

    python -m benchmarks.bursts [--json] [--save] [--seeds N] [--kinds NAME ...] [--processes N]

Sizes of bursts have a Pareto tail with an end (``producers.arrivals``): for one stock 16 times what the busiest second of
any stock on the tapes of 2013 holds (741 trades). Each run is four minutes of ``calm`` with two bursts of the full size in
it, of one kind:

- ``server``: 1,500 parents on one server within 20 to 400 ms (a basket); once in some 12 router-days;
- ``news``: 12,000 parents in one symbol over 8 servers, a seldom traded one and a busy one; once in some 600;
- ``fleet``: 12,000 parents over all servers and symbols; once in some 1,400.

Any halt is a false one. ``highest``: how far each detector of stage 1 went, in its limits.
"""

import argparse
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks.lab.pool import results
from benchmarks.lab.result import Benchmark, say
from benchmarks.lab.trial import Trace, Trial
from halts.config import Config
from producers import scenarios
from producers.arrivals import BURST_SIZE_MAX
from replay.score import poisson_interval
from schemas.units import MS_NS, S_NS

NAME: Final = "bursts"
KINDS: Final = ("server", "news", "fleet")
MINUTES: Final = 4.0
AT_S: Final = (100.0, 160.0)
"""From the start. The second is over a minute before the end: what a move of the whole fleet puts off counts then."""
SELDOM, BUSY = 60, 30
"""News is in one of so many symbols that trade least, and in one of so many that trade most."""


def run(kind: str, seed: int) -> dict[str, Any]:
    """One run."""
    scenario = scenarios.build("calm", seed, minutes=MINUTES)
    config, trace = Config(), Trace()
    trial = Trial(scenario, config.stage1, config.desk, slices=100, trace=trace)
    servers, order = len(scenario.servers), np.argsort(trial.simulation.world.universe.weight)
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    for at_s, symbols in zip(AT_S, (order[:SELDOM], order[-BUSY:]), strict=True):
        trial.simulation.arrivals.add_burst(
            scenario.start_ns + round(at_s * S_NS), BURST_SIZE_MAX * (1 if kind == "server" else servers),
            server=int(rng.integers(servers)) if kind == "server" else -1,
            sym=int(rng.choice(symbols)) if kind == "news" else -1,
            spread_ns=int(rng.integers(20 * MS_NS, 400 * MS_NS)), lean=float(rng.beta(3.0, 3.0)),
        )  # fmt: skip
    out = trial.run()
    highest: dict[str, float] = {}
    for _, _, scores in trace.rows:
        for name, share in scores.items():
            highest[name] = max(highest.get(name, 0.0), round(share, 2))
    return {
        "kind": kind, "seed": seed, "false_halts": len(out.halts), "warnings": len(out.warnings),
        "what": [str(h) for h in (*out.halts, *out.warnings)],
        "highest": {name: share for name, share in sorted(highest.items()) if share >= 0.5},
    }  # fmt: skip


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All runs."""
    jobs = [partial(run, kind, seed) for kind in given.kinds for seed in range(1, given.seeds + 1)]
    rows = []
    for row in results(jobs, given.processes):
        rows.append(row)
        say(f"{row['kind']} {row['seed']}: {row['false_halts']} halts; {'; '.join(row['what'])}")
    return {"runs": rows, "false_halts": sum(row["false_halts"] for row in rows)}


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    out = ["| burst | bursts | false halts | warnings | highest, in limits (halts alone at) |", "|---|---|---|---|---|"]
    alone = _alone()
    for kind in dict.fromkeys(row["kind"] for row in found["runs"]):
        rows = [row for row in found["runs"] if row["kind"] == kind]
        names = sorted({name for row in rows for name in row["highest"]})
        most = {name: max(row["highest"].get(name, 0.0) for row in rows) for name in names}
        high = ", ".join(f"{name} {share:g}{alone.get(name, '')}" for name, share in most.items())
        halts, warnings = (sum(row[what] for row in rows) for what in ("false_halts", "warnings"))
        out.append(f"| {kind} | {len(rows) * len(AT_S)} | {halts} | {warnings} | {high} |")
    bursts = len(found["runs"]) * len(AT_S)
    low, high_rate = poisson_interval(found["false_halts"], bursts)
    return [
        *out,
        "",
        f"{bursts} bursts, {found['false_halts']} false halts (95 %: {low:.4f} to {high_rate:.4f} a burst).",
    ]


def _alone() -> dict[str, str]:
    """Of each detector that has one, the limits at which it halts alone."""
    stage1 = Config().stage1
    parts = {name: getattr(stage1, name) for name in stage1.__struct_fields__}
    return {name: f" ({part.bound_halt:g})" for name, part in parts.items() if hasattr(part, "bound_halt")}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--seeds", type=int, default=10, help="of each kind; two bursts each")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)


BENCHMARK: Final = Benchmark(NAME, "The largest bursts of ordinary days.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
