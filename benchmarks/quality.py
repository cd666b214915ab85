"""What is caught, how soon, at what cost; and what is halted that ought not to be.

    python -m benchmarks.quality [--json] [--save] [--seeds N] [--scenarios NAME ...] [--minutes M]
        [--benign-seeds N] [--without FAMILY ...] [--only FAMILY ...] [--ablation] [--no-parents] [--processes N]
        [--rows FILE] [--plots DIR]

Every scenario of the library through both stages, with gates that obey (``benchmarks.lab.trial``); detectors with the
shipped defaults, 10 to 30 s after a cold start. An incident runs until 3 s after its halt, or ``GIVE_UP_S`` without one.
What it would have cost comes from a second run of the same seed that nobody stops (``Scenario.loss_unhalted``).

scope_ok: nothing but what is in trouble was halted, and the whole firm where that is needed. ok: besides, the target of
the issue is met (``benchmarks.lab.targets``). Benign: any halt is a false one; with none, its rate a router-day (one
router, 6.5 h) is below ``bound_95`` (rule of three). calm: what ``benchmarks.calm``, which runs for days, has kept.
--ablation: each family alone, seed by seed: time to its halt, or to its warning; ``lost-fills`` besides. --no-parents:
the flow carries no parents and no parent ids. --rows: each row is kept in FILE as it comes, and a later run with the
same options, or more seeds, runs only what does not stand there.
"""

import argparse
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, get_args

from msgspec.structs import replace

from benchmarks.lab.ablation import LOST_FILLS, alone
from benchmarks.lab.pool import results
from benchmarks.lab.result import Benchmark, BenchmarkError, kept, say
from benchmarks.lab.rows import Rows
from benchmarks.lab.targets import GIVE_UP_S, LAST, MINUTES, problems
from benchmarks.lab.trial import SLICES_A_STEP, Outcome, Trial
from halts.config import Config, DeskConfig, Rule
from producers import scenarios
from replay.score import SESSION_S, poisson_interval
from schemas.records import Family
from schemas.scopes import FIRM
from schemas.units import MIN_NS, S_NS

FAMILIES: Final[tuple[str, ...]] = get_args(Family)


def desk_with(without: list[str], only: list[str]) -> DeskConfig:
    """The shipped policy, in which some families count for nothing."""
    desk = Config().desk
    out = {name for name in FAMILIES if name in without or (only and name not in only)}
    mute = Rule(hard="ignore", statistical="ignore")
    rules = {name: mute if name.partition("_")[0] in out else rule for name, rule in desk.rules.items()}
    return replace(desk, rules={**rules, **dict.fromkeys(out, mute)})


def incident(name: str, seed: int, desk: DeskConfig, no_parents: bool) -> dict[str, Any]:
    """One incident: the row of design section 11, and what else is known."""
    scenario = scenarios.build(name, seed, minutes=MINUTES.get(name))
    until = scenario.incident_ns + round(GIVE_UP_S.get(name, GIVE_UP_S["*"]) * S_NS)
    out = Trial(scenario, Config().stage1, desk, no_parents=no_parents).run(until, LAST.get(name, ""))
    unhalted, basis = scenarios.build(name, seed).loss_unhalted()
    right = next((h for h in out.halts if out.right(h)), None)
    warned = next((w for w in out.warnings if w.scope in out.wanted), None)
    wrong = [h for h in out.halts if not out.right(h)]
    row = {
        "scenario": name, "seed": seed, "detected": right is not None,
        "time_to_halt_s": round((right.ts - out.first_bad_ts) / S_NS, 3) if right is not None else -1.0,
        "bad_orders_before_halt": out.bad_orders, "bad_orders_out": out.bad_orders_out, "loss_usd": out.loss_usd,
        "loss_usd_unhalted": round(unhalted, 2), "loss_basis": basis,
        "scope_ok": bool(right) and not wrong and (FIRM not in out.wanted or any(h.scope == FIRM for h in out.halts)),
        "scope": right.scope if right else "", "detectors": right.detectors if right else (),
        "warned_s": round((warned.ts - out.first_bad_ts) / S_NS, 3) if warned is not None else None,
        "false_halts": [f"{h.scope}: {', '.join(h.detectors)}" for h in wrong],
        "before_open": right is not None and right.ts < out.open_ns, "breaches": out.breaches,
    }  # fmt: skip
    return {**row, "problems": problems(row)}


def benign(
    name: str, seed: int, minutes: float, desk: DeskConfig, no_parents: bool, slices: int = SLICES_A_STEP
) -> dict[str, Any]:
    """One benign day, or part of it."""
    scenario = scenarios.build(name, seed, minutes=minutes)
    out = Trial(scenario, Config().stage1, desk, no_parents=no_parents, slices=slices).run()
    return {
        "scenario": name, "seed": seed, "false_halts": len(out.halts), "warnings": len(out.warnings),
        "router_days": _router_days(out), "events": out.events,
        "what": [
            f"{(h.ts - out.start_ns) / MIN_NS:.1f} min {h}" for h in (*out.halts, *out.warnings)
        ],
    }  # fmt: skip


def _router_days(out: Outcome) -> float:
    return len(out.servers) * (out.end_ns - out.start_ns) / S_NS / SESSION_S


Job = partial[dict[str, Any]]


