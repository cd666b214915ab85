"""Boards, alert rules and provisioning files, written from the code. Same code, same bytes: a test holds the
checked-in files against it."""

import json
from pathlib import Path
from typing import Final

from dashboards import alerts, boards
from dashboards.alerts import FOLDER, FOLDER_UID
from dashboards.board import DESK_URL
from dashboards.emit import yaml
from dashboards.panels import DATASOURCE_UID

HERE: Final = Path(__file__).resolve().parent
PROMETHEUS_URL: Final = "http://prometheus:9090"
"""Where the compose stack's Grafana finds Prometheus."""
BOARDS_PATH: Final = "/var/lib/grafana/dashboards"
"""Where Grafana's container sees dashboards/generated."""
DATASOURCE_NAME: Final = "Knightwatch"
_MADE: Final = "Made by `knightwatch dashboards build` from dashboards/*.py: do not edit, build again."


def datasource(url: str = PROMETHEUS_URL) -> dict[str, object]:
    """The Prometheus data source. timeInterval is the scrape interval: it makes $__rate_interval 4 s."""
    return {
        "name": DATASOURCE_NAME,
        "uid": DATASOURCE_UID,
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "isDefault": True,
        "jsonData": {"timeInterval": "1s", "httpMethod": "POST", "queryTimeout": "5s"},
    }


def files(desk_url: str = DESK_URL, prometheus_url: str = PROMETHEUS_URL) -> dict[str, str]:
    """Path below ``dashboards/`` -> content, of everything generated."""
    out = {
        f"generated/{board.key}.json": json.dumps(board.json(desk_url), indent=1, ensure_ascii=False) + "\n"
        for board in boards.ALL
    }
    provider = {
        "name": "knightwatch",
        "orgId": 1,
        "folder": FOLDER,
        "folderUid": FOLDER_UID,
        "type": "file",
        "allowUiUpdates": False,
        "updateIntervalSeconds": 10,
        "options": {"path": BOARDS_PATH},
    }
    source = datasource(prometheus_url) | {"orgId": 1, "editable": False}
    return out | {
        "provisioning/datasources/knightwatch.yaml": yaml({"apiVersion": 1, "datasources": [source]}, _MADE),
        "provisioning/dashboards/knightwatch.yaml": yaml({"apiVersion": 1, "providers": [provider]}, _MADE),
        "provisioning/alerting/rules.yaml": yaml(alerts.grafana_rules(), _MADE),
        "provisioning/alerting/policies.yaml": yaml(alerts.grafana_policies(), _MADE),
        "provisioning/prometheus/rules.yml": yaml(alerts.prometheus_rules(), _MADE),
        "provisioning/prometheus/alertmanager.yml": yaml(alerts.alertmanager_config(), _MADE),
    }


def write(root: Path = HERE, desk_url: str = DESK_URL, prometheus_url: str = PROMETHEUS_URL) -> list[str]:
    """Write everything below ``root``, remove generated boards that no longer exist; the paths that changed."""
    wanted = files(desk_url, prometheus_url)
    changed = []
    for name, text in wanted.items():
        path = root / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        changed.append(name)
    for old in sorted((root / "generated").glob("*.json")):
        if f"generated/{old.name}" not in wanted:
            old.unlink()
            changed.append(f"generated/{old.name}")
    return changed


def stale(root: Path = HERE) -> list[str]:
    """Generated files that are missing or differ from what the code says."""
    out = []
    for name, text in files().items():
        path = root / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            out.append(name)
    return out
