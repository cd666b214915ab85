"""Boards and rules are fresh, complete, and say only words that the table of metrics knows."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml as pyyaml

from dashboards import alerts, boards, build, check, promql
from dashboards.board import UIDS, Board, Section
from dashboards.emit import yaml
from dashboards.panels import Query, series
from schemas import metrics as m

from .conftest import binary


def test_generated_files_are_what_the_code_says() -> None:
    assert build.stale() == [], "run `knightwatch dashboards build`"


def test_build_is_deterministic_and_removes_what_is_gone(tmp_path: Path) -> None:
    changed = build.write(tmp_path)
    assert sorted(changed) == sorted(build.files())
    assert build.stale(tmp_path) == []
    (tmp_path / "generated" / "old.json").write_text("{}")
    (tmp_path / "generated" / "fleet.json").write_text("{}")
    assert build.write(tmp_path) == ["generated/fleet.json", "generated/old.json"]
    assert build.write(tmp_path) == []


def test_nothing_is_wrong_with_boards_and_expressions() -> None:
    report = check.static()
    assert report.findings == ()
    assert report.panels > 60
    assert report.expressions > 120


def test_five_boards_fleet_first_with_links_between_them() -> None:
    assert [b.key for b in boards.ALL] == ["fleet", "server", "halts", "detectors", "pipeline"]
    for board in boards.ALL:
        made = board.json()
        assert made["uid"] == UIDS[board.key]
        assert {a["name"] for a in made["annotations"]["list"]} >= {"Halts", "Resumes", "Deploys"}
        assert all("knightwatch" in a["target"]["tags"] for a in made["annotations"]["list"] if "target" in a)
    fleet = json.dumps(boards.ALL[0].json())
    assert "/d/kw-server/" in fleet
    assert "${desk}/evidence/" in fleet


def test_small_multiples_share_one_scale() -> None:
    repeated = [p for p in boards.ALL[0].panels() if p.repeat == "server"]
    assert len(repeated) == 3
    for panel in repeated:
        mine, peers, scale = panel.queries
        assert "$server" in mine.expr
        assert "$server" not in peers.expr + scale.expr
        assert peers.expr.startswith("quantile(0.5")
        assert scale.expr.startswith("max(")


@pytest.mark.parametrize(
    ("expr", "complaint"),
    [
        ("sum(rate(knightwatch_order_total[5s]))", "knightwatch_order_total is not in"),
        ('knightwatch_orders_total{srv="R1"}', "no label srv"),
        (
            "sum by (scope) (rate(knightwatch_orders_total[5s]))",
            "knightwatch_orders_total has no such label",
        ),
        ("sum by (le) (rate(knightwatch_orders_total[5s]))", "no such label"),
        ("sum by (venue) (knightwatch_loss_usd)", "no metric has the label venue"),
        ("knightwatch_latency_seconds", "read as _bucket"),
        ("rate(knightwatch_orders_total)", "needs a range"),
        ("sum(knightwatch_loss_usd", "parentheses"),
        ("up == 0", "names no metric"),
    ],
)
def test_a_wrong_expression_is_named(expr: str, complaint: str) -> None:
    assert complaint in "; ".join(promql.problems(expr))


def test_right_expressions_pass() -> None:
    for metric in m.ALL:
        name = metric.name + ("_bucket" if metric.kind == "histogram" else "")
        by = ", ".join((*metric.labels, "le") if metric.kind == "histogram" else metric.labels)
        assert list(promql.problems(f"sum by ({by}) ({name})")) == []


def test_check_finds_faulty_panels() -> None:
    good = boards.ALL[0]
    wide = series("wide", "text", (Query("x", "a"), Query("y", "b")), w=12)
    bad = dataclasses.replace(
        good, sections=(Section("", ((wide, dataclasses.replace(wide, title="", text="", queries=())),)),), variables=()
    )
    found = "; ".join(f.problem for f in check._board(bad))
    assert "lines ['a', 'b'] have no colour" in found
    assert "has no description" in found
    assert "has no query" in found
    uses = dataclasses.replace(wide, queries=(Query('knightwatch_loss_usd{server="$serber"}', "a"),))
    assert "$serber" in "; ".join(f.problem for f in check._board(Board("fleet", "t", "t", (Section("", ((uses,),)),))))


def test_a_row_wider_than_the_grid_is_refused() -> None:
    wide = series("wide", "text", (Query("x"),), w=13)
    with pytest.raises(ValueError, match="26 columns wide"):
        Board("fleet", "t", "t", (Section("", ((wide, wide),)),)).json()


# --- alerts -----------------------------------------------------------------------------------------------------------


def test_alerts_have_owner_runbook_and_a_plain_sentence() -> None:
    assert len({a.uid for a in alerts.ALL}) == len(alerts.ALL)
    for alert in alerts.ALL:
        rule = alerts.grafana_rule(alert)
        assert rule["labels"]["owner"]
        assert alert.for_s < 60, "Grafana writes 60s as 1m, and every push would find a difference"
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{alert.anchor}"
        assert rule["annotations"]["summary"].rstrip(".") != ""
        assert "$value " not in rule["annotations"]["summary"]
        assert len(rule["uid"]) <= 40
        assert "$__" not in alert.query, "alert rules know no panel width"


def test_one_incident_is_one_page() -> None:
    routes = alerts.alertmanager_config()
    assert routes["route"]["group_by"] == ["incident"]
    assert routes["inhibit_rules"][0]["equal"] == ["incident"]
    for incident in alerts.OWNERS:
        assert any(a.incident == incident and a.severity == "page" for a in alerts.ALL)


def test_promtool_accepts_the_rules() -> None:
    rules = build.HERE / "provisioning/prometheus/rules.yml"
    done = subprocess.run(
        [binary("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(alerts.ALL)} rules found" in done.stdout


def test_provisioning_files_are_yaml_that_says_the_same() -> None:
    for name, value in (
        ("alerting/rules.yaml", alerts.grafana_rules()),
        ("alerting/policies.yaml", alerts.grafana_policies()),
        ("prometheus/rules.yml", alerts.prometheus_rules()),
        ("prometheus/alertmanager.yml", alerts.alertmanager_config()),
    ):
        text = (build.HERE / "provisioning" / name).read_text(encoding="utf-8")
        assert pyyaml.safe_load(text) == value, name


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [1, "x: y", None, True], "c": {}, "d": []},
        {"deep": [{"x": [{"y": 1}, {"z": "é # no comment"}]}, {"q": [[1, 2], [3]]}]},
        {"quote": 'say "no"\nnewline', "yes": "yes", "num": "1e3"},
    ],
)
def test_yaml_reads_back(value: dict[str, object]) -> None:
    assert pyyaml.safe_load(yaml(value, "heading\nof two lines")) == value


def test_every_runbook_link_leads_to_a_chapter() -> None:
    book = build.HERE.parent / "docs" / "runbook.md"
    if not book.exists():
        pytest.skip("docs/runbook.md is not written yet")
    headings = [line.lstrip("#").strip() for line in book.read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
    chapters = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    panels = set(re.findall(r"runbook#([a-z-]+)", json.dumps([b.json() for b in boards.ALL])))
    assert {a.anchor for a in alerts.ALL} | panels <= chapters
