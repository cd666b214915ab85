"""Are the boards and alerts fit to be looked at in an incident? Three questions: is every panel complete, does every
expression use metrics and labels that exist, and does every expression return data from a real Prometheus."""

import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dashboards import alerts, boards, build, promql
from dashboards.board import COLUMNS, Board, Variable
from dashboards.panels import Panel

CHECK_WINDOW: Final = "5s"
"""Stands for $__rate_interval: four scrapes of 1 s and one to spare."""
KINDS: Final = frozenset({"stat", "timeseries", "bargauge", "state-timeline", "table"})
_VARIABLE: Final = re.compile(r"\$\{?([a-z]\w*)")
_BUILTIN: Final = frozenset({"__url_time_range", "__field", "__value", "__rate_interval"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, and where."""

    where: str
    problem: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at and what was found. ``quiet``: expressions without data that calm may leave so."""

    panels: int
    expressions: int
    series: int
    findings: tuple[Finding, ...]
    quiet: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.findings


class PrometheusError(Exception):
    """Prometheus could not be asked, or refused the question."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The two questions we ask a Prometheus server at ``url``."""

    url: str
    timeout_s: float = 10.0

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Instant query: the result vector. PrometheusError with the server's own words if it refuses."""
        found = self._get("query", {"query": expr})
        return list(found["result"]) if found["resultType"] == "vector" else [{"metric": {}, "value": found["result"]}]

    def values(self, metric: str, label: str) -> list[str]:
        """Values that ``label`` of ``metric`` has now."""
        return sorted({row["metric"][label] for row in self.query(metric) if label in row["metric"]})

    def _get(self, path: str, args: Mapping[str, str]) -> Any:
        url = f"{self.url.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(args)}"
        try:
            with urllib.request.urlopen(url, timeout=self.timeout_s) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise PrometheusError(_words(error)) from error
        except (urllib.error.URLError, OSError, ValueError, KeyError) as error:
            raise PrometheusError(
                f"no Prometheus answers at {self.url} ({error}): start one, or give its address with --prometheus"
            ) from error


def _words(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError):
        return f"HTTP {error.code} {error.reason}"


def expressions() -> Iterator[tuple[str, str, bool]]:
    """(where, expression, may be empty while all is calm) of every panel and alert."""
    for board in boards.ALL:
        for panel in board.panels():
            for n, query in enumerate(panel.queries):
                yield f"{board.key}: {panel.title} [{chr(ord('A') + n)}]", query.expr, query.incident
    for alert in alerts.ALL:
        yield f"alert {alert.name}", alert.expr, alert.incident_only


def static() -> Report:
    """Structure of every board and the vocabulary of every expression; freshness of the generated files."""
    findings = [Finding(f"dashboards/{name}", "is stale: run `knightwatch dashboards build`") for name in build.stale()]
    panels = 0
    for board in boards.ALL:
        findings += _board(board)
        panels += sum(1 for _ in board.panels())
    count = 0
    for where, expr, _ in expressions():
        count += 1
        findings += [Finding(where, problem) for problem in promql.problems(expr)]
    return Report(panels, count, 0, tuple(findings))


def live(prometheus: Prometheus, calm: bool = False) -> Report:
    """Every expression, asked of ``prometheus``. ``calm``: those that need an incident may be empty."""
    before = static()
    findings = list(before.findings)
    chosen, missing = _choices(prometheus)
    findings += missing
    quiet: list[str] = []
    series = 0
    for where, expr, incident in expressions():
        try:
            rows = prometheus.query(substitute(expr, chosen))
        except PrometheusError as error:
            findings.append(Finding(where, str(error)))
            continue
        usable = [row for row in rows if not math.isnan(float(row["value"][1]))]
        series += len(usable)
        if not usable and calm and incident:
            quiet.append(where)
        elif not usable:
            what = "returns NaN only" if rows else "returns nothing"
            findings.append(Finding(where, f"{what}: {substitute(expr, chosen)}"))
    return Report(before.panels, before.expressions, series, tuple(findings), tuple(quiet))


def _choices(prometheus: Prometheus) -> tuple[dict[str, list[str]], list[Finding]]:
    """The values of each variable of the boards, from the data."""
    chosen: dict[str, list[str]] = {}
    missing = []
    for variable in _variables():
        values = prometheus.values(variable.metric.name, variable.of)
        if not values:
            problem = f"{variable.metric.name} has no label {variable.of}: is a worker running and being scraped?"
            missing.append(Finding(f"variable ${variable.name}", problem))
        chosen[variable.name] = values
    return chosen, missing


def _variables() -> Iterator[Variable]:
    for board in boards.ALL:
        yield from board.variables


def substitute(expr: str, chosen: Mapping[str, Sequence[str]]) -> str:
    """``expr`` as Grafana would send it: all values where a regular expression asks, else the first."""
    out = expr.replace("$__rate_interval", CHECK_WINDOW)
    for name, values in chosen.items():
        out = out.replace(f'=~"${name}"', f'=~"{"|".join(values)}"').replace(f"${name}", values[0] if values else "")
    return out


def _board(board: Board) -> Iterator[Finding]:
    made = board.json()
    if not 39 <= made["schemaVersion"] <= 41:
        yield Finding(board.key, f"schemaVersion {made['schemaVersion']}: Grafana 11 to 13 load 39 to 41")
    if made["refresh"] != "1s":
        yield Finding(board.key, f"refresh is {made['refresh']}, expected 1s")
    if len(made["uid"]) > 40 or not made["title"]:
        yield Finding(board.key, "needs a title and a uid of at most 40 characters")
    ids = [panel["id"] for panel in made["panels"]]
    if len(set(ids)) != len(ids):
        yield Finding(board.key, "two panels share an id")
    yield from _places(board.key, made["panels"])
    known = {entry["name"] for entry in made["templating"]["list"]}
    for name in sorted(set(_VARIABLE.findall(json.dumps(made))) - known - _BUILTIN):
        yield Finding(board.key, f"uses the variable ${name}, which it does not define")
    for panel in board.panels():
        yield from (Finding(f"{board.key}: {panel.title}", problem) for problem in _panel(panel))


def _places(key: str, panels: list[dict[str, Any]]) -> Iterator[Finding]:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        at = panel["gridPos"]
        if at["x"] + at["w"] > COLUMNS:
            yield Finding(f"{key}: {panel['title']}", "stands beyond the right edge of the grid")
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            if cell in taken:
                yield Finding(f"{key}: {panel['title']}", f"overlaps {taken[cell]}")
                break
            taken[cell] = panel["title"]


def _panel(panel: Panel) -> Iterator[str]:
    if panel.kind not in KINDS:
        yield f"kind {panel.kind!r} is not one of {', '.join(sorted(KINDS))}"
    if not panel.text:
        yield "has no description: say how to read it"
    if not panel.queries:
        yield "has no query"
    if not panel.unit or not panel.steps or panel.steps[0][0] is not None:
        yield "needs a unit, and thresholds that begin without a value"
    values = [step[0] for step in panel.steps[1:]]
    if values != sorted(v for v in values if v is not None):
        yield f"thresholds {values} do not rise"
    if panel.kind == "timeseries":
        dressed = {o["matcher"]["options"] for o in panel.overrides}
        naked = [q.legend for q in panel.queries if len(panel.queries) > 1 and q.legend not in dressed]
        if naked:
            yield f"lines {naked} have no colour of their own"
        if len(panel.queries) > 6:
            yield f"{len(panel.queries)} lines are a legend wall: at most 6"
