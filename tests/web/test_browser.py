"""The whole way in a real browser: a runaway, its halt on the page, reopened by two people, and a desk that dies."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from halts.config import KafkaConfig, parse
from knightwatch.follow import Follower, wait_until
from streams.admin import create_topics

from .conftest import PASSPHRASE, SHOTS
from .world import Firm

pytestmark = pytest.mark.browser

SHOWN_MS_MAX = 15_000
"""Two seconds are meant, and ``-s`` shows what it was; a busy machine must not fail a test."""
STAMP_ARRIVAL = """
window.arrived = {};
new MutationObserver(() => {
  const card = document.querySelector('.card[data-scope]');
  const state = card && [...card.classList].find((c) => c !== 'card');
  if (state && !(state in window.arrived)) window.arrived[state] = Date.now();
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ['class']});
"""
"""Notes in the page when it first showed each state (ms UTC)."""


class Desk:
    """One person at a browser. foreign: what the page asked of other machines."""

    def __init__(self, browser: Any, url: str, width: int, height: int) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.context.set_default_timeout(45_000)
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
        self.close()
        return text

    def close(self) -> None:
        """Leave the dialog."""
        self.page.keyboard.press("Escape")
        self.page.wait_for_selector(".q-dialog", state="detached")

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


def reached(feed: Follower, scope: str, state: str) -> bool:
    """Whether ``scope`` stands in ``state`` on ``halts`` within some seconds."""
    return wait_until(lambda: scope in feed.seen.scopes and feed.seen.scopes[scope].state == state, 60)


def test_a_runaway_is_seen_reopened_by_two_people_and_a_dead_desk_is_told(
    kafka: str, topic_prefix: str, browser: Any, operators: Any, new_page: Callable[..., str]
) -> None:
    folder, config, _ = operators
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    url = new_page("--bootstrap", kafka, "--prefix", topic_prefix, "--config", str(config), "--operators", str(folder))
    ann, bob = Desk(browser, url, 1440, 900), Desk(browser, url, 390, 844)
    ann.page.get_by_text("NO DESK: no heartbeat was ever heard").wait_for()
    servers = tuple(f"R{i}" for i in range(1, 9))
    with (
        Firm(kafka, topic_prefix, parse(config.read_text(), "test").desk, servers, servers) as firm,
        Follower(kafka, topic_prefix) as follower,
    ):
        ann.page.locator(".kw.stale").wait_for(state="detached")
        ann.page.get_by_text("8 routers, 8 with an open gate").wait_for()
        ann.shot("1-calm")
        a_runaway_is_seen(firm, follower, ann, bob)
        nothing_without_a_log_in(ann)
        two_people_reopen(follower, ann, bob)

        # the desk dies: the page says that it cannot be believed
        firm.beating.clear()
        ann.page.get_by_text("STALE: the desk is silent").wait_for()
        assert ann.page.locator(".kw.stale").count() == 1
        assert ann.page.title().startswith("STALE")
        ann.shot("5-stale")
        bob.shot("5-stale-phone")
    assert ann.foreign == bob.foreign == []


def a_runaway_is_seen(firm: Firm, follower: Follower, ann: Desk, bob: Desk) -> None:
    """Both see it; what is ordered and what is effective are apart."""
    firm.working["R3"] = 4
    firm.runaway("R3")
    ann.page.wait_for_selector(".card.halting")
    assert wait_until(lambda: "server:R3" in follower.seen.scopes, 60)
    (order,) = [r for r in follower.seen.halts if r.scope == "server:R3" and r.state == "HALTING"]
    shown_ms = ann.page.evaluate("window.arrived").get("halting") - order.ts_decided / 1e6
    print(f"on the page {shown_ms:.0f} ms after the decision")
    assert shown_ms <= SHOWN_MS_MAX
    card = ann.page.locator(".card")
    ann.page.get_by_text("Wait for HALTED: 4 orders are still working").wait_for()
    assert "0 of 1" in card.locator(".reach").inner_text()
    assert card.locator("[data-verb=resume]").count() == 0
    ann.shot("2-halting")
    firm.working["R3"] = 0
    ann.page.wait_for_selector(".card.halted")
    assert "0 of 1" not in card.locator(".reach").inner_text()
    assert card.locator(".why").inner_text().startswith("Router R3 sent 7 orders for parent P-000212")
    assert "USD 3,412" in card.locator(".money").inner_text()
    assert "R3-0000048213" in card.locator(".first").inner_text()
    assert ann.page.title().startswith("■ HALTED server:R3")
    ann.shot("2-halted")
    bob.page.wait_for_selector(".card.halted")
    assert bob.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the phone has to scroll sideways"
    bob.shot("2-halted-phone")


def nothing_without_a_log_in(ann: Desk) -> None:
    ann.page.keyboard.press("r")
    ann.page.get_by_text("who are you?").wait_for()
    ann.close()
    ann.log_in("ann", "wrong horse battery")
    ann.page.get_by_text("do not belong together").wait_for()
    ann.close()


def two_people_reopen(follower: Follower, ann: Desk, bob: Desk) -> None:
    """Ann asks; she may not approve herself; Bob approves, on a phone; it reopens by itself."""
    ann.log_in("ann")
    ann.page.get_by_text("ann: log out").wait_for()
    ann.page.wait_for_selector(".q-dialog", state="detached")
    assert ann.order("r", "old build replaced, digest checked").startswith("Waits for a second person")
    ann.page.get_by_role("button", name="Approve as second person").wait_for()
    ann.page.keyboard.press("a")
    ann.page.get_by_text("another person must approve it").wait_for()
    ann.close()
    assert follower.seen.scopes["server:R3"].state == "HALTED"
    ann.shot("3-asked")
    bob.log_in("bob")
    bob.page.get_by_text("bob: log out").wait_for()
    bob.page.wait_for_selector(".q-dialog", state="detached")
    assert bob.order("a", "looked at the host myself").startswith(("RESUMING", "ACTIVE"))
    assert reached(follower, "server:R3", "ACTIVE")
    assert [r.by for r in follower.seen.halts if r.state == "RESUMING"] == ["ann, bob"]
    ann.page.get_by_text("Nothing is halted").wait_for()
    bob.shot("4-reopened-phone")
