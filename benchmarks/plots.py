"""Tables of the docs and plots of docs/performance.md from benchmarks/results: ``python -m benchmarks.plots [--check]``.

Whatever stands there between ``<!-- results NAME -->`` and ``<!-- end NAME -->`` is written here and nowhere else; a
result that is missing says so. ``--check`` changes nothing, and exits with 1 when the tables are not those of the results.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib import pyplot

from benchmarks import bursts, calm, knight_day
from benchmarks.lab.quality_table import efficiency_lines, incident_page
from benchmarks.lab.result import RESULTS, ROOT

PAGE: Final = ROOT / "docs" / "performance.md"
PAGES: Final = (PAGE, ROOT / "docs" / "detectors.md", ROOT / "docs" / "quality.md")
IMAGES: Final = ROOT / "docs" / "performance"
LABELS: Final = {
    "ours": "Knightwatch, every detector", "ours_2_workers": "Knightwatch, two workers",
    "kafka_streams": "Kafka Streams, one sum", "quix": "Quix Streams, one sum", "faust": "stock Faust, one sum",
    "floor_aiokafka": "floor: aiokafka, nothing decoded", "floor_kafka_python": "floor: kafka-python, nothing decoded",
}  # fmt: skip
OURS_COLOUR, PEER_COLOUR, FLOOR_COLOUR = "#1f6feb", "#8b949e", "#d0d7de"
Result = Mapping[str, Any]


def load(folder: Path = RESULTS) -> dict[str, Result]:
    """Every result there is, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*["---"] * len(cells))]


