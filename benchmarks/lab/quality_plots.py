"""A plot per incident: flow, scores, the moment of the halt, money. SVG without a date: the same run, the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.lab.targets import GIVE_UP_S, LAST, MINUTES
from benchmarks.lab.trial import Outcome, Trace, Trial
from halts.config import Config
from producers import scenarios
from schemas.scopes import parse
from schemas.units import S_NS

BEFORE_S: Final = (1.5, 12.0)
"""Seconds shown before the first bad event: as many as after it, but at least and at most."""
SHOWN_MAX: Final = 5
"""Detectors drawn, those with the highest score; and servers in trouble that have a colour of their own."""
FLOOR: Final = 0.01
POINTS_MAX: Final = 240
"""Of a line: what lies closer is averaged, of scores the greatest is shown."""
GREY, HALT, WARN = "#8b949e", "#cf222e", "#bf8700"
COLOURS: Final = ("#1f6feb", "#e36209", "#2da44e", "#8250df", "#bf3989")

Floats = NDArray[np.float64]


def draw(names: Sequence[str], seed: int, folder: Path) -> list[Path]:
    """``folder/NAME.svg`` of each incident among ``names``."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name in names:
        if name in scenarios.INCIDENTS:
            scenario, trace = scenarios.build(name, seed, minutes=MINUTES.get(name)), Trace()
            until = scenario.incident_ns + round(GIVE_UP_S.get(name, GIVE_UP_S["*"]) * S_NS)
            config = Config()
            out = Trial(scenario, config.stage1, config.desk, trace=trace, slices=1).run(until, LAST.get(name, ""))
            drawn.append(plot(out, trace, folder / f"{name}.svg"))
    return drawn