def jobs(given: argparse.Namespace) -> dict[str, list[Job]]:
    """What is to be run, by kind."""
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    known = [*scenarios.NAMES, *([LOST_FILLS] if given.ablation else [])]
    names = given.scenarios or known
    if unknown := [name for name in names if name not in known]:
        raise BenchmarkError(f"no scenario {', '.join(unknown)}; expected some of {', '.join(known)}")
    ills = [(name, seed) for name in names if name in (*scenarios.INCIDENTS, LOST_FILLS) for seed in seeds]
    if given.ablation:
        return {"ablation": [partial(alone, *case, {f: desk_with([], [f]) for f in FAMILIES}) for case in ills]}
    desk = desk_with(given.without, given.only)
    some = seeds if given.benign_seeds is None else seeds[: given.benign_seeds]
    days = [(n, seed, given.minutes) for seed in some for n in names if n in scenarios.BENIGN]
    return {
        "incidents": [partial(incident, *case, desk, given.no_parents) for case in ills],
        "benign": [partial(benign, *day, desk, given.no_parents) for day in days],
    }


def run(
    wanted: Mapping[str, list[Job]], processes: int, rows: Rows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, row) in order; in this process if ``processes`` is 1. What ``rows`` holds is not run again."""
    flat = [(kind, job) for kind, some in wanted.items() for job in some]
    fresh = results([job for kind, job in flat if rows is None or (kind, *job.args[:2]) not in rows.found], processes)
    for kind, job in flat:
        key = (kind, *job.args[:2])
        if rows is None or key not in rows.found:
            row = next(fresh)
            if rows is not None:
                rows.add(kind, row)
        else:
            row = rows.found[key]
        yield kind, row


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The document of design section 11."""
    wanted = jobs(given)
    options = {name: getattr(given, name) for name in ("minutes", "without", "only", "no_parents")}
    rows = Rows(Path(given.rows), options) if given.rows else None
    found: dict[str, Any] = {kind: [] for kind in wanted}
    for kind, row in run(wanted, given.processes, rows):
        found[kind].append(row)
        say(f"{row['scenario']:21} {row['seed']:4} {_short(row)}")
    if given.plots:
        from benchmarks.lab.quality_plots import draw

        draw(given.scenarios or list(scenarios.INCIDENTS), given.first_seed, Path(given.plots))
    # paths are of this machine
    found["settings"] = {"rows": bool(given.rows), "plots": bool(given.plots)}
    return found if given.ablation else {**found, **totals(found["incidents"], found["benign"]), "calm": campaign()}


def campaign() -> dict[str, Any] | None:
    """What ``benchmarks.calm`` has kept, without its runs."""
    found = kept("calm")
    return None if found is None else {name: value for name, value in found.items() if name != "runs"}


def _short(row: Mapping[str, Any]) -> str:
    if "alone" in row:
        return " ".join(f"{family}={how['halt_s']}/{how['warn_s']}" for family, how in row["alone"].items())
    if "what" in row:
        return f"false halts {row['false_halts']}, warnings {row['warnings']} {'; '.join(row['what'])}"
    when = f"{row['time_to_halt_s']:.2f} s {row['scope']} {row['detectors']}" if row["detected"] else "not halted"
    return f"{when} {'; '.join(row['problems'])}"


def totals(ill: list[dict[str, Any]], well: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums and the median Knight."""
    days = sum(row["router_days"] for row in well)
    false = sum(row["false_halts"] for row in well)
    warnings = sum(row["warnings"] for row in well)
    knight = [row["time_to_halt_s"] for row in ill if row["scenario"] == "power-peg" and row["detected"]]
    return {
        "router_days": round(days, 4), "false_halts": false, "warnings": warnings,
        "warnings_per_router_day": round(warnings / days, 4) if days else None,
        "false_halts_per_router_day_95": [round(x, 4) for x in poisson_interval(false, days)] if days else None,
        "false_halts_in_incidents": sum(len(row["false_halts"]) for row in ill),
        "detected": sum(row["detected"] for row in ill), "of": len(ill),
        "not_ok": [f"{r['scenario']} {r['seed']}: {'; '.join(r['problems'])}" for r in ill if r["problems"]],
        "power_peg_median_s": median(knight) if knight else None, "power_peg_worst_s": max(knight, default=None),
    }  # fmt: skip


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    from benchmarks.lab.quality_table import ablation_lines, lines

    return ablation_lines(found["ablation"]) if "ablation" in found else lines(found)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--scenarios", nargs="*", metavar="NAME", help="none: all")
    parser.add_argument("--benign-seeds", type=int, help="default: as --seeds")
    parser.add_argument("--minutes", type=float, default=4.0, help="length of each benign run")
    parser.add_argument("--without", nargs="*", default=[], choices=FAMILIES, metavar="FAMILY")
    parser.add_argument("--only", nargs="*", default=[], choices=FAMILIES, metavar="FAMILY")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--no-parents", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rows", metavar="FILE", help="keep each row there; what stands there is not run again")
    parser.add_argument("--plots", metavar="DIR", help="draw the first seed of each incident there")


def _file(given: argparse.Namespace) -> str:
    changed = [*(f"without-{f}" for f in given.without), *(f"only-{f}" for f in given.only)]
    return "-".join(["quality", *(["ablation"] if given.ablation else []), *changed,
                     *(["no-parents"] if given.no_parents else [])])  # fmt: skip


BENCHMARK: Final = Benchmark(
    "quality", "What is caught, how soon, at what cost; what is halted wrongly.", arguments, measure, table, _file
)

if __name__ == "__main__":
    BENCHMARK.main()
