"""Grafana panels as frozen values that render to the panel JSON of dashboard schema 39-41 (Grafana 11 to 13).

Colours are Okabe and Ito's (Color Universal Design, 2008), told apart by people with any common colour blindness;
a state is also written out, never told by colour alone. A panel says its unit, its thresholds and, in its
description, how to read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.metrics import Metric

DATASOURCE_UID: Final = "knightwatch-prometheus"
"""uid that provisioning and push give the Prometheus data source."""
DATASOURCE: Final = {"type": "prometheus", "uid": "${ds}"}

SKY: Final = "#56B4E9"
BLUE: Final = "#0072B2"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
ORANGE: Final = "#E69F00"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8E8E8E"

WINDOW: Final = "$__rate_interval"
RARE_WINDOW: Final = "5m"
"""For what happens once a minute or once a month: in a window of seconds it would hardly ever be seen."""

Steps = tuple[tuple[float | None, str], ...]
PLAIN: Final[Steps] = ((None, SKY),)
RATIO_STEPS: Final[Steps] = ((None, BLUE), (0.5, YELLOW), (0.8, ORANGE), (1.0, VERMILLION))
"""Score / limit: 1 is the bound."""

CLEAR: Final = "transparent"


def cell(*steps: tuple[float, str]) -> Steps:
    """Thresholds of a table cell: no colour until the first of them is passed."""
    return ((None, CLEAR), *steps)


def bare(steps: Steps) -> Steps:
    """The same thresholds for a table cell: no colour below the first."""
    return ((None, CLEAR), *steps[1:])


RATIO_CELL: Final = bare(RATIO_STEPS)

STATES: Final = (
    ("ACTIVE", BLUE), ("WARNED", YELLOW), ("HALTING", ORANGE), ("HALTED", VERMILLION), ("RESUMING", PURPLE),
)  # fmt: skip
"""Halt states in the order of the numbers that state timelines draw, with their colours."""

SERVER_URL: Final = "/d/kw-server/?${__url_time_range}&var-server="


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression. ``incident``: has data only once something broke, so calm may leave it empty."""

    expr: str
    legend: str = ""
    instant: bool = False
    table: bool = False
    incident: bool = False

    def json(self, ref: str) -> dict[str, Any]:
        """The target as Grafana stores it."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": "table" if self.table else "time_series",
            "instant": self.instant or self.table,
            "interval": "1s",
            "legendFormat": self.legend or "__auto",
            "range": not (self.instant or self.table),
            "refId": ref,
        }


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``w`` of 24 columns, ``h`` in rows of 30 px; ``text`` says how to read it; ``steps`` are thresholds
    as (from value, colour), the first from None; ``repeat`` names the variable over which it is repeated."""

    kind: str
    title: str
    text: str
    queries: tuple[Query, ...]
    w: int
    h: int
    unit: str = "short"
    steps: Steps = PLAIN
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[Mapping[str, Any], ...] = ()
    mappings: tuple[Mapping[str, Any], ...] = ()
    links: tuple[Mapping[str, Any], ...] = ()
    data_links: tuple[Mapping[str, Any], ...] = ()
    transformations: tuple[Mapping[str, Any], ...] = ()
    repeat: str = ""
    per_row: int = 8

    def json(self, panel_id: int, x: int, y: int) -> dict[str, Any]:
        """The panel at (x, y), complete."""
        defaults: dict[str, Any] = {
            "color": {"mode": "thresholds"},
            "custom": dict(self.custom),
            "links": [dict(link) for link in self.data_links],
            "mappings": [dict(m) for m in self.mappings],
            "noValue": "–",
            "thresholds": {"mode": "absolute", "steps": [{"color": c, "value": v} for v, c in self.steps]},
            "unit": self.unit,
            **self.defaults,
        }
        out: dict[str, Any] = {
            "datasource": DATASOURCE,
            "description": self.text,
            "fieldConfig": {"defaults": defaults, "overrides": [dict(o) for o in self.overrides]},
            "gridPos": {"h": self.h, "w": self.w, "x": x, "y": y},
            "id": panel_id,
            "links": [dict(link) for link in self.links],
            "options": dict(self.options),
            "targets": [q.json(_ref(n)) for n, q in enumerate(self.queries)],
            "title": self.title,
            "transformations": [dict(t) for t in self.transformations],
            "type": self.kind,
        }
        if self.repeat:
            out |= {"maxPerRow": self.per_row, "repeat": self.repeat, "repeatDirection": "h"}
        return out


def _ref(n: int) -> str:
    return chr(ord("A") + n)


