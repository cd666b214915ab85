"""The page's server as a program, on a real broker: documents, health, who may look, how orders go out."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from halts.config import KafkaConfig, parse
from knightwatch.commands.web import connector
from knightwatch.config import load
from knightwatch.follow import wait_until
from knightwatch.web.actions import Order, carry_out
from knightwatch.web.feed import Feed
from knightwatch.web.operators import Operators
from knightwatch.web.story import Picture
from streams.admin import create_topics

from .conftest import PASSPHRASE
from .world import Firm


def get(url: str) -> tuple[int, str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


@pytest.fixture
def firm(kafka: str, topic_prefix: str, operators: Any) -> Iterator[Firm]:
    config = parse(operators[1].read_text(), "test").desk
    with Firm(kafka, topic_prefix, config, ("R1", "R2", "R3"), ("R1", "R2", "R3")) as firm:
        yield firm


@pytest.fixture
def feed(firm: Firm) -> Iterator[Feed]:
    with Feed(firm.bootstrap, firm.prefix) as feed:
        assert wait_until(lambda: feed.picture().alive, 60)
        yield feed


def state(feed: Feed, scope: str) -> str:
    return feed.picture().scopes[scope].state


def test_orders_go_out_signed_and_two_people_reopen(firm: Firm, feed: Feed, operators: Any) -> None:
    folder, path, public = operators
    keys = Operators(folder, public)
    ann, bob = keys.log_in("ann", PASSPHRASE), keys.log_in("bob", PASSPHRASE)
    connect = connector(load(path, bootstrap=firm.bootstrap, prefix=firm.prefix))
    assert wait_until(lambda: len(feed.picture().scopes) == 3, 60)

    assert carry_out(Order("halt", "server:R2", "  "), ann, connect).title == "Not sent"
    done = carry_out(Order("halt", "server:R2", "odd, unexplained"), ann, connect)
    assert done.done, done
    assert wait_until(lambda: state(feed, "server:R2") == "HALTED", 60)
    scope = feed.picture().scopes["server:R2"]
    assert [g.status for g in scope.gates] == ["confirmed"]
    assert scope.record is not None
    record = scope.record

    stale = carry_out(Order("resume", "server:R2", "fixed", record.halt_id, record.epoch - 1), ann, connect)
    assert stale.title == "It changed while you wrote"
    assert (
        carry_out(Order("approve", "server:R2", "x", record.halt_id, record.epoch), bob, connect).title == "No request"
    )
    wait_until(lambda: False, 0.6)  # the cool-off
    order = Order("resume", "server:R2", "fixed", record.halt_id, record.epoch)
    assert carry_out(order, ann, connect).title == "Waits for a second person"
    assert wait_until(lambda: feed.picture().scopes["server:R2"].request is not None, 60)
    request = feed.picture().scopes["server:R2"].request
    assert request is not None
    asked = request.command_id
    own = carry_out(Order("approve", "server:R2", "me", record.halt_id, record.epoch, asked), ann, connect)
    assert (own.title, own.done) == ("Refused by the desk", False)
    assert state(feed, "server:R2") == "HALTED"
    agreed = carry_out(Order("approve", "server:R2", "seen", record.halt_id, record.epoch, asked), bob, connect)
    assert agreed.done, agreed
    assert wait_until(lambda: state(feed, "server:R2") == "ACTIVE", 60)
    assert carry_out(order, ann, connect).title == "Nothing to do"
    told = " | ".join(e.text for e in feed.picture().entries)
    assert "REFUSED: approve by ann" in told
    assert "bob approves the request: seen" in told


def test_without_a_desk_a_halt_can_be_written_directly(firm: Firm, feed: Feed, operators: Any) -> None:
    folder, path, public = operators
    ann = Operators(folder, public).log_in("ann", PASSPHRASE)
    connect = connector(load(path, bootstrap=firm.bootstrap, prefix=firm.prefix))
    firm.beating.clear()
    assert wait_until(lambda: not feed.picture().alive, 60)
    done = carry_out(Order("halt", "firm", "desk is silent", direct=True), ann, connect)
    assert done.done, done
    assert wait_until(lambda: feed.picture().scopes["firm"].state == "HALTING", 60)
    assert feed.picture().worst == "firm"


def test_documents_health_and_headers(firm: Firm, new_page: Callable[..., str]) -> None:
    url = new_page("--bootstrap", firm.bootstrap, "--prefix", firm.prefix)
    firm.runaway("R3")
    assert wait_until(lambda: json.loads(get(f"{url}/healthz")[1])["halted"] == 1, 60)
    health = json.loads(get(f"{url}/healthz")[1])
    assert health["ok"]
    assert wait_until(lambda: json.loads(get(f"{url}/healthz")[1])["desk_alive"], 60)

    code, page, headers = get(f"{url}/evidence/server:R3")
    assert code == 200
    assert "Router R3 sent 7 orders for parent P-000212" in page
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    document = json.loads(get(f"{url}/evidence/server:R3.json")[1])
    assert document["halt"]["cause"][0]["first_event"]["cl_ord_id"] == "R3-0000048213"
    assert get(f"{url}/evidence/server:NOBODY")[0] == 404
    assert 'id="gate-unconfirmed"' in get(f"{url}/runbook")[1]
    assert get(url)[0] == 200


def test_who_may_look_can_be_limited_to_operators(
    kafka: str, topic_prefix: str, operators: Any, new_page: Callable[..., str]
) -> None:
    create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
    url = new_page(
        "--bootstrap", kafka, "--prefix", topic_prefix, "--operators", str(operators[0]), "--view", "operators"
    )
    for path in ("/evidence/firm", "/evidence/firm.json", "/runbook"):
        assert get(url + path)[0] == 401
    code, page, _ = get(url)
    assert code == 200
    assert "data-block" not in page
    assert topic_prefix not in page, "not even where it reads from"
    assert get(f"{url}/healthz")[0] == 200


def test_no_topics_is_told_and_the_page_stays_up(kafka: str, topic_prefix: str) -> None:
    with Feed(kafka, topic_prefix) as feed:
        assert wait_until(lambda: "does not exist" in feed.problem, 60)
        seen: Picture = feed.picture()
        assert not seen.connected
        create_topics(KafkaConfig(bootstrap=kafka, prefix=topic_prefix))
        assert wait_until(lambda: feed.picture().connected, 60)
        assert feed.problem == ""
