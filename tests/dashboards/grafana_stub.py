"""The part of Grafana's HTTP API that push and annotate use, written from its documented reference (folder, dashboard,
data source, annotations, alerting provisioning; v11 to v13). It keeps what it is given and refuses as documented.
Numeric data source ids answer 404, as Grafana 13 does by default. It is no Grafana: it draws and evaluates nothing."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ADMIN, VIEWER = "glsa_admin", "glsa_viewer"
Answer = tuple[int, Any]


class Stub:
    """State of the pretended Grafana. ``refuse`` maps a path prefix to (status, body); ``prefix`` is its sub-path."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.folders: dict[str, dict[str, Any]] = {}
        self.datasources: dict[str, dict[str, Any]] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.intervals: dict[str, int] = {}
        self.annotations: list[dict[str, Any]] = []
        self.refuse: dict[str, Answer] = {}
        self.calls: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def answer(self, method: str, url: str, token: str, body: Any, headers: dict[str, str]) -> Answer:
        """Status and JSON body for one request."""
        parts = urlsplit(url)
        if not parts.path.startswith(f"{self.prefix}/api"):
            return 404, {"message": "Not found"}
        path = parts.path[len(self.prefix) + 4 :]
        with self.lock:
            self.calls.append((method, path))
            if token not in (ADMIN, VIEWER):
                return 401, {"message": "Invalid API key"}
            if token == VIEWER and method != "GET":
                return 403, {"message": "You'll need additional permissions to perform this action."}
            for prefix, refusal in self.refuse.items():
                if path.startswith(prefix):
                    return refusal
            head, _, rest = path.lstrip("/").partition("/")
            if head == "v1":
                return self._rules(method, rest, body, headers)
            handlers = {"folders": self._folders, "datasources": self._sources, "dashboards": self._boards,
                        "annotations": self._annotate}  # fmt: skip
            handler = handlers.get(head)
            return handler(method, rest, body, parse_qs(parts.query)) if handler else (404, {"message": "Not found"})

    def _folders(self, method: str, rest: str, body: Any, query: dict[str, list[str]]) -> Answer:
        if method == "GET":
            found = self.folders.get(rest)
            return (200, found) if found else (404, {"message": "folder not found", "status": "not-found"})
        if any(f["uid"] == body.get("uid") or f["title"] == body["title"] for f in self.folders.values()):
            return 409, {"message": "a folder with the same name already exists in the current location"}
        self.folders[body["uid"]] = {"id": len(self.folders) + 1, "version": 1, **body}
        return 200, self.folders[body["uid"]]

    def _sources(self, method: str, rest: str, body: Any, query: dict[str, list[str]]) -> Answer:
        missing = [f for f in ("name", "type", "access") if method != "GET" and not body.get(f)]
        if missing:  # binding errors are a list, without a message
            return 422, [{"fieldNames": missing, "classification": "RequiredError", "message": "Required"}]
        uid = rest.removeprefix("uid/")
        if method == "POST":
            if any(d["name"] == body["name"] for d in self.datasources.values()):
                return 409, {"message": "data source with the same name already exists"}
            self.datasources[body["uid"]] = {"id": 7, "readOnly": False, "version": 1, "basicAuth": False, **body}
            return 200, {"datasource": self.datasources[body["uid"]], "message": "Datasource added"}
        if not rest.startswith("uid/") or uid not in self.datasources:
            return 404, {"message": "Data source not found"}
        if method == "PUT":
            if self.datasources[uid]["readOnly"]:
                return 403, {"message": "Cannot update read-only data source"}
            self.datasources[uid] |= body
            return 200, {"datasource": self.datasources[uid], "message": "Datasource updated"}
        return 200, self.datasources[uid]

    def _boards(self, method: str, rest: str, body: Any, query: dict[str, list[str]]) -> Answer:
        if method == "GET":
            found = self.boards.get(rest.removeprefix("uid/"))
            return (200, found) if found else (404, {"message": "Dashboard not found"})
        board, uid = body["dashboard"], body["dashboard"]["uid"]
        if not board.get("title"):
            return 400, {"message": "Dashboard title cannot be empty", "status": "empty-name"}
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found", "status": "not-found"}
        there = self.boards.get(uid)
        if there and there["meta"].get("provisioned"):
            return 400, {"message": "Cannot save provisioned dashboard"}
        if not body["overwrite"]:
            if there and board.get("version") != there["dashboard"]["version"]:
                said = "The dashboard has been changed by someone else"
                return 412, {"message": said, "status": "version-mismatch"}
            twin = [u for u, b in self.boards.items() if u != uid and b["dashboard"]["title"] == board["title"]]
            if twin:
                said = "A dashboard with the same name in the folder already exists"
                return 412, {"message": said, "status": "name-exists"}
        version = there["dashboard"]["version"] + 1 if there else 1
        kept = {**board, "id": len(self.boards) + 1, "version": version}
        self.boards[uid] = {"dashboard": kept, "meta": {"folderUid": body["folderUid"], "version": version}}
        return 200, {"id": 1, "uid": uid, "status": "success", "version": version}

    def _annotate(self, method: str, rest: str, body: Any, query: dict[str, list[str]]) -> Answer:
        if method == "POST":
            if not body.get("text"):
                return 400, {"message": "Failed to save annotation", "error": "text field should not be empty"}
            self.annotations.append({"id": len(self.annotations) + 1, **body})
            return 200, {"id": len(self.annotations), "message": "Annotation added"}
        start, end = int(query["from"][0]), int(query["to"][0])
        tags = set(query.get("tags", []))
        found = [a for a in self.annotations if start <= a["time"] <= end and tags <= set(a["tags"])]
        return 200, found[: int(query.get("limit", ["100"])[0])]

    def _rules(self, method: str, rest: str, body: Any, headers: dict[str, str]) -> Answer:
        words = rest.split("/")
        if words[:2] == ["provisioning", "folder"]:
            return self._group(method, words[2], words[4], body)
        uid = words[2] if len(words) > 2 else ""
        if method == "GET":
            return 200, list(self.rules.values())
        if body["folderUID"] not in self.folders or not body["title"] or not body["data"]:
            return 400, {"message": "invalid alert rule"}
        if method == "POST":
            if body["uid"] in self.rules:
                return 409, {"message": "conflicting alert rule found"}
            self.intervals.setdefault(body["ruleGroup"], 60)
        elif uid not in self.rules:
            return 404, {"message": "could not find alert rule"}
        provenance = "" if "X-Disable-Provenance" in headers else "api"
        if uid and self.rules[uid]["provenance"] == "api" and not provenance:
            return 500, {"message": "cannot changed provenance from 'api' to ''"}
        self.rules[body["uid"]] = {"id": 1, "updated": "2026-11-01T00:00:00Z", **body, "provenance": provenance}
        return (201 if method == "POST" else 200), self.rules[body["uid"]]

    def _group(self, method: str, folder: str, group: str, body: Any) -> Answer:
        if folder not in self.folders or group not in self.intervals:
            return 404, {"message": "rule group not found"}
        if method == "PUT":
            if body["interval"] % 10:
                return 400, {"message": "interval must be a multiple of the scheduler interval (10s)"}
            self.intervals[group] = body["interval"]
            for uid in [u for u, r in self.rules.items() if r["ruleGroup"] == group]:
                del self.rules[uid]
            self.rules |= {r["uid"]: {**r, "provenance": ""} for r in body["rules"]}
            return 200, body
        rules = [r for r in self.rules.values() if r["ruleGroup"] == group]
        return 200, {"title": group, "folderUid": folder, "interval": self.intervals[group], "rules": rules}


@contextmanager
def serve(stub: Stub) -> Iterator[str]:
    """The stub on a free port of 127.0.0.1; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, said = stub.answer(self.command, self.path, token, body, dict(self.headers))
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _do  # noqa: N815 - http.server looks for these names

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{stub.prefix}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
