"""The desk's web server: one reader, one picture, any number of viewers (FastAPI, NiceGUI, uvicorn)."""

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from msgspec import Struct

from knightwatch.web import documents
from knightwatch.web.actions import Connect
from knightwatch.web.feed import Feed
from knightwatch.web.frames import Shared
from knightwatch.web.operators import Operators, Sessions, new_secret

log = logging.getLogger(__name__)

LOOK_S: Final = 0.1
"""How often it is looked whether anything changed."""
PULSE_S: Final = 0.5
"""How often every viewer hears from the server, changes or not."""
SECRET_VARIABLE: Final = "KNIGHTWATCH_DESK_SECRET"
HISTORY: Final = 50
"""Frames sent again to a browser that comes back; one that missed more loads the page anew."""
HERE: Final = Path(__file__).parent
RUNBOOK: Final = HERE.parent.parent / "docs" / "runbook.md"
CONTENT_POLICY: Final = (
    "default-src 'self' data:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
"""The browser loads nothing from elsewhere. Vue compiles its templates, hence unsafe-eval."""


class Settings(Struct, frozen=True):
    """How the page is served. view_open: everybody who reaches the page may look; acting always needs a log-in.
    certificate, private_key: PEM files for TLS."""

    host: str = "127.0.0.1"
    port: int = 8470
    view_open: bool = True
    session_minutes: float = 60.0
    runbook: Path = RUNBOOK
    certificate: Path | None = None
    private_key: Path | None = None


@dataclass
class Server:
    """Everything that lives as long as the server."""

    settings: Settings
    feed: Feed
    operators: Operators
    connect: Connect
    where: str

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.settings.session_minutes)
        self.pages: dict[str, Any] = {}
        """Client id -> Page."""
        self._shared: Shared | None = None
        self._made: tuple[Any, float] = ((), 0.0)

    def shared(self) -> Shared:
        """The newest picture, made at most once for all viewers."""
        version, now = self.feed.version, time.monotonic()
        if self._shared is None or version != self._made[0] or now - self._made[1] >= PULSE_S:
            now_ms = time.time_ns() // 1_000_000
            self._shared = Shared(self.feed.picture(), now_ms, self.where, self.feed.problem, time.monotonic)
            self._made = (version, now)
        return self._shared

    async def broadcast(self) -> None:
        """Push to every viewer when something changed, and a pulse otherwise. Never ends by itself."""
        sent: tuple[Any, float] = ((), 0.0)
        while True:
            await asyncio.sleep(LOOK_S)
            version, now = self.feed.version, time.monotonic()
            if version == sent[0] and now - sent[1] < PULSE_S:
                continue
            sent = (version, now)
            for page in list(self.pages.values()):
                try:
                    page.push()
                except Exception:
                    log.exception("a viewer could not be served; the others are")

    def may_view(self, request: Request) -> bool:
        """Whether the browser of ``request`` may see the documents."""
        return self.settings.view_open or self.sessions.operator(request.session.get("id", "")) is not None


def application(server: Server) -> FastAPI:
    """The whole site. NiceGUI keeps one app per process, so that this is called once in it."""
    os.environ.setdefault(
        "NICEGUI_STORAGE_PATH", tempfile.gettempdir()
    )  # nothing is kept there; not the folder we run in
    from nicegui import app as core
    from nicegui import ui

    from knightwatch.web.page import Page

    site = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    site.middleware("http")(_headers)
    site.add_api_route("/healthz", lambda: _health(server))
    site.add_api_route("/look/desk.css", lambda: FileResponse(HERE / "desk.css", media_type="text/css"))
    _documents(core, server)
    ui.add_head_html('<link rel="stylesheet" href="/look/desk.css">', shared=True)

    @ui.page("/", title="Knightwatch", dark=True, reconnect_timeout=30.0)
    def board() -> None:
        client = ui.context.client
        ui.query("body").classes("kwpage")
        page = Page(
            client, core.storage.browser["id"], server.operators, server.sessions, server.connect, server.shared,
            server.settings.view_open,
        )  # fmt: skip
        server.pages[client.id] = page
        client.on_delete(lambda: server.pages.pop(client.id, None))

    tasks: list[asyncio.Task[None]] = []
    core.on_startup(lambda: tasks.append(asyncio.create_task(server.broadcast())))
    core.on_shutdown(lambda: [task.cancel() for task in tasks])
    ui.run_with(
        site,
        title="Knightwatch",
        dark=True,
        language="en-US",
        favicon="🛡️",
        binding_refresh_interval=None,
        message_history_length=HISTORY,
        tailwind=False,
        storage_secret=os.environ.get(SECRET_VARIABLE) or new_secret(),
        session_middleware_kwargs={"https_only": server.settings.certificate is not None, "same_site": "strict"},
        show_welcome_message=False,
    )
    return site


async def _headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _health(server: Server) -> JSONResponse:
    """200 while the topics can be read. A silent desk is told, but is no reason to restart the page."""
    picture = server.feed.picture()
    found = {
        "ok": picture.connected,
        "desk_alive": picture.alive,
        "heartbeat_age_ms": picture.beat_age_ms,
        "halted": picture.count("HALTED", "HALTING"),
        "viewers": len(server.pages),
        "problem": server.feed.problem or picture.trouble,
    }
    return JSONResponse(found, 200 if picture.connected else 503)


def _documents(core: Any, server: Server) -> None:
    def guarded(request: Request, make: Callable[[], Response]) -> Response:
        if server.may_view(request):
            return make()
        return HTMLResponse(documents.document("Log in", "<p>Log in on <a href='/'>the desk</a> first.</p>"), 401)

    def evidence(request: Request, scope: str) -> Response:
        name = scope.removesuffix(".json")
        picture = server.feed.picture()
        found = documents.evidence(picture, name)
        code = 200 if found else 404
        if scope.endswith(".json"):
            return guarded(request, lambda: JSONResponse(found, code))
        return guarded(request, lambda: HTMLResponse(documents.evidence_html(picture, name, time.time_ns()), code))

    def runbook(request: Request) -> Response:
        return guarded(request, lambda: HTMLResponse(documents.read_runbook(server.settings.runbook)))

    core.add_api_route("/evidence/{scope:path}", evidence)
    core.add_api_route("/runbook", runbook)


def serve(server: Server) -> None:
    """Serve until SIGINT or SIGTERM."""
    settings = server.settings
    config = uvicorn.Config(
        application(server),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        ws_per_message_deflate=False,  # on the same machine or network; it would cost more than all the rest
        timeout_graceful_shutdown=2,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        server_header=False,
    )
    uvicorn.Server(config).run()
