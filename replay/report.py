"""The report: one HTML page that stands alone, for whoever has to approve a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from replay.report_data import Gathered, Lines, contribution
from replay.report_page import page, section, table
from replay.runner import Result
from replay.score import Row
from schemas.records import HaltRecord
from schemas.units import MS_NS

HEIGHT = 340
MARK = {"HALTING": "#c62828", "HALTED": "#6a1b9a", "WARNED": "#ef6c00"}


@dataclass(frozen=True)
class Content:
    """What a report is made from. score: where the log has labels. evidence: of ``knightwatch tune``. changes: dotted
    key -> (approved value, value now)."""

    title: str
    result: Result
    gathered: Gathered
    score: Row | None
    evidence: Mapping[str, Any] | None
    changes: Mapping[str, tuple[Any, Any]] | None


def render(content: Content) -> str:
    """The page. ValueError when plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ValueError("a report needs plotly, which is not installed: pip install 'knightwatch[replay]'") from error
    halts = content.result.halts
    parts = [
        section("In short", _short(content)),
        section("Halts", _halts_table(halts)),
        section("Flow", _figure(_line_chart(content.gathered.flow(), "orders a second", halts))),
        section(
            "Scores",
            "<p>The highest score of any router in units of its limit: beyond 1 there is a breach.</p>"
            + _figure(_score_chart(content.gathered.score(), halts)),
        ),
        section("Money", _figure(_line_chart(content.gathered.loss(), "loss so far, USD", halts))),
        section("What each detector contributed", _figure(_contribution_chart(content.gathered, halts))),
    ]
    if content.evidence is not None:
        parts.append(section("False halts against loss", _pareto(content.evidence)))
    if content.changes is not None:
        parts.append(section("Changed since the approved configuration", _changes(content.changes)))
    return page(content.title, parts, get_plotlyjs())


def _short(content: Content) -> str:
    result, row = content.result, content.score
    halted = [h.scope for h in result.halts if h.state == "HALTING"]
    lines = [("events", f"{result.events:,}"), ("scopes halted", ", ".join(halted) or "none")]
    if row is not None:
        found = f"after {row.time_to_halt_ms:,.0f} ms" if row.detected else "not found"
        lines += [("scenario", f"{row.scenario}, seed {row.seed}"), ("false halts", str(len(row.false_halts)))]
        if row.halt_expected:
            lines += [
                ("the incident was", found),
                ("bad orders before", f"{row.bad_orders_before_halt:,}"),
                ("loss before, USD", f"{row.loss_usd:,.0f}"),
                ("loss if not halted, USD", f"{row.loss_usd_unhalted:,.0f}"),
            ]
    lines.append(("digest of the run", result.digest))
    return table(("", ""), lines)


def _halts_table(halts: Sequence[HaltRecord]) -> str:
    if not halts:
        return "<p>None.</p>"
    rows = [
        (_time(h.ts_decided), h.state, h.scope, ", ".join(sorted({c.detector for c in h.cause})), h.text) for h in halts
    ]
    return table(("time, UTC", "state", "scope", "detectors", "what"), rows, "stack")


def _changes(changes: Mapping[str, tuple[Any, Any]]) -> str:
    if not changes:
        return "<p>Nothing.</p>"
    return table(("setting", "approved", "now"), [(key, str(old), str(new)) for key, (old, new) in changes.items()])


def _time(ns: int) -> str:
    import numpy as np

    return str(np.datetime64(ns // MS_NS, "ms")).replace("T", " ")


def _marked(figure: Any, halts: Sequence[HaltRecord]) -> Any:
    """Transitions as upright lines; the first of each state in the legend."""
    for state, colour in MARK.items():
        moments = sorted({_time(h.ts_decided) for h in halts if h.state == state})
        line = {"color": colour, "width": 1, "dash": "dot"}
        for moment in moments:
            figure.add_shape(type="line", x0=moment, x1=moment, y0=0, y1=1, yref="paper", line=line)
        if moments:
            figure.add_scatter(x=[None], y=[None], mode="lines", name=state, line={"color": colour, "dash": "dot"})
    return figure


def _line_chart(lines: Lines, what: str, halts: Sequence[HaltRecord]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    times = lines.times.astype(str)
    for name, values in lines.values.items():
        figure.add_scatter(x=times, y=values.round(3), name=name, mode="lines", line={"width": 1.2})
    figure.update_yaxes(title=what, rangemode="tozero")
    return _marked(figure, halts)


def _score_chart(lines: Lines, halts: Sequence[HaltRecord]) -> Any:
    import numpy as np

    figure = _line_chart(
        Lines(lines.times, {n: np.fmax(v, 1e-3) for n, v in lines.values.items()}), "score / limit", halts
    )
    figure.update_yaxes(type="log", rangemode="normal")
    figure.add_hline(y=1, line={"color": "#333", "width": 1})
    return figure


def _contribution_chart(gathered: Gathered, halts: list[HaltRecord]) -> Any:
    import plotly.graph_objects as go

    found = contribution(gathered, halts)
    names = [name for name, _, _ in found]
    figure = go.Figure()
    figure.add_bar(x=names, y=[opened for _, opened, _ in found], name="breaches opened")
    figure.add_bar(x=names, y=[caused for _, _, caused in found], name="halts it is a cause of")
    figure.update_yaxes(title="count", rangemode="tozero")
    return figure


def _pareto(evidence: Mapping[str, Any]) -> str:
    import plotly.graph_objects as go

    trials, front = evidence["trials"], set(evidence["front"])
    figure = go.Figure()
    for name, best, size in (("tried", False, 6), ("best of their kind", True, 11)):
        chosen = [t for t in trials if (t["number"] in front) is best]
        xs, ys = [t["false_halts"] for t in chosen], [t["loss_usd"] for t in chosen]
        text = [f"trial {t['number']}" for t in chosen]
        figure.add_scatter(x=xs, y=ys, mode="markers", name=name, marker={"size": size}, text=text)
    base = evidence["train_base"]["totals"]
    figure.add_scatter(
        x=[base["false_halts"]], y=[base["loss_usd"]], mode="markers", name="before", marker={"size": 12, "symbol": "x"}
    )
    figure.update_xaxes(title="false halts", rangemode="tozero", tickformat="d")
    figure.update_yaxes(title="loss before the halt, USD", rangemode="tozero")
    rows = []
    for name, words in (("train", "tuned on"), ("test", "held out")):
        before, after = evidence[f"{name}_base"], evidence[f"{name}_best"]
        logs = ", ".join(evidence[name])
        halts = f"{before['totals']['false_halts']} → {after['totals']['false_halts']}"
        rows.append((words, logs, f"{before['cost_usd']:,.0f} → {after['cost_usd']:,.0f}", halts))
    return _figure(figure) + table(("", "logs", "cost, USD", "false halts"), rows)


def _figure(figure: Any) -> str:
    """The figure's part of the page; it takes the width there is."""
    import plotly.io as pio

    figure.update_layout(
        template="plotly_white", height=HEIGHT, margin={"l": 60, "r": 10, "t": 10, "b": 40}, barmode="group",
        legend={"orientation": "h", "y": -0.2}, font={"size": 12}, hovermode="x unified",
    )  # fmt: skip
    html: str = pio.to_html(
        figure, full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False}
    )
    return f'<div class="figure">{html}</div>'


def title_of(log: str, config: str) -> str:
    """The page's heading."""
    return escape(f"Knightwatch: {log} under {config}")
