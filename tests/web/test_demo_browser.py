"""The demo as a person runs it, in a real browser: Faust worker, gates, runaway, halt, two people, a dead worker."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from halts.config import parse
from knightwatch.demo import Demo, Plan
from knightwatch.follow import wait_until

from .test_browser import SHOWN_MS_MAX, Desk

pytestmark = pytest.mark.browser


@pytest.mark.timeout(240)
def test_a_demo_on_the_page(browser: Any, operators: Any, new_page: Callable[..., str]) -> None:
    folder, config, _ = operators
    plan = Plan(seed=3, config=config, afterwards_s=120.0)
    demo = Demo(plan, parse(config.read_text(), "test"), lambda _: None, lambda *_: None)
    running = threading.Thread(target=demo.run, daemon=True)
    running.start()
    try:
        assert wait_until(lambda: demo.seen is not None, 120)
        url = new_page("--bootstrap", demo.bootstrap, "--config", str(config), "--operators", str(folder))
        ann, bob = Desk(browser, url, 1440, 900), Desk(browser, url, 390, 844)
        scope = _the_runaway_is_seen(demo, ann, bob)
        _two_people_reopen(demo, scope, ann, bob)
        demo.workers[0].kill()
        ann.page.get_by_text("STALE: the desk is silent").wait_for()
        ann.shot("demo-3-stale")
    finally:
        demo.stop()
        running.join(30)
    assert ann.foreign == bob.foreign == []


def _the_runaway_is_seen(demo: Demo, ann: Desk, bob: Desk) -> str:
    """On the page, with who and why."""
    ann.page.wait_for_selector(".card.halting, .card.halted")
    assert demo.seen is not None
    order = next(r for r in demo.seen.halts if r.state == "HALTING")
    shown_ms = min(
        ann.page.evaluate("Object.entries(window.arrived).filter(([s]) => s.startsWith('halt')).map(e => e[1])")
    )
    shown_ms -= order.ts_decided / 1e6
    print(f"on the page {shown_ms:.0f} ms after the decision")
    assert shown_ms <= SHOWN_MS_MAX
    ann.page.wait_for_selector(".card.halted")
    assert ann.page.locator(".card .why").inner_text().startswith(f"Router {order.scope.removeprefix('server:')} ")
    ann.shot("demo-1-halted")
    bob.page.wait_for_selector(".card.halted")
    return order.scope


def _two_people_reopen(demo: Demo, scope: str, ann: Desk, bob: Desk) -> None:
    assert demo.seen is not None
    seen = demo.seen
    for desk, name in ((ann, "ann"), (bob, "bob")):
        desk.log_in(name)
        desk.page.get_by_text(f"{name}: log out").wait_for()
        desk.page.wait_for_selector(".q-dialog", state="detached")
    assert ann.order("r", "old build replaced, digest checked").startswith("Waits for a second person")
    bob.page.get_by_role("button", name="Approve as second person").wait_for()
    bob.order("a", "looked at the host myself")
    assert wait_until(lambda: any(r.scope == scope and r.state == "RESUMING" for r in seen.halts), 60)
    assert next(r.by for r in seen.halts if r.state == "RESUMING") == "ann, bob"
    ann.shot("demo-2-reopened")
