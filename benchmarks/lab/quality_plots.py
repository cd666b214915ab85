"""A plot per incident: flow, scores, the moment of the halt, money. SVG without a date: the same run, the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.lab.targets import GIVE_UP_S, LAST, MINUTES
from benchmarks.lab.trial import Outcome, Trace, Trial
from halts.config import Config
from producers import scenarios
from schemas.scopes import parse
from schemas.units import S_NS

BEFORE_S: Final = 5.0
SHOWN_MAX: Final = 5
"""Detectors drawn, those with the highest score."""
FLOOR: Final = 0.01


def draw(names: Sequence[str], seed: int, folder: Path) -> list[Path]:
    """``folder/NAME.svg`` of each incident among ``names``."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "knightwatch"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name in names:
        if name in scenarios.INCIDENTS:
            scenario, trace = scenarios.build(name, seed, minutes=MINUTES.get(name)), Trace()
            until = scenario.incident_ns + round(GIVE_UP_S.get(name, GIVE_UP_S["*"]) * S_NS)
            config = Config()
            out = Trial(scenario, config.stage1, config.desk, trace=trace).run(until, LAST.get(name, ""))
            drawn.append(_plot(out, trace, folder / f"{name}.svg"))
    return drawn


def _plot(out: Outcome, trace: Trace, path: Path) -> Path:
    from matplotlib import pyplot

    figure, (flow, scores, money) = pyplot.subplots(3, 1, figsize=(8, 6), sharex=True)
    zero = out.first_bad_ts
    t = (np.array(trace.ends) - zero) / S_NS
    step_s = np.diff(t, prepend=2 * t[0] - t[1] if len(t) > 1 else t[0] - 0.1)
    culprits = {parse(scope)[1] for scope in out.wanted if parse(scope)[0] == "server"}
    orders = np.stack(trace.orders) / step_s[:, None]
    for i, server in enumerate(out.servers):
        guilty = server in culprits
        flow.plot(t, orders[:, i], lw=1.2 if guilty else 0.5, color=None if guilty else "0.75",
                  label=server if guilty else None)  # fmt: skip
    flow.set_ylabel("orders/s by server")
    _scores(scores, trace, culprits, zero)
    money.plot(t, trace.loss_usd, color="C3", lw=1.2)
    money.set_ylabel("loss, USD")
    money.set_xlabel("seconds since the first bad event")
    for axes in (flow, scores, money):
        axes.axvline(0, color="0.5", lw=0.8, ls=":")
        for halt in out.halts:
            axes.axvline((halt.ts - zero) / S_NS, color="k", lw=0.9, ls="--")
        axes.set_xlim(-BEFORE_S, max(float(t[-1]), 1.0))
    first = out.halts[0] if out.halts else None
    flow.set_title(f"{out.scenario}, seed {out.seed}: " + (
        f"{first.scope} halted by {', '.join(first.detectors)} after {(first.ts - zero) / S_NS:.2f} s" if first
        else "not halted"), fontsize=10)  # fmt: skip
    if culprits:
        flow.legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _scores(axes: Any, trace: Trace, culprits: set[str], zero: int) -> None:
    """The highest scores of the servers in trouble, in limits."""
    series: dict[str, list[tuple[float, float]]] = {}
    for ts, server, values in trace.rows:
        if server in culprits and ts >= zero - BEFORE_S * S_NS:
            for name, value in values.items():
                series.setdefault(name, []).append(((ts - zero) / S_NS, max(value, FLOOR)))
    top = sorted(series, key=lambda name: -max(v for _, v in series[name]))[:SHOWN_MAX]
    for name in top:
        at = np.array(series[name])
        axes.plot(at[:, 0], at[:, 1], lw=1, marker=".", ms=2, label=name)
    axes.axhline(1, color="0.5", lw=0.8)
    axes.set_yscale("log")
    axes.set_ylabel("score / limit")
    if top:
        axes.legend(fontsize=7, loc="upper left")
