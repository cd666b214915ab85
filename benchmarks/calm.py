"""How long ordinary days go on without a false halt: a campaign that takes days of processor time, and goes on.

    python -m benchmarks.calm [--json] [--save] [--router-days N] [--minutes M] [--processes N] [--fresh]

Runs of the scenario ``calm`` (8 routers, cold engines, seeds 1000 and on) through both stages until there are
``--router-days`` in all; a router-day is one router for 6.5 h. A run lasts from an hour after the open to the close, or
``--minutes``. What stands in ``benchmarks/results/calm.json`` counts and is not run again, whatever commit it was
measured at: each row says which. With ``--save`` each row is written there as it comes, so that a campaign that is
stopped loses one run. ``--fresh`` forgets what was kept.

Any halt is a false one. With none in n router-days their rate is below 3 / n (rule of three; exact Poisson interval).
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from benchmarks.lab.pool import results
from benchmarks.lab.result import Benchmark, commit, kept, save, say
from benchmarks.quality import benign, desk_with
from replay.score import SESSION_S, poisson_interval

FIRST_SEED: Final = 1_000
ROUTERS: Final = 8
TO_THE_CLOSE: Final = 330.0
"""Minutes from where ``calm`` begins to the close."""
SLICES: Final = 100
"""Of 100 ms at once: no order to wait for, as nothing is to be halted, and a step of 10 s costs a third less than one of
1 s. Verdicts are the same; the desk has them in the order of ``replay.merge``."""
NAME: Final = "calm"

Row = dict[str, Any]


def run(seed: int, minutes: float, at: str) -> Row:
    """One day, or part of it. at: commit."""
    began = time.process_time()
    row = benign(NAME, seed, minutes, desk_with([], []), False, SLICES)
    del row["scenario"]
    cpu_s = round(time.process_time() - began, 1)
    return {**row, "router_days": round(row["router_days"], 4), "minutes": minutes, "commit": at, "cpu_s": cpu_s}


def missing(rows: Sequence[Row], router_days: float, minutes: float, at: str) -> list[tuple[int, float, str]]:
    """The runs that are to come, as (seed, minutes, commit): fresh seeds, as many as are needed."""
    left = router_days - sum(row["router_days"] for row in rows)
    count = max(0, -int(-left // (ROUTERS * minutes * 60 / SESSION_S)))
    first = max((row["seed"] + 1 for row in rows), default=FIRST_SEED)
    return [(first + i, minutes, at) for i in range(count)]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All runs, those kept included, and what they amount to."""
    rows: list[Row] = [] if given.fresh else (kept(NAME) or {"runs": []})["runs"]
    jobs = [partial(run, *job) for job in missing(rows, given.router_days, given.minutes, commit())]
    for row in results(jobs, given.processes, in_order=False):
        rows.append(row)
        found = totals(rows)
        if given.save:
            save(NAME, {**found, "commit": row["commit"]})
        say(
            f"seed {row['seed']}: {row['events']:,} events, {row['cpu_s']:.0f} s, {row['false_halts']} halts "
            f"{'; '.join(row['what'])}, {found['router_days']:.1f} router-days in all"
        )
    return totals(rows)


def totals(rows: Sequence[Row]) -> dict[str, Any]:
    """Sums, and the interval of the rate of false halts."""
    days = sum(row["router_days"] for row in rows)
    false, warnings = (sum(row[name] for row in rows) for name in ("false_halts", "warnings"))
    return {
        "router_days": round(days, 2), "false_halts": false, "warnings": warnings,
        "events": sum(row["events"] for row in rows),
        "false_halts_per_router_day_95": [round(x, 5) for x in poisson_interval(false, days)] if days else None,
        "warnings_per_router_day": round(warnings / days, 4) if days else None,
        "cpu_s_per_router_day": round(sum(row["cpu_s"] for row in rows) / days, 1) if days else None,
        "runs": sorted(rows, key=lambda row: row["seed"]),
    }  # fmt: skip


def page(found: Mapping[str, Any]) -> list[str]:
    """For docs/quality.md: by commit, and the sums."""
    if not found["runs"]:
        return ["No run."]
    out = ["| at commit | runs | router-days | events | false halts | warnings |", "|---|---|---|---|---|---|"]
    for at in dict.fromkeys(row["commit"] for row in found["runs"]):
        some = [row for row in found["runs"] if row["commit"] == at]
        days, events, false, warnings = (
            sum(row[name] for row in some) for name in ("router_days", "events", "false_halts", "warnings")
        )
        out.append(f"| {at} | {len(some)} | {days:.1f} | {events:,} | {false} | {warnings} |")
    low, high = found["false_halts_per_router_day_95"]
    return [
        *out, "",
        f"{found['router_days']:,.1f} router-days of calm, {found['false_halts']} false halts (95 %: {low:.4f} to "
        f"{high:.4f} a router-day), {found['warnings']} warnings ({found['warnings_per_router_day']:.4f} a router-day).",
    ]  # fmt: skip


def table(found: Mapping[str, Any]) -> list[str]:
    """For people: that, and everything that was said."""
    return [*page(found), *(f"seed {row['seed']}: {text}" for row in found["runs"] for text in row["what"])]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--router-days", type=float, default=10.0, help="in all, those kept included")
    parser.add_argument("--minutes", type=float, default=TO_THE_CLOSE, help="length of each run")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--fresh", action="store_true", help="forget what benchmarks/results/calm.json holds")


BENCHMARK: Final = Benchmark(NAME, "Ordinary days without a false halt.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
