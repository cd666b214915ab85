"""A real Prometheus that scrapes the sample exporter, for the tests of expressions and rules."""

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import start_http_server

from dashboards.build import HERE

from .exporter import Sample

WARM_S = 7.0
"""Seconds of scraping before the first question: rate(x[5s]) needs samples, deriv(x[10s]) a slope."""


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binary(name: str) -> str:
    """Path of a program of the Debian package prometheus, or a skip that names the package."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed: `apt-get install prometheus` (Debian package prometheus)")
    return found


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Prometheus with the generated rules, fed by a power-peg morning."""
    program = binary("prometheus")
    sample = Sample(incident_at=0.0)
    exporter_port, port = free_port(), free_port()
    server, thread = start_http_server(exporter_port, addr="127.0.0.1", registry=sample.registry)
    stop = threading.Event()

    def flow() -> None:
        while not stop.wait(0.25):
            sample.step(0.25)

    mover = threading.Thread(target=flow, daemon=True)
    mover.start()
    home = tmp_path_factory.mktemp("prometheus")
    config = home / "prometheus.yml"
    config.write_text(_config(exporter_port), encoding="utf-8")
    with (home / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.tsdb.path={home / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _ready(f"http://127.0.0.1:{port}", process, home / "log")
        time.sleep(WARM_S)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)
        stop.set()
        mover.join(timeout=5)
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _config(exporter_port: int) -> str:
    return (
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: ['{HERE / 'provisioning/prometheus/rules.yml'}']\n"
        f"scrape_configs: [{{job_name: knightwatch, static_configs: [{{targets: ['127.0.0.1:{exporter_port}']}}]}}]\n"
    )


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(150):
        if process.poll() is not None:
            pytest.fail(f"prometheus ended with {process.returncode}: {log.read_text(encoding='utf-8')}")
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"prometheus was not ready within 15 s: {log.read_text(encoding='utf-8')}")
