"""Quality and efficiency for people: one line an incident, one a benign day, the ablation as a matrix."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any


def lines(found: Mapping[str, Any]) -> list[str]:
    """The whole document as Markdown."""
    out: list[str] = []
    if found["incidents"]:
        out += incident_lines(found["incidents"])
    if found["benign"]:
        out += ["", *benign_lines(found["benign"]), "", benign_summary(found)]
    if found.get("calm"):
        out += ["", "Kept of benchmarks.calm: " + benign_summary(found["calm"])]
    out += [f"not ok: {line}" for line in found["not_ok"]]
    return out


def benign_summary(found: Mapping[str, Any]) -> str:
    """What the benign days amount to."""
    bound = found["false_halts_per_router_day_95"]
    if bound is None:
        return "No benign day was run."
    return (
        f"{found['router_days']:,.2f} router-days, {found['false_halts']} false halts (95 %: {bound[0]} to {bound[1]} a "
        f"router-day), {found['warnings']} warnings ({found['warnings_per_router_day']} a router-day)."
    )


def incident_page(found: Mapping[str, Any]) -> list[str]:
    """For docs/detectors.md: each name is a link to its plot."""
    rows = found["incidents"]
    lines = incident_lines(rows)
    linked = [line.replace(f"| {name} |", f"| [{name}](detectors/{name}.svg) |", 1)
              for name, line in zip(_by_name(rows), lines[2:], strict=True)]  # fmt: skip
    right = sum(row["scope_ok"] for row in rows)
    seeds = sorted({row["seed"] for row in rows})
    short = found["not_ok"]
    return [
        *lines[:2], *linked, "",
        f"Seeds {seeds[0]} to {seeds[-1]}: {found['detected']} of {found['of']} halted, scope right in {right}, "
        f"{found['false_halts_in_incidents']} other halts; "
        + (f"targets missed: {'; '.join(short)}." if short else "each target of `benchmarks/lab/targets.py` met."),
        f"Ordinary days of the same run: {benign_summary(found)}",
    ]  # fmt: skip


def efficiency_lines(found: Mapping[str, Any]) -> list[str]:
    """Delay against the CUSUM that knows the jump."""
    low, high = found["arl_events_95"]
    out = ["| jump | ours, orders | CUSUM, orders | efficiency |", "|---|---|---|---|"]
    for row in found["rows"]:
        ours = f"{row['ours_delay']:.1f} ± {row['ours_delay_se']:.1f}"
        out.append(f"| {row['jump']:g} | {ours} | {row['cusum_delay']:.1f} | {row['efficiency']:.2f} |")
    run = f"{found['alarms']} false alarms in {found['events']:,} orders of {found['series']} series"
    return [*out, "", f"Run length: {run}, one in {found['rows'][0]['arl_events']:,} (95 %: {low:,} to {high:,})."]


def _by_name(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["scenario"], []).append(row)
    return groups


def incident_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line an incident, over its seeds: median and worst."""
    out = [
        "| incident | halted | scope right | s to halt, median (worst) | bad orders before (worst) | loss USD (worst) "
        "| unhalted USD | halted by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, some in _by_name(rows).items():
        hit = [row for row in some if row["detected"]]
        times = [row["time_to_halt_s"] for row in hit]
        when = f"{median(times):.2f} ({max(times):.2f})" if times else "–"
        bad = [row["bad_orders_before_halt"] for row in some]
        loss, whole = [row["loss_usd"] for row in some], [row["loss_usd_unhalted"] for row in some]
        by = sorted({detector for row in hit for detector in row["detectors"]})
        out.append(
            f"| {name} | {len(hit)} of {len(some)} | {sum(r['scope_ok'] for r in some)} | {when} "
            f"| {median(bad):.0f} ({max(bad)}) | {median(loss):,.0f} ({max(loss):,.0f}) | {median(whole):,.0f} "
            f"| {', '.join(by)} |"
        )
    return out


def benign_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a benign scenario, over its seeds."""
    out = ["| benign | runs | router-days | false halts | warnings | warned of |", "|---|---|---|---|---|---|"]
    for name, some in _by_name(rows).items():
        days = sum(row["router_days"] for row in some)
        what = sorted({text.rpartition(": ")[2] for row in some for text in row["what"]})
        halts, warnings = sum(row["false_halts"] for row in some), sum(row["warnings"] for row in some)
        out.append(f"| {name} | {len(some)} | {days:.2f} | {halts} | {warnings} | {', '.join(what)} |")
    return out


def ablation_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Incident by family: median seconds to the halt, in brackets to the warning; how often where not in every seed."""
    families = list(rows[0]["alone"]) if rows else []
    out = ["| incident | " + " | ".join(families) + " |", "|---|" + "---|" * len(families)]
    for name, some in _by_name(rows).items():
        out.append(f"| {name} | " + " | ".join(_cell([row["alone"][f] for row in some]) for f in families) + " |")
    return out


def _cell(some: Sequence[Mapping[str, float | None]]) -> str:
    for key, form in (("halt_s", "{:.2f}"), ("warn_s", "({:.2f})")):
        times = [value for how in some if (value := how[key]) is not None]
        if times:
            often = f" {len(times)}/{len(some)}" if len(times) < len(some) else ""
            return form.format(median(times)) + often
    return ""
