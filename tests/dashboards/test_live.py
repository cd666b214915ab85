"""Every expression of every board and alert, asked of a real Prometheus during a (sample) power-peg morning."""

import json
import time
import urllib.request

import pytest

from dashboards import alerts, check
from dashboards.check import Prometheus

from .exporter import ROGUE


def test_every_expression_returns_data(prometheus: str) -> None:
    report = check.live(Prometheus(prometheus))
    assert report.findings == ()
    assert report.series > report.expressions


def test_the_offending_server_stands_out(prometheus: str) -> None:
    """The first row of Fleet's table, sorted by the worst score, is the rogue; nobody else is beyond the bound."""
    table = next(p for p in check.boards.ALL[0].panels() if p.title == "Who differs")
    rows = Prometheus(prometheus).query(table.queries[0].expr)
    scores = {row["metric"]["server"]: float(row["value"][1]) for row in rows}
    assert max(scores, key=scores.__getitem__) == ROGUE
    assert [server for server, score in scores.items() if score >= 1] == [ROGUE]


def test_the_state_timeline_says_halted(prometheus: str) -> None:
    panel = next(p for p in check.boards.ALL[0].panels() if p.title == "State of each scope")
    rows = Prometheus(prometheus).query(panel.queries[0].expr)
    assert {row["metric"]["scope"]: row["value"][1] for row in rows}[f"server:{ROGUE}"] == "3"


def test_alerts_fire_for_the_rogue_alone_and_are_one_incident(prometheus: str) -> None:
    firing: list[dict[str, dict[str, str]]] = []
    for _ in range(20):
        with urllib.request.urlopen(f"{prometheus}/api/v1/alerts", timeout=5) as answer:
            firing = [a for a in json.load(answer)["data"]["alerts"] if a["state"] == "firing"]
        if any(a["labels"]["alertname"] == "KnightwatchScopeHalted" for a in firing):
            break
        time.sleep(0.5)
    halted = [a for a in firing if a["labels"]["alertname"] == "KnightwatchScopeHalted"]
    assert [a["labels"]["scope"] for a in halted] == [f"server:{ROGUE}"]
    assert halted[0]["annotations"]["summary"].startswith(f"server:{ROGUE} is halted")
    assert {a["labels"]["incident"] for a in firing if a["labels"]["severity"] == "page"} <= set(alerts.OWNERS)
    names = {a["labels"]["alertname"] for a in firing}
    assert "KnightwatchFlowAfterHalt" not in names, "orders from before the halt are not orders after it"


def test_an_expression_without_data_and_one_in_error_are_findings(prometheus: str) -> None:
    asked = Prometheus(prometheus)
    assert asked.query('knightwatch_loss_usd{server="nobody"}') == []
    with pytest.raises(check.PrometheusError, match="parse error"):
        asked.query("sum(")


def test_no_prometheus_is_said_plainly() -> None:
    with pytest.raises(check.PrometheusError, match=r"no Prometheus answers at http://127.0.0.1:9 .*--prometheus"):
        check.live(Prometheus("http://127.0.0.1:9", timeout_s=1))