def plot(out: Outcome, trace: Trace, path: Path) -> Path:
    """One run as three panels over the same seconds."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "knightwatch", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 9}
    )
    from matplotlib import pyplot

    figure, (flow, scores, money) = pyplot.subplots(3, 1, figsize=(7.2, 5.4), sharex=True, layout="constrained")
    zero = out.first_bad_ts
    t = (np.array(trace.ends) - zero) / S_NS
    end = max(float(t[-1]), 1.0)
    begin = -float(np.clip(end, *BEFORE_S))
    culprits = sorted({parse(scope)[1] for scope in out.wanted if parse(scope)[0] == "server"} & set(out.servers))
    _flow(flow, out.servers, culprits or list(out.servers), trace, t, begin)
    _scores(scores, trace, culprits or list(out.servers), zero, begin, end)
    shown = t >= begin - 1.0
    money.plot(*_thinned(t[shown], np.array(trace.loss_usd)[shown], end - begin), color=HALT, lw=1.2)
    low, high = money.get_ylim()
    money.set_ylim(min(low, 0.0), max(high, 1.0))
    money.set_ylabel("loss, USD")
    money.set_xlabel("seconds since the first bad event")
    for axes in (flow, scores, money):
        axes.axvline(0, color=GREY, lw=0.8, ls=":")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(begin, end)
    _moments((flow, scores, money), out, zero)
    figure.suptitle(_title(out), fontsize=9, x=0.01, ha="left")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _title(out: Outcome) -> str:
    right = next((h for h in out.halts if out.right(h)), None)
    if right is None:
        return f"{out.scenario}, seed {out.seed}: not halted"
    money = f"USD {abs(out.loss_usd):,.0f} {'lost' if out.loss_usd >= 0 else 'gained'}"
    return (
        f"{out.scenario}, seed {out.seed}: {right.scope} halted by {', '.join(right.detectors)} after "
        f"{(right.ts - out.first_bad_ts) / S_NS:.2f} s; {out.bad_orders} bad orders before, {money}"
    )


def _flow(axes: Any, servers: Sequence[str], culprits: Sequence[str], trace: Trace, t: Floats, begin: float) -> None:
    """Orders per second: a line for each server in trouble, a band from least to most for the others."""
    step_s = np.diff(t, prepend=2 * t[0] - t[1] if len(t) > 1 else t[0] - 0.1)
    shown = t >= begin - 1.0
    rates = (np.stack(trace.orders) / step_s[:, None])[shown]
    at, span = t[shown], float(t[-1]) - begin
    others = [i for i, name in enumerate(servers) if name not in culprits]
    many = [i for i, name in enumerate(servers) if name in culprits] if len(culprits) > SHOWN_MAX else []
    for some, colour, what in (
        (others, "#d0d7de", "other servers"),
        (many, "#a8c7fa", f"{len(many)} servers in trouble"),
    ):
        if some:
            low, high = (_thinned(at, edge(rates[:, some], axis=1), span) for edge in (np.min, np.max))
            axes.fill_between(low[0], low[1], high[1], color=colour, lw=0, label=f"{what}, least to most")
    for name, colour in zip([] if many else culprits, COLOURS, strict=False):
        x, y = _thinned(at, rates[:, list(servers).index(name)], span)
        axes.plot(x, y, color=colour, lw=1.2, label=name)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("orders/s by server")
    axes.legend(fontsize=7, frameon=False, loc="upper left")


def _scores(axes: Any, trace: Trace, culprits: Sequence[str], zero: int, begin: float, end: float) -> None:
    """The highest scores of stage 1 on the servers in trouble, in limits: the greatest of each bin, of all of them."""
    bins = POINTS_MAX
    at = begin + (np.arange(bins) + 0.5) * (end - begin) / bins
    series: dict[str, dict[str, Floats]] = {}
    for ts, server, values in trace.rows:
        t = (ts - zero) / S_NS
        if server in culprits and begin <= t < end:
            place = int((t - begin) / (end - begin) * bins)
            for name, value in values.items():
                held = series.setdefault(name, {}).setdefault(server, np.full(bins, np.nan))
                held[place] = np.fmax(held[place], value)
    lines = {name: np.fmax.reduce([_held(y) for y in some.values()]) for name, some in series.items()}
    peaks = {name: float(np.nanmax(y)) for name, y in lines.items()}
    top = sorted((name for name in peaks if peaks[name] > FLOOR), key=lambda name: (-peaks[name], name))[:SHOWN_MAX]
    for name, colour in zip(top, COLOURS, strict=False):
        axes.plot(at, np.maximum(lines[name], FLOOR), lw=1.2, color=colour, label=name)
    axes.axhline(1, color=GREY, lw=0.8)
    axes.set_yscale("log")
    axes.set_ylim(FLOOR * 0.8, 2 * max([2.0, *(peaks[name] for name in top)]))
    axes.set_ylabel("score / limit")
    if top:
        axes.legend(fontsize=7, frameon=False, loc="upper left")
    else:
        axes.text(0.01, 0.9, "no score of stage 1 above 0.01 limits", transform=axes.transAxes, fontsize=7, va="top")


def _held(y: Floats) -> Floats:
    """Holes filled with the value before them, up to the last value: a server without events has no row."""
    known = np.flatnonzero(~np.isnan(y))
    place = np.searchsorted(known, np.arange(known[-1] + 1), side="right") - 1
    return np.concatenate([np.where(place >= 0, y[known[place]], np.nan), np.full(len(y) - known[-1] - 1, np.nan)])


def _moments(panels: Sequence[Any], out: Outcome, zero: int) -> None:
    """Vertical lines where something was halted or warned of; the legend, in the last panel, names the first of each."""
    begin, end = panels[0].get_xlim()
    named: dict[tuple[str, str], str] = {}
    for verb, moments, colour, style in (("warned", out.warnings, WARN, "-."), ("halted", out.halts, HALT, "--")):
        for one in moments:
            at = (one.ts - zero) / S_NS
            if not begin <= at <= end:
                continue
            new = named.setdefault((verb, parse(one.scope)[0]), one.scope) == one.scope
            text = f"{one.scope.removeprefix('server:')} {verb}: {', '.join(one.detectors)}" if new else None
            for axes in panels:
                axes.axvline(at, color=colour, lw=0.9, ls=style, label=text if axes is panels[-1] else None)
    if named:
        panels[-1].legend(fontsize=7, frameon=False, loc="best")


def _thinned(x: Floats, y: Floats, span: float) -> tuple[Floats, Floats]:
    """Means over bins of equal time, at most about ``POINTS_MAX`` of them; as it is if that is fewer."""
    if len(x) <= POINTS_MAX:
        return x, y
    place = np.floor((x - x[0]) / (span / POINTS_MAX)).astype(int)
    n = np.bincount(place)
    held = n > 0
    return np.bincount(place, x)[held] / n[held], np.bincount(place, y)[held] / n[held]
