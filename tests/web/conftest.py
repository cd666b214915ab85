"""A desk page of its own process, and Chromium to look at it."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knightwatch.process import Child
from knightwatch.web.operators import write_key

PASSPHRASE = "correct horse battery"
SHOTS = Path(__file__).parents[2] / "build" / "desk"
"""Where screenshots are kept; git ignores it."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium, or a skip that names the package."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("Chromium is not installed: `apt-get install chromium` (Debian package chromium)")


@pytest.fixture
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium that reaches nothing but this machine."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install '.[browser]'")
    with api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        running = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield running
        running.close()


@pytest.fixture
def operators(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """Folder with the keys of ann and bob, a configuration that knows them, and their public keys."""
    folder = tmp_path / "operators"
    public = {name: write_key(folder, name, PASSPHRASE) for name in ("ann", "bob")}
    lines = ["[desk]", "cool_off_ms = 500", "resume_stage_ms = 1000", "resume_orders_per_s = 0.0"]
    lines += ["ack_timeout_ms = 1500"]  # a busy machine must not let the halt widen
    for name, key in public.items():
        lines += [f"[desk.operators.{name}]", f'public_key = "{key}"', 'roles = ["halt", "resume", "approve"]']
    config = tmp_path / "config.toml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder, config, public


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def new_page(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts ``knightwatch desk`` with arguments, waits until it reads the topics, and gives its address."""
    started: list[Child] = []

    def start(*arguments: str) -> str:
        port = free_port()
        log = tmp_path / f"desk{port}.log"
        command = [sys.executable, "-m", "knightwatch", "desk", "--port", str(port), *arguments]
        # NiceGUI behaves otherwise when it believes that it runs inside a test
        child = Child([shutil.which("env") or "env", "-u", "PYTEST_CURRENT_TEST", *command], log)
        started.append(child)
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while time.monotonic() < end:
            assert child.exit_code is None, log.read_text()
            try:
                with urllib.request.urlopen(f"{url}/healthz", timeout=10):
                    return url
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"the page did not come up: {log.read_text()}")

    yield start
    for child in started:
        child.stop(5.0)


def chromium_version(path: str) -> str:
    """For the log of the test."""
    return subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout.strip()
