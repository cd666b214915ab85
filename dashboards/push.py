"""Boards, data source and alert rules into a running Grafana: the one module that speaks to it, through grafana-api.

Only calls that Grafana 11 to 13 serve: folders and dashboards by uid, data sources by uid (numeric ids are off in 13),
annotations by tag, alert rules by the raw provisioning API. Pushing twice changes nothing; a refusal says what to do.

Source: Grafana HTTP API reference (folder, dashboard, data source, annotations, alerting provisioning)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from grafana_api.grafana_api import GrafanaException
from grafana_api.grafana_face import GrafanaFace

from dashboards import alerts, boards, build
from dashboards.alerts import FOLDER, FOLDER_UID, GRAFANA_INTERVAL_S
from dashboards.board import DESK_URL
from dashboards.panels import DATASOURCE_UID

TIMEOUT_S: Final = 5.0
FROM_FILE: Final = "left: provisioned from a file"
_EDITABLE: Final = {"X-Disable-Provenance": "true"}
"""Without it Grafana locks pushed rules against any change in its own pages."""


class PushError(Exception):
    """Grafana refused, or was not there. ``status`` is its HTTP status, 0 without an answer."""

    def __init__(self, doing: str, status: int, said: str, advice: str) -> None:
        self.doing, self.status, self.said, self.advice = doing, status, said, advice
        super().__init__(f"{doing}: {said}. {advice}")


@dataclass(frozen=True, slots=True)
class Done:
    """What was done to one thing: created, updated, unchanged, or left (it is provisioned from a file)."""

    kind: str
    name: str
    did: str


_ADVICE: Final[dict[int, str]] = {
    400: "Grafana found the request malformed: check that its version is 11 to 13",
    401: "Give a valid service account token by --token or GRAFANA_TOKEN (Administration > Service accounts); a "
    "deleted or expired one ends like this too",
    403: "The token's role is too small: boards, rules and annotations need Editor, data sources need Admin (or push "
    f"with --no-datasource and make the data source by hand, uid {DATASOURCE_UID})",
    404: "Check the address (a Grafana below a sub-path needs it, as in http://host/grafana), and that unified "
    "alerting is on",
    409: "A thing of that name exists under another uid: rename or delete it in Grafana, then push again",
    412: "Somebody made a thing of that name, or changed it since we looked: look at it in Grafana, then push again, "
    "or use --force to overwrite it",
    422: "Grafana does not accept a field: check that its version is 11 to 13",
    429: "Grafana is being asked too often: wait a moment and push again",
}


class Grafana:
    """A Grafana at ``url`` (http[s]://host[:port][/path]) with a service account ``token``.
    ValueError for an address that is none. Every call raises PushError."""

    def __init__(self, url: str, token: str, timeout_s: float = TIMEOUT_S, verify: bool = True) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an address of a Grafana: expected http[s]://host[:port][/path]")
        path = parts.path.strip("/")
        self.url = url
        self._face = GrafanaFace(
            auth=token, host=parts.hostname, port=parts.port, protocol=parts.scheme, verify=verify,
            url_path_prefix=f"{path}/" if path else "", timeout=timeout_s,
        )  # fmt: skip

    def _ask(self, doing: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except GrafanaException as error:
            status = int(error.status_code)
            advice = _ADVICE.get(status, "That is Grafana's own trouble: look at its log, then push again")
            raise PushError(doing, status, f"Grafana answered {error.message}", advice) from error
        except (OSError, ValueError) as error:
            said = f"no Grafana answers at {self.url} ({error})"
            raise PushError(doing, 0, said, "Start it, or give its address with --url") from error

    def _find(self, doing: str, path: str) -> Any:
        """What stands at ``path``, None if nothing does."""
        try:
            return self._ask(doing, lambda: self._face.api.GET(path))
        except PushError as error:
            if error.status == 404:
                return None
            raise

    def folder(self) -> Done:
        """The folder that holds boards and rules."""
        if self._find("look for the folder", f"/folders/{FOLDER_UID}"):
            return Done("folder", FOLDER, "unchanged")
        self._ask("make the folder", lambda: self._face.folder.create_folder(FOLDER, uid=FOLDER_UID))
        return Done("folder", FOLDER, "created")

    def datasource(self, prometheus_url: str) -> Done:
        """The Prometheus data source, under its fixed uid."""
        wanted = build.datasource(prometheus_url)
        name = str(wanted["name"])
        path = f"/datasources/uid/{DATASOURCE_UID}"
        found = self._find("look for the data source", path)
        if not found:
            self._ask("make the data source", lambda: self._face.datasource.create_datasource(wanted))
            return Done("data source", name, "created")
        if found.get("readOnly"):
            return Done("data source", name, FROM_FILE)
        if covers(wanted, found):
            return Done("data source", name, "unchanged")
        self._ask("update the data source", lambda: self._face.api.PUT(path, json=wanted))
        return Done("data source", name, "updated")

    def board(self, wanted: Mapping[str, Any], force: bool = False) -> Done:
        """One dashboard. The version that was read goes along, so that a change made meanwhile is not run over."""
        title = str(wanted["title"])
        found = self._find(f"look for the board {title}", f"/dashboards/uid/{wanted['uid']}")
        version = None
        if found:
            meta, there = found.get("meta", {}), found["dashboard"]
            if meta.get("provisioned"):
                return Done("board", title, FROM_FILE)
            same = covers({k: v for k, v in wanted.items() if k not in ("id", "version")}, there)
            if same and meta.get("folderUid") == FOLDER_UID:
                return Done("board", title, "unchanged")
            version = there.get("version")
        body = {
            "dashboard": {**wanted, "id": None, "version": version},
            "folderUid": FOLDER_UID,
            "message": "knightwatch dashboards push",
            "overwrite": force,
        }
        self._ask(f"save the board {title}", lambda: self._face.dashboard.update_dashboard(body))
        return Done("board", title, "updated" if found else "created")

    def rules(self) -> list[Done]:
        """Every alert rule by its uid, then the interval of each group. One question tells what is there."""
        path = "/v1/provisioning/alert-rules"
        found = self._ask("look for the alert rules", lambda: self._face.api.GET(path))
        there = {rule["uid"]: rule for rule in found}
        done = []
        for incident in alerts.OWNERS:
            group = alerts.grafana_group(incident)
            wanted = [_rule(alert, group) for alert in alerts.ALL if alert.incident == incident]
            done += [self._rule(rule, there.get(rule["uid"])) for rule in wanted]
            self._group(group, wanted)
        return done

    def _rule(self, rule: Mapping[str, Any], found: Mapping[str, Any] | None) -> Done:
        path = "/v1/provisioning/alert-rules"
        title = str(rule["title"])
        if not found:
            self._ask(f"make the rule {title}", lambda: self._face.api.POST(path, json=rule, headers=_EDITABLE))
            return Done("rule", title, "created")
        if found.get("provenance") == "file":
            return Done("rule", title, FROM_FILE)
        if covers(rule, found):
            return Done("rule", title, "unchanged")
        one = f"{path}/{rule['uid']}"
        headers = {} if found.get("provenance") else _EDITABLE  # Grafana lets nobody lift the lock by this way
        self._ask(f"update the rule {title}", lambda: self._face.api.PUT(one, json=rule, headers=headers))
        return Done("rule", title, "updated")

    def _group(self, group: str, rules: list[dict[str, Any]]) -> None:
        """A new group evaluates once a minute; ours must do so every ten seconds, and hold no rule that we dropped."""
        path = f"/v1/provisioning/folder/{FOLDER_UID}/rule-groups/{group}"
        whole = {"title": group, "folderUid": FOLDER_UID, "interval": GRAFANA_INTERVAL_S, "rules": rules}
        there = self._ask(f"look for the rule group {group}", lambda: self._face.api.GET(path))
        uids = [rule["uid"] for rule in there["rules"]]
        if any(rule.get("provenance") == "file" for rule in there["rules"]):
            return
        if there["interval"] != GRAFANA_INTERVAL_S or sorted(uids) != sorted(rule["uid"] for rule in rules):
            self._ask(f"set the rule group {group}", lambda: self._face.api.PUT(path, json=whole, headers=_EDITABLE))

    def annotate(self, time_ms: int, tags: Sequence[str], text: str) -> None:
        """An annotation of the whole organisation; boards show it by its tags."""
        self._ask(
            "write the annotation",
            lambda: self._face.annotations.add_annotation(time_from=time_ms, tags=list(tags), text=text),
        )

    def annotations(self, tag: str, since_ms: int, until_ms: int, limit: int = 5000) -> list[dict[str, Any]]:
        """Annotations with ``tag`` between two times."""
        found = self._ask(
            "look for annotations",
            lambda: self._face.annotations.get_annotation(
                time_from=since_ms, time_to=until_ms, tags=[tag], limit=limit
            ),
        )
        return list(found)


def _rule(alert: alerts.Alert, group: str) -> dict[str, Any]:
    """A rule as the provisioning API takes it: the file's fields, and where it belongs."""
    return alerts.grafana_rule(alert) | {"folderUID": FOLDER_UID, "orgID": 1, "ruleGroup": group}


def covers(wanted: Any, there: Any) -> bool:
    """Does ``there`` say everything that ``wanted`` says? Grafana adds fields of its own, which do not count."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(k in there and covers(v, there[k]) for k, v in wanted.items())
    if isinstance(wanted, list | tuple):
        pairs = isinstance(there, list) and len(wanted) == len(there)
        return pairs and all(covers(a, b) for a, b in zip(wanted, there, strict=True))
    return bool(wanted == there)


def push(grafana: Grafana, prometheus_url: str, desk_url: str = DESK_URL, *, datasource: bool = True,
         force: bool = False) -> list[Done]:  # fmt: skip
    """Everything, in the order in which one needs the other. Raises PushError at the first refusal."""
    done = [grafana.folder()]
    if datasource:
        done.append(grafana.datasource(prometheus_url))
    done += [grafana.board(board.json(desk_url), force) for board in boards.ALL]
    return done + grafana.rules()