def _origin(found: Result) -> str:
    if "machine" not in found:  # kept run by run
        return f"Newest run at commit `{found['commit']}`."
    machine = found["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"Measured at commit `{found['commit']}` on {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_mb'] / 1024:,.0f} GB, {machine['system']}, Python {machine['python']}, {packages}; load "
        f"before the end {machine['load_1_min']:g}."
    )


def _throughput(found: Result) -> list[str]:
    lines = _head(
        "side", "events/s, median", "least to most", "ours is", "CPU s per million", "most memory, MB", "events"
    )
    for name, side in found["sides"].items():
        rate, ratio = side["events_per_s"], found["ratio"].get(name)
        lines.append(
            _row(
                LABELS.get(name, name),
                f"{rate['median']:,}",
                f"{rate['min']:,} to {rate['max']:,}",
                "" if ratio is None else f"{ratio:g} x",
                f"{side['cpu_s_per_million']:.2f}",
                f"{side['peak_rss_mb']:,.0f}",
                f"{side['topic_events']:,}",
            )
        )
    lines += [
        _row(LABELS.get(name, name), "not measured", why.splitlines()[0], "", "", "", "")
        for name, why in found["missing"].items()
    ]
    lines.append("")
    for name, target in found["targets"].items():
        ratio = found["ratio"].get(name)
        verdict = (
            "not measured" if ratio is None else "reached" if ratio >= target else f"missed by {1 - ratio / target:.0%}"
        )
        lines.append(f"- at least {target:g} x {LABELS[name]}: {verdict}")
    return lines


def _latency(found: Result) -> list[str]:
    lines = _head("what", "events/s", "n", "p50 ms", "p99 ms", "max ms")

    def line(what: str, part: Result, values: Result | None) -> None:
        if values:
            lines.append(
                _row(what, f"{part['rate']:,.0f}", part["n"], values["p50_ms"], values["p99_ms"], values["max_ms"])
            )

    for part in (found, found["low"]):
        if part:
            line("**gate closed**", part, part)
            for name, values in part["stages"].items():
                line(name.replace("_", " "), part, values)
    if found["faust_low"]:
        line("stock Faust: result on Kafka", found["faust_low"], found["faust_low"]["result_on_kafka"])
    bad = found["bad_orders"]
    before = f"median {bad['median']:.0f}, at most {bad['max']:.0f}, at one a millisecond"
    return [*lines, "", f"Bad orders before the gate was closed: {before}. Incidents missed: {found['missed']}."]


def _engine(found: Result) -> list[str]:
    lines = [f"{found['events_per_s']:,} events/s on one core, {found['ns_per_event']} ns each.", ""]
    lines += _head("batch of", "ns an event", "us a batch")
    for size, ns in found["ns_per_event_by_batch"].items():
        lines.append(_row(f"{int(size):,}", f"{ns:,}", f"{ns * int(size) / 1000:,.0f}"))
    lines += ["", *_head("detector", "ns an event")]
    return lines + [_row(name, ns) for name, ns in found["by_detector_ns"].items()]


def _linearity(found: Result) -> list[str]:
    parts = found["ns_per_event_by_part"]
    lines = _head("part of the log", *[str(i + 1) for i in range(len(parts))])
    lines.append(_row("ns an event", *[f"{ns:,.0f}" for ns in parts]))
    lengths = ", ".join(f"{int(n):,} events {ns:,.0f} ns each" for n, ns in found["ns_per_event_by_length"].items())
    return [*lines, "", f"Last part over the median: {found['growth']:g}. Whole logs: {lengths}."]


def _memory(found: Result) -> list[str]:
    slope = found["slope_mb_per_hour"]
    return [
        *_head("worker", "resident MB"),
        _row("after the first orders", f"{found['rss_mb_start']:,.0f}"),
        _row(f"{found['orders']:,} live orders", f"{found['rss_mb_live']:,.0f}"),
        _row(f"after {found['minutes']:g} minutes of turnover", f"{found['rss_mb_end']:,.0f}"),
        _row("at most", f"{found['rss_mb_peak']:,.0f}"),
        "",
        f"{found['bytes_per_order']:,} bytes an order"
        + ("." if slope is None else f"; slope {slope:+,.1f} MB an hour."),
    ]


def _publish(found: Result) -> list[str]:
    lines = _head("events a call", "events/s, median", "least to most", "CPU us an event", "events a value")
    for size, row in found["by_call"].items():
        rate = row["events_per_s"]
        span = f"{rate['min']:,} to {rate['max']:,}"
        lines.append(
            _row(f"{int(size):,}", f"{rate['median']:,}", span, row["cpu_us_per_event"], row["events_per_value"])
        )
    low = "; ".join(
        f"{name.replace('_', ' ')}: p50 {row['p50_ms']}, p99 {row['p99_ms']} ms"
        for name, row in found["low_rate_ms"].items()
    )
    return [*lines, "", f"At 100 events a second, from the call to Kafka's append time: {low}."]


def _gate(found: Result) -> list[str]:
    names = [name for name in found if name.startswith("ns_")]
    return [
        *_head("decision", "ns"),
        *[_row(name.removeprefix("ns_per_decision_").replace("_", " "), found[name]) for name in names],
    ]


TABLES: Final[dict[str, Callable[[Result], list[str]]]] = {
    "throughput-sbe": _throughput, "throughput-json": _throughput, "latency": _latency, "engine": _engine,
    "linearity": _linearity, "memory": _memory, "publish": _publish, "gate": _gate,
    "quality": incident_page, "efficiency": efficiency_lines, "calm": calm.page, "bursts": bursts.table,
    "knight_day": knight_day.table,
}  # fmt: skip


def written(page: str, results: Mapping[str, Result]) -> str:
    """The page with every table as the results have it. ValueError when a mark has no end or no table."""
    for name in re.findall(r"<!-- results ([\w-]+) -->", page):
        if name not in TABLES or f"<!-- end {name} -->" not in page:
            raise ValueError(f"mark {name!r}; expected one of {', '.join(TABLES)}, and its end")
        found = results.get(name)
        lines = ["Not measured yet."] if found is None else [*TABLES[name](found), "", _origin(found)]
        text = f"<!-- results {name} -->\n" + "\n".join(lines) + f"\n<!-- end {name} -->"
        pattern = re.compile(f"<!-- results {name} -->.*?<!-- end {name} -->", re.DOTALL)
        page = pattern.sub(text.replace("\\", r"\\"), page)
    return page


def draw(results: Mapping[str, Result], folder: Path = IMAGES) -> list[Path]:
    """Every plot whose result is there, as SVG; the same results give the same bytes."""
    matplotlib.rcParams.update({"svg.hashsalt": "knightwatch", "svg.fonttype": "none", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    makers = (
        ("rate", _rates),
        ("latency", _distribution),
        ("batch", _batches),
        ("scaling", _scaling),
        ("memory", _resident),
    )
    drawn = []
    for name, make in makers:
        figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
        if make(axes, results):
            axes.spines[["top", "right"]].set_visible(False)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            drawn.append(folder / f"{name}.svg")
        pyplot.close(figure)
    return drawn


def _rates(axes: Any, results: Mapping[str, Result]) -> bool:
    bars: list[tuple[str, Mapping[str, float], str]] = []
    for codec in ("sbe", "json"):
        for name, side in results.get(f"throughput-{codec}", {}).get("sides", {}).items():
            colour = (
                OURS_COLOUR if name.startswith("ours") else FLOOR_COLOUR if name.startswith("floor") else PEER_COLOUR
            )
            bars.append((f"{LABELS.get(name, name)} ({codec.upper()})", side["events_per_s"], colour))
    bars.reverse()
    for i, (_, rate, colour) in enumerate(bars):
        axes.barh(i, rate["median"] / 1e3, color=colour)
        axes.plot([rate["min"] / 1e3, rate["max"] / 1e3], [i, i], color="black", linewidth=1)
        axes.text(rate["max"] / 1e3, i, f" {rate['median'] / 1e3:,.0f}", va="center")
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.set_xlabel("thousand events/s (median; line: least to most)")
    return bool(bars)


def _distribution(axes: Any, results: Mapping[str, Result]) -> bool:
    found = results.get("latency")
    if not found:
        return False
    parts = [(found, f"gate closed, {found['rate']:,.0f} events/s", OURS_COLOUR)]
    if found["low"]:
        parts.append((found["low"], f"gate closed, {found['low']['rate']:,.0f} events/s", "#79b8ff"))
    if found["faust_low"]:
        parts.append(
            (
                found["faust_low"],
                f"stock Faust, result on Kafka, {found['faust_low']['rate']:,.0f} events/s",
                PEER_COLOUR,
            )
        )
    for part, label, colour in parts:
        values = sorted(part["samples_ms"])
        axes.step(values, [(i + 1) / len(values) for i in range(len(values))], where="post", label=label, color=colour)
    for name, limit in found["target"].items():
        axes.axvline(limit, color="#cf222e", linewidth=0.8, linestyle=":")
        axes.text(limit, 0.02, f" {name.removesuffix('_ms')} target", color="#cf222e")
    axes.set_xscale("log")
    axes.set_xlabel("ms from the intended send time of the first bad order")
    axes.set_ylabel("share of incidents")
    axes.legend(frameon=False)
    return True


def _batches(axes: Any, results: Mapping[str, Result]) -> bool:
    found = results.get("engine")
    if not found:
        return False
    sizes = [int(size) for size in found["ns_per_event_by_batch"]]
    axes.plot(sizes, list(found["ns_per_event_by_batch"].values()), marker="o", color=OURS_COLOUR)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xlabel("events in a batch")
    axes.set_ylabel("ns an event, stage 1")
    return True


def _scaling(axes: Any, results: Mapping[str, Result]) -> bool:
    scaling = results.get("throughput-sbe", {}).get("scaling")
    if not scaling:
        return False
    values = [rate / 1e3 for rate in scaling.values()]
    axes.bar(list(scaling), values, color=OURS_COLOUR, width=0.5)
    for i, value in enumerate(values):
        axes.text(i, value, f"{value:,.0f}", ha="center", va="bottom")
    axes.set_xlabel("workers")
    axes.set_ylabel("thousand events/s")
    return True


def _resident(axes: Any, results: Mapping[str, Result]) -> bool:
    found = results.get("memory")
    if not found or not found["samples"]:
        return False
    seconds, megabytes = zip(*found["samples"], strict=True)
    axes.plot([s / 60 for s in seconds], megabytes, color=OURS_COLOUR)
    axes.axhline(found["target_mb"], color="#cf222e", linewidth=0.8, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"minutes, {found['orders']:,} live orders turning over")
    axes.set_ylabel("resident MB")
    return True


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plots", description="Tables and plots from the results."
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the tables are stale")
    given = parser.parse_args()
    results = load()
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        fresh = written(page, results)
        if given.check:
            if fresh != page:
                sys.exit(f"{path.name} is not what the results say; run python -m benchmarks.plots")
        else:
            path.write_text(fresh, encoding="utf-8")
    if given.check:
        return
    for path in draw(results):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
