"""docker-compose.yml against the compose specification and the repository: no Docker engine ran here.

The specification's JSON schema is the copy that the package check-jsonschema carries.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from typer.testing import CliRunner

from knightwatch.cli import COMMANDS, app

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
TOP = {"name", "services", "volumes", "networks", "configs", "secrets"}
SERVICE = {
    "build", "command", "depends_on", "entrypoint", "environment", "expose", "healthcheck", "image", "ports", "restart",
    "volumes",
}  # fmt: skip
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
OURS = sorted(name for name, service in SERVICES.items() if service.get("build"))


def test_the_official_schema_accepts_it() -> None:
    path = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [e.message for e in validator.iter_errors(COMPOSE)] == []
    broken = {"services": {"a": {"image": "b", "depends_on": {"c": {"condition": "some day"}}, "prots": ["1:1"]}}}
    assert len(list(validator.iter_errors(broken))) == 2, "the schema is one that refuses"


def test_kafka_keeps_its_data_on_the_volume() -> None:
    """The image's own default is a folder in the container."""
    mounts = [v.split(":")[1] for v in SERVICES["kafka"]["volumes"]]
    assert SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"] in mounts


def test_only_keys_of_the_specification() -> None:
    assert {k for k in COMPOSE if not k.startswith("x-")} <= TOP
    for name, service in SERVICES.items():
        assert set(service) <= SERVICE, name
        assert "image" in service or "build" in service, name
        assert service.get("restart", "no") in ("no", "always", "on-failure", "unless-stopped"), name


def test_dependencies_exist_and_can_be_met() -> None:
    for name, service in SERVICES.items():
        wanted = service.get("depends_on", {})
        for other, how in wanted.items() if isinstance(wanted, dict) else [(o, {}) for o in wanted]:
            assert other in SERVICES, f"{name} depends on {other}, which is no service"
            condition = how.get("condition", "service_started")
            assert condition in CONDITIONS
            if condition == "service_healthy":
                check = SERVICES[other].get("healthcheck", {"test": "of the image"})
                assert not check.get("disable"), f"{name} waits for {other}, whose health check is disabled"


def test_every_bind_mount_is_in_the_repository_and_every_volume_declared() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source} is not in the repository"
            else:
                assert source in COMPOSE["volumes"], f"{name}: volume {source} is not declared"


def test_host_ports_are_distinct_and_environment_is_text() -> None:
    ports = [p.split(":")[0] for s in SERVICES.values() for p in s.get("ports", [])]
    assert len(ports) == len(set(ports))
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            assert isinstance(value, str), f"{name}: {key} must be quoted, YAML reads {value!r}"
            assert not any(word in key.lower() for word in ("password", "secret", "token")), f"{name}: {key}"


@pytest.mark.parametrize("name", OURS)
def test_our_services_call_commands_and_options_that_exist(name: str) -> None:
    words = SERVICES[name]["command"]
    assert words[0] in {c for commands in COMMANDS.values() for c in commands}
    made: typer.Typer = app([words[0]])
    text = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(made, [words[0], "--help"]).output
    for option in (w for w in words if w.startswith("--")):
        assert option in text, f"{name}: `knightwatch {words[0]}` has no option {option}"


def test_prometheus_scrapes_each_worker_and_the_routers_every_second() -> None:
    config = yaml.safe_load((ROOT / "config/prometheus.yml").read_text(encoding="utf-8"))
    targets = {t for job in config["scrape_configs"] for s in job["static_configs"] for t in s["targets"]}
    exposed = {f"{name}:{port}" for name, service in SERVICES.items() for port in service.get("expose", [])}
    assert targets == exposed
    for name, service in SERVICES.items():
        words = service.get("command", [])
        if "--metrics-port" in words:
            assert f"{name}:{words[words.index('--metrics-port') + 1]}" in targets
    assert config["global"]["scrape_interval"] == "1s"
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_MIN_REFRESH_INTERVAL"] == "1s"
