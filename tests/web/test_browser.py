"""The whole way in a real browser: a runaway, its halt on the page, reopened by two people, and a worker that dies."""

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from halts.config import KafkaConfig
from knightwatch.follow import Follower, wait_until
from knightwatch.process import Child
from producers import scenarios
from producers.gateway import LiveGates, LiveRun
from producers.publish import Publisher
from streams.admin import create_topics

from .conftest import PASSPHRASE, SHOTS

pytestmark = pytest.mark.browser

STAMP_ARRIVAL = """
window.arrived = {};
new MutationObserver(() => {
  const card = document.querySelector('.card[data-scope]');
  const state = card && [...card.classList].find((c) => c !== 'card');
  if (state && !(state in window.arrived)) window.arrived[state] = Date.now();
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ['class']});
"""
"""Notes in the page when it first showed each state (ms UTC)."""


@dataclass
class Firm:
    """A worker, eight routers with gates, a power peg to come."""

    worker: Child
    follower: Follower
    run: LiveRun

    def state(self, scope: str) -> str:
        """What stands on ``halts``."""
        return self.follower.seen.scopes[scope].state


@contextmanager
def firm(bootstrap: str, prefix: str, config: Path, folder: Path) -> Iterator[Firm]:
    command = [sys.executable, "-m", "knightwatch", "worker", "--bootstrap", bootstrap, "--prefix", prefix]
    with ExitStack() as stack:
        log = folder / "worker.log"
        worker = Child([*command, "--config", str(config), "--data", str(folder / "worker")], log)
        stack.callback(worker.stop, 8.0)
        servers = scenarios.build("power-peg").servers
        publisher = stack.enter_context(Publisher(bootstrap, prefix=prefix))
        gates = stack.enter_context(LiveGates(bootstrap, servers, prefix=prefix))
        follower = stack.enter_context(Follower(bootstrap, prefix))
        assert wait_until(lambda: all(g.is_open for g in gates.gates.values()), 90), log.read_text()[-3000:]
        run = LiveRun(scenarios.build("power-peg", 3, 8, 5, time.time_ns(), incident_s=10), publisher, gates)
        routers = threading.Thread(target=run.run, daemon=True)
        routers.start()
        try:
            yield Firm(worker, follower, run)
        finally:
            run.stop()
            routers.join(10)


class Desk:
    """One person at a browser. foreign: what the page asked of other machines."""

    def __init__(self, browser: Any, url: str, width: int, height: int) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.foreign: list[str] = []
        self.page.on("request", self._asked)
        self.page.add_init_script(STAMP_ARRIVAL)
        self.page.goto(url)
        self.page.wait_for_selector(".card")

    def _asked(self, request: Any) -> None:
        if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:", request.url):
            self.foreign.append(request.url)

    def log_in(self, name: str, passphrase: str = PASSPHRASE) -> None:
        """By keyboard alone."""
        self.page.keyboard.press("l")
        self.page.wait_for_selector(".kwdialog input:focus")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(passphrase)
        self.page.keyboard.press("Enter")

    def order(self, key: str, reason: str) -> str:
        """Press ``key`` for an action, give the reason; returns what the page says came of it."""
        self.page.keyboard.press(key)
        self.page.wait_for_selector(".kwdialog input:focus")
        self.page.keyboard.type(reason)
        self.page.keyboard.press("Enter")
        said = self.page.locator(".kwdialog .said:visible")
        said.filter(has_not_text="Waiting for the desk").wait_for()
        text = str(said.inner_text())
        self.page.keyboard.press("Escape")
        self.page.wait_for_selector(".kwdialog", state="hidden")
        return text

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


@pytest.mark.timeout(180)
def test_a_runaway_is_seen_reopened_by_two_people_and_a_dead_worker_is_told(
    kafka: str, topic_prefix: str, tmp_path: Path, browser: Any, operators: Any, new_page: Callable[..., str]
) -> None:
    folder, config, _ = operators
    common = ["--bootstrap", kafka, "--prefix", topic_prefix, "--config", str(config)]
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    url = new_page(*common, "--operators", str(folder))
    ann, bob = Desk(browser, url, 1440, 900), Desk(browser, url, 390, 844)
    ann.page.get_by_text("NO DESK: no heartbeat was ever heard").wait_for()
    with firm(kafka, topic_prefix, config, tmp_path) as live:
        ann.page.locator(".kw.stale").wait_for(state="detached")
        ann.page.get_by_text("8 routers, 8 with an open gate").wait_for()
        ann.shot("1-calm")

        # the runaway: both see it, within two seconds of the decision
        ann.page.wait_for_selector(".card.halted", timeout=90_000)
        culprit = str(ann.page.locator(".card").get_attribute("data-scope"))
        assert [culprit] == [scope for scope, _ in live.run.simulation.world.truth.scopes]
        decided = {r.state: r.ts_decided for r in live.follower.seen.halts if r.scope == culprit}
        arrived = ann.page.evaluate("window.arrived")
        shown_ms = min(arrived.get("halting", arrived["halted"]), arrived["halted"]) - decided["HALTING"] / 1e6
        print(f"on the page {shown_ms:.0f} ms after the decision")
        assert shown_ms <= 2_000
        card = ann.page.locator(".card")
        assert "1 of 1" in card.locator(".reach").inner_text()
        assert card.locator(".bar").count() >= 1
        assert card.locator(".why").inner_text().startswith(f"Router {culprit.partition(':')[2]} ")
        ann.shot("2-halted")
        bob.page.wait_for_selector(".card.halted")
        bob.shot("2-halted-phone")

        # nothing without a log-in, and not with a wrong passphrase
        ann.page.keyboard.press("r")
        ann.page.get_by_text("who are you?").wait_for()
        ann.page.keyboard.press("Escape")
        ann.page.wait_for_selector(".kwdialog", state="hidden")
        ann.log_in("ann", "wrong horse battery")
        ann.page.get_by_text("do not belong together").wait_for()
        ann.page.keyboard.press("Escape")
        ann.page.wait_for_selector(".kwdialog", state="hidden")

        # ann asks; she may not approve herself; bob approves; it reopens
        ann.log_in("ann")
        ann.page.get_by_text("ann: log out").wait_for()
        assert ann.order("r", "old build replaced, digest checked").startswith("Waits for a second person")
        ann.page.get_by_role("button", name="Approve as second person").wait_for()
        ann.page.keyboard.press("a")
        ann.page.get_by_text("another person must approve it").wait_for()
        ann.page.keyboard.press("Escape")
        assert live.state(culprit) == "HALTED"
        ann.shot("3-asked")
        live.run.stop()
        bob.log_in("bob")
        bob.page.get_by_text("bob: log out").wait_for()
        assert bob.order("a", "looked at the host myself").startswith(("RESUMING", "ACTIVE"))
        assert wait_until(lambda: live.state(culprit) == "ACTIVE", 20)
        ann.page.get_by_text("Nothing is halted").wait_for()
        assert live.follower.seen.scopes[culprit].by == "ann, bob"
        bob.shot("4-reopened-phone")

        # the worker dies: the page says that it cannot be believed
        live.worker.kill()
        ann.page.get_by_text("STALE: the desk is silent").wait_for(timeout=6_000)
        assert ann.page.locator(".kw.stale").count() == 1
        ann.shot("5-stale")
        bob.shot("5-stale-phone")
        assert ann.foreign == bob.foreign == []
