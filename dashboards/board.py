"""A board: sections of rows of panels, laid out on Grafana's grid of 24 columns, rendered to dashboard JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dashboards.panels import DATASOURCE, DATASOURCE_UID, ORANGE, PURPLE, SKY, VERMILLION, Panel, link
from schemas import metrics

SCHEMA_VERSION: Final = 39
"""Grafana 11 writes 39, 12 writes 41; 13 still loads both and migrates on read."""
TAG: Final = "knightwatch"
COLUMNS: Final = 24
DESK_URL: Final = "http://localhost:8470"
"""Where ``knightwatch desk`` listens unless told otherwise: it serves evidence packs and the runbook."""

UIDS: Final = {
    "fleet": "kw-fleet",
    "server": "kw-server",
    "halts": "kw-halts",
    "detectors": "kw-detectors",
    "pipeline": "kw-pipeline",
}

EVIDENCE: Final = link("Evidence pack", "${desk}/evidence/${__field.labels.scope}", new_tab=True)


def runbook(anchor: str) -> dict[str, Any]:
    """Link to a chapter of docs/runbook.md, as the desk serves it."""
    return link("What to do", f"${{desk}}/runbook#{anchor}", new_tab=True)


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of panels under a heading (none: no heading)."""

    heading: str
    rows: tuple[tuple[Panel, ...], ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that lists the values of one label."""

    name: str
    label: str
    metric: metrics.Metric
    of: str
    multi: bool = True

    def json(self) -> dict[str, Any]:
        """The templating entry."""
        query = f"label_values({self.metric.name}, {self.of})"
        everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
        return {
            "current": everything if self.multi else {},
            "datasource": DATASOURCE,
            "definition": query,
            "hide": 0,
            "includeAll": self.multi,
            "label": self.label,
            "multi": self.multi,
            "name": self.name,
            "options": [],
            "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "refresh": 2,
            "regex": "",
            "skipUrlSync": False,
            "sort": 7,
            "type": "query",
        }


SERVER: Final = Variable("server", "Server", metrics.EVENTS, "server")
ONE_SERVER: Final = Variable("server", "Server", metrics.EVENTS, "server", multi=False)
DETECTOR: Final = Variable("detector", "Detector", metrics.SCORE_RATIO, "detector")


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. ``key`` is its name in UIDS and its file name."""

    key: str
    title: str
    text: str
    sections: tuple[Section, ...]
    variables: tuple[Variable, ...] = ()
    span: str = "now-5m"

    def panels(self) -> Iterator[Panel]:
        """Every panel, in reading order."""
        for section in self.sections:
            for row in section.rows:
                yield from row

    def json(self, desk_url: str = DESK_URL) -> dict[str, Any]:
        """The dashboard as Grafana imports it, without the numeric id that only a server gives."""
        return {
            "annotations": {"list": _annotations()},
            "description": self.text,
            "editable": True,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": _board_links(),
            "liveNow": False,
            "panels": _layout(self.sections),
            "refresh": "1s",
            "schemaVersion": SCHEMA_VERSION,
            "tags": [TAG],
            "templating": {"list": [_datasource(), *(v.json() for v in self.variables), _desk(desk_url)]},
            "time": {"from": self.span, "to": "now"},
            "timepicker": {"refresh_intervals": ["1s", "5s", "10s", "30s", "1m"]},
            "timezone": "browser",
            "title": self.title,
            "uid": UIDS[self.key],
            "version": 1,
            "weekStart": "",
        }


def _layout(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Panels with ids and places: rows fill from the left, a row is as high as its highest panel."""
    out: list[dict[str, Any]] = []
    y = 0
    for section in sections:
        if section.heading:
            out.append(_heading(section.heading, len(out) + 1, y))
            y += 1
        for row in section.rows:
            x = 0
            for panel in row:
                out.append(panel.json(len(out) + 1, x, y))
                x += panel.w
            if x > COLUMNS:
                raise ValueError(
                    f"row {[p.title for p in row]} is {x} columns wide, Grafana has {COLUMNS}: make it narrower"
                )
            y += max(panel.h for panel in row)
    return out


def _heading(title: str, panel_id: int, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
    return {"collapsed": False, "gridPos": place, "id": panel_id, "panels": [], "title": title, "type": "row"}


def _datasource() -> dict[str, Any]:
    """Lets one board read any Prometheus: an existing Grafana, Grafana Cloud."""
    return {
        "current": {"selected": False, "text": "Knightwatch", "value": DATASOURCE_UID},
        "hide": 0,
        "includeAll": False,
        "label": "Prometheus",
        "multi": False,
        "name": "ds",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }


def _desk(url: str) -> dict[str, Any]:
    return {"hide": 2, "label": "Halt desk", "name": "desk", "query": url, "skipUrlSync": True, "type": "constant"}


def _annotations() -> list[dict[str, Any]]:
    kinds = (("Halts", "halt", VERMILLION), ("Resumes", "resume", PURPLE), ("Deploys", "deploy", SKY))
    alerts = {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": False,
        "hide": False,
        "iconColor": ORANGE,
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }
    return [alerts, *(_tagged(*kind) for kind in kinds)]


def _tagged(name: str, tag: str, colour: str) -> dict[str, Any]:
    return {
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "name": name,
        "target": {"limit": 100, "matchAny": False, "tags": [TAG, tag], "type": "tags"},
    }


def _board_links() -> list[dict[str, Any]]:
    boards = {"asDropdown": False, "icon": "dashboard", "tags": [TAG], "title": "", "type": "dashboards", "url": ""}
    desk = {"asDropdown": False, "icon": "bolt", "tags": [], "title": "Halt desk", "type": "link", "url": "${desk}"}
    book = {
        "asDropdown": False,
        "icon": "doc",
        "tags": [],
        "title": "Runbook",
        "type": "link",
        "url": "${desk}/runbook",
    }
    common = {"includeVars": False, "keepTime": True, "targetBlank": False, "tooltip": ""}
    return [boards | common, *(entry | common | {"keepTime": False, "targetBlank": True} for entry in (desk, book))]
