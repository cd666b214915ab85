"""Many look on at once, over the socket that the browser uses: all see the halt, and one Kafka reader serves them."""

import asyncio
import http.cookiejar
import json
import re
import urllib.request
from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from halts.config import DeskConfig
from knightwatch.follow import wait_until

from .world import Firm

socketio = pytest.importorskip("socketio")

VIEWERS = 20
SCOPES = 100


def open_page(url: str) -> tuple[str, str]:
    """What a browser gets with the page: the client's id, and its cookies."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with opener.open(url, timeout=30) as answer:
        page = answer.read().decode()
    found = re.search(r"'client_id': '([0-9a-f-]{36})'", page)
    assert found, "NiceGUI's page says otherwise than before who its client is"
    return found[1], "; ".join(f"{c.name}={c.value}" for c in jar)


async def watch(url: str, i: int, seen: dict[int, list[str]]) -> None:
    """One viewer: notes what the page is told, until cancelled."""
    client_id, cookies = await asyncio.to_thread(open_page, url)
    client = socketio.AsyncClient(reconnection=False, request_timeout=30)
    seen[i] = []
    client.on("*", lambda event, data=None: seen[i].append(json.dumps(data)))
    query = {"client_id": client_id, "next_message_id": 0, "implicit_handshake": "true", "tab_id": i, "document_id": i}
    await client.connect(
        f"{url}?{urlencode(query)}", socketio_path="/_nicegui_ws/socket.io", transports=["websocket"],
        headers={"Cookie": cookies}, wait_timeout=30,
    )  # fmt: skip
    try:
        await asyncio.sleep(280)
    finally:
        await client.disconnect()


async def all_see(url: str, firm: Firm) -> dict[int, list[str]]:
    seen: dict[int, list[str]] = {}
    viewers = [asyncio.create_task(watch(url, i, seen)) for i in range(VIEWERS)]
    try:
        assert await asyncio.to_thread(wait_until, lambda: len(seen) == VIEWERS and all(seen.values()), 120)
        firm.runaway("R3")
        await asyncio.to_thread(wait_until, lambda: all(any("HALT" in d for d in told) for told in seen.values()), 60)
        return {i: list(told) for i, told in seen.items()}
    finally:
        for viewer in viewers:
            viewer.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)


def test_twenty_viewers_of_a_hundred_scopes_all_see_the_halt(
    kafka: str, topic_prefix: str, new_page: Callable[..., str]
) -> None:
    servers = tuple(f"R{i}" for i in range(1, SCOPES + 1))
    with Firm(kafka, topic_prefix, DeskConfig(), servers, ("R3",)) as firm:
        url = new_page("--bootstrap", kafka, "--prefix", topic_prefix)
        seen = asyncio.run(all_see(url, firm))
    for i, told in seen.items():
        assert any("HALT" in data and "Router R3" in data for data in told), f"viewer {i} was not told"
    quiet = [data for data in seen[0] if "HALT" not in data]
    assert min(len(data) for data in quiet) < 2_000, "a pulse in which nothing is new carries no blocks"