def link(title: str, url: str, new_tab: bool = False) -> dict[str, Any]:
    """A link of a panel or of a data point."""
    return {"targetBlank": new_tab, "title": title, "url": url}


SERVER_LINK: Final = link("Open server ${__field.labels.server}", SERVER_URL + "${__field.labels.server}")


# --- PromQL: names come from the table, so that a misspelt one does not import ----------------------------------------


def select(metric: Metric, where: str = "") -> str:
    """``name{where}``."""
    return f"{metric.name}{{{where}}}" if where else metric.name


def rate(metric: Metric, by: str = "server", where: str = "") -> str:
    """Per second; summed over workers, so that a server that moved to another worker keeps one line."""
    return f"sum by ({by}) (rate({select(metric, where)}[{WINDOW}]))"


def level(metric: Metric, by: str = "server", where: str = "") -> str:
    """A gauge; the largest, where two workers tell it during a rebalance."""
    return f"max by ({by}) ({select(metric, where)})"


def median(vector: str) -> str:
    """The middle one of all servers: what the peers do."""
    return f"quantile(0.5, {vector})"


def quantile(q: float, metric: Metric, by: str, where: str = "", window: str = WINDOW) -> str:
    """Quantile of a histogram, per value of ``by`` (or one, where ``by`` is empty)."""
    labels = f"le, {by}" if by else "le"
    name = f"{metric.name}_bucket" + (f"{{{where}}}" if where else "")
    return f"histogram_quantile({q}, sum by ({labels}) (rate({name}[{window}])))"


# --- kinds of panel ---------------------------------------------------------------------------------------------------


def stat(title: str, text: str, query: Query, *, w: int = 3, h: int = 3, unit: str = "short", steps: Steps = PLAIN,
         mode: str = "value", spark: bool = True, **more: Any) -> Panel:  # fmt: skip
    """One number, large; its background takes the threshold's colour. ``mode`` "name" writes series names instead."""
    options = {
        "colorMode": "background" if len(steps) > 1 else "value",
        "graphMode": "area" if spark else "none",
        "justifyMode": "center",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": mode,
        "wideLayout": True,
    }
    return Panel("stat", title, text, (query,), w, h, unit, steps, options, **more)


def series(title: str, text: str, queries: Sequence[Query], *, w: int = 12, h: int = 7, unit: str = "short",
           steps: Steps = PLAIN, limit: bool = False, legend: bool = True, custom: Mapping[str, Any] | None = None,
           defaults: Mapping[str, Any] | None = None, **more: Any) -> Panel:  # fmt: skip
    """Lines over time from zero; each line is dressed in a colour by name (``dressed``), others are sky blue.
    ``limit``: thresholds are drawn as dashed lines."""
    drawn = {
        "axisBorderShow": False,
        "axisSoftMin": 0,
        "drawStyle": "line",
        "fillOpacity": 8 if len(queries) == 1 else 0,
        "gradientMode": "none",
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "pointSize": 4,
        "scaleDistribution": {"type": "linear"},
        "showPoints": "never",
        "spanNulls": 3000,
        "thresholdsStyle": {"mode": "dashed" if limit else "off"},
        **(custom or {}),
    }
    options = {
        "legend": {"calcs": ["lastNotNull"], "displayMode": "list", "placement": "bottom", "showLegend": legend},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    colour = {"color": {"mode": "fixed", "fixedColor": SKY}, **(defaults or {})}
    return Panel("timeseries", title, text, tuple(queries), w, h, unit, steps, options, drawn, colour, **more)


def bars(title: str, text: str, query: Query, *, w: int = 8, h: int = 8, unit: str = "percentunit",
         steps: Steps = RATIO_STEPS, top: float | None = 1.25, **more: Any) -> Panel:  # fmt: skip
    """One bar for each series, named by the one label in the query's legend, with its value written; the threshold's
    colour tells who is beyond. ``top`` ends the scale; None ends it at the largest."""
    options = {
        "displayMode": "basic",
        "minVizHeight": 14,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    }
    label = query.legend.strip("{}")
    shown: dict[str, Any] = {"displayName": f"${{__field.labels.{label}}}", "min": 0}
    if top is not None:
        shown["max"] = top
    if unit in ("none", "percentunit"):
        shown["decimals"] = 2 if unit == "none" else 0
    return Panel("bargauge", title, text, (query,), w, h, unit, steps, options, defaults=shown, **more)


def timeline(title: str, text: str, query: Query, *, w: int = 24, h: int = 7, unit: str = "short",
             steps: Steps = PLAIN, values: str = "never", **more: Any) -> Panel:  # fmt: skip
    """One band for each series; its colour is the state, or the threshold that the value has passed."""
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": values,
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 95, "lineWidth": 0, "spanNulls": 5000}
    if "mappings" in more:  # words and colours of a mapping show only where thresholds do not claim the colour
        more["defaults"] = {"color": {"mode": "palette-classic"}, **more.get("defaults", {})}
    return Panel("state-timeline", title, text, (query,), w, h, unit, steps, options, custom, **more)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its query must yield one value for each row key."""

    name: str
    expr: str
    unit: str = "short"
    decimals: int = 0
    steps: Steps = PLAIN
    mappings: tuple[Mapping[str, Any], ...] = ()
    incident: bool = False
    width: int = 0


def table(title: str, text: str, keys: Mapping[str, int], columns: Sequence[Column], *, w: int, h: int, sort: str,
          drop: Sequence[str] = (), key_link: Mapping[str, Any] | None = None, **more: Any) -> Panel:  # fmt: skip
    """One row for each value of ``keys`` (labels, with their widths in px; 0: what is left), one column for each query,
    the worst of ``sort`` on top. A cell with thresholds is filled with their colour. ``key_link`` hangs on the first key."""
    values = ["Value"] if len(columns) == 1 else [f"Value #{_ref(n)}" for n in range(len(columns))]
    order = {name: n for n, name in enumerate(("Time", *keys, *values))}
    renamed = {value: column.name for value, column in zip(values, columns, strict=True)}
    organise = {
        "id": "organize",
        "options": {
            "excludeByName": {"Time": True} | dict.fromkeys(drop, True),
            "indexByName": order,
            "renameByName": renamed,
        },
    }
    overrides = [_column(c) for c in columns] + [_key(name, width) for name, width in keys.items()]
    if key_link:
        overrides[len(columns)]["properties"].append({"id": "links", "value": [key_link]})
    options = {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
        "sortBy": [{"desc": True, "displayName": sort}],
    }
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False, "inspect": False}
    queries = tuple(Query(c.expr, table=True, incident=c.incident) for c in columns)
    return Panel(
        "table", title, text, queries, w, h, "short", PLAIN, options, custom, overrides=tuple(overrides),
        transformations=({"id": "merge", "options": {}}, organise), **more,
    )  # fmt: skip


def _key(name: str, width: int) -> dict[str, Any]:
    properties: list[dict[str, Any]] = [{"id": "custom.width", "value": width}] if width else []
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def _column(column: Column) -> dict[str, Any]:
    properties: list[dict[str, Any]] = [
        {"id": "unit", "value": column.unit},
        {"id": "decimals", "value": column.decimals},
    ]
    if column.width:
        properties.append({"id": "custom.width", "value": column.width})
    if len(column.steps) > 1:
        steps = [{"color": c, "value": v} for v, c in column.steps]
        properties += [
            {"id": "thresholds", "value": {"mode": "absolute", "steps": steps}},
            {"id": "custom.cellOptions", "value": {"mode": "basic", "type": "color-background"}},
        ]
    if column.mappings:
        properties.append({"id": "mappings", "value": [dict(m) for m in column.mappings]})
    return {"matcher": {"id": "byName", "options": column.name}, "properties": properties}


# --- dress ------------------------------------------------------------------------------------------------------------


def dressed(name: str, colour: str, *, dash: bool = False, width: int = 2, hidden: bool = False) -> dict[str, Any]:
    """Override: the line ``name`` in ``colour``. ``hidden`` draws nothing but still stretches the axis, which gives
    repeated panels one common scale."""
    properties: list[dict[str, Any]] = [
        {"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}},
        {"id": "custom.lineWidth", "value": 0 if hidden else width},
    ]
    if dash:
        properties.append({"id": "custom.lineStyle", "value": {"dash": [6, 6], "fill": "dash"}})
    if dash or hidden:
        properties.append({"id": "custom.fillOpacity", "value": 0})
    if hidden:
        properties.append({"id": "custom.hideFrom", "value": {"legend": True, "tooltip": True, "viz": False}})
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def named(values: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Value mapping: number (as text) -> (words, colour)."""
    return {
        "options": {k: {"color": c, "index": n, "text": t} for n, (k, (t, c)) in enumerate(values.items())},
        "type": "value",
    }


def beyond(start: float, words: str, colour: str) -> dict[str, Any]:
    """Value mapping: from ``start`` on, these words."""
    return {
        "options": {"from": start, "result": {"color": colour, "index": 0, "text": words}, "to": None},
        "type": "range",
    }


STATE_MAPPING: Final = named({str(n): state for n, state in enumerate(STATES)})
