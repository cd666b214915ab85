"""Alert rules, once for Prometheus with Alertmanager and once for Grafana's unified alerting.

Never in the kill path: Prometheus looks once a second, Grafana once in ten; the desk has halted long before.
Each rule names the incident it belongs to, and notifications are grouped by that label alone, so that a runaway
that trips six rules is one page. ``summary`` is the plain sentence; ``runbook_url`` says what to do."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from dashboards.board import DESK_URL, UIDS
from dashboards.panels import DATASOURCE_UID, RARE_WINDOW, WINDOW, level, quantile, rate
from dashboards.queries import STOPPED_STATES, desk_age, limit_used, loss_per_s, time_to_limit
from schemas import metrics as m

FOLDER: Final = "Knightwatch"
FOLDER_UID: Final = "knightwatch"
ALERT_WINDOW: Final = "15s"
GRAFANA_INTERVAL_S: Final = 10
"""Grafana's scheduler ticks every 10 s and takes no shorter interval."""
RUNBOOK: Final = "docs/runbook.md"

Incident = Literal["runaway", "blind", "drift"]
OWNERS: Final[dict[Incident, str]] = {
    "runaway": "trading-operations",
    "blind": "platform",
    "drift": "release-management",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """Fires while ``expr op threshold`` holds, for ``for_s`` seconds on end. ``anchor`` is a chapter of the runbook."""

    name: str
    incident: Incident
    severity: Literal["page", "warning"]
    expr: str
    op: Literal[">", "<"]
    threshold: float
    for_s: int
    summary: str
    anchor: str
    board: str = "fleet"
    incident_only: bool = False
    """True: has data only once something broke (see ``panels.Query.incident``)."""

    @property
    def uid(self) -> str:
        """The rule's uid in Grafana."""
        return "kw-" + "".join(f"-{c.lower()}" if c.isupper() else c for c in self.name).lstrip("-")

    @property
    def query(self) -> str:
        """``expr`` with a fixed window, since alert rules know no panel width."""
        return self.expr.replace(WINDOW, ALERT_WINDOW)


FLOW_WINDOW: Final = "3s"
"""Short: in a longer one the orders from before the halt would look like orders after it."""
_ORDERS_WHILE_CLOSED: Final = f"{rate(m.ORDERS).replace(WINDOW, FLOW_WINDOW)} and on (server) {level(m.GATE_OPEN)} == 0"
_TO_BLOCKED: Final = quantile(0.99, m.LATENCY, "stage", 'stage!="blocked_to_confirmed"', RARE_WINDOW)
_CANARY_MEAN: Final = f"rate({m.CANARY.name}_sum[{RARE_WINDOW}]) / rate({m.CANARY.name}_count[{RARE_WINDOW}])"

_RUNAWAY: Final = (
    Alert(
        "ScopeHalted", "runaway", "page", level(m.SCOPE_STATE, "scope", STOPPED_STATES), ">", 0, 0,
        "{{ $labels.scope }} is halted: new orders are blocked, working ones are being cancelled. Find the cause "
        "before anybody resumes it.", "server-halted", "halts",
    ),
    Alert(
        "GateUnconfirmed", "runaway", "page", level(m.GATES_PENDING, "scope"), ">", 0, 5,
        "{{ $value }} gates have not confirmed the halt of {{ $labels.scope }}: orders may still be working there. "
        "Cut their venue sessions.", "gate-unconfirmed", "halts",
    ),
    Alert(
        "FlowAfterHalt", "runaway", "page", _ORDERS_WHILE_CLOSED, ">", 0, 6,
        "{{ $labels.server }} still sends {{ $value | humanize }} orders/s although its gate is closed. Cut its venue "
        "sessions now.", "flow-after-halt", "server", incident_only=True,
    ),
    Alert(
        "LossRunning", "runaway", "page", loss_per_s(), ">", 10_000, 5,
        "The fleet loses {{ $value | humanize }} USD each second. If nothing is halted yet, halt the firm.",
        "loss-running",
    ),
    Alert(
        "ScoreBeyondBound", "runaway", "warning", level(m.SCORE_RATIO), ">", 1, 10,
        "{{ $labels.server }} has been beyond a detector's bound for 10 s (score / limit {{ $value | humanize }}).",
        "who-differs", "server",
    ),
    Alert(
        "ExposureNearLimit", "runaway", "warning", limit_used(), ">", 0.8, 5,
        "{{ $labels.server }} has used {{ $value | humanizePercentage }} of its gross exposure limit.",
        "exposure-near-limit", "server",
    ),
    Alert(
        "LimitInAMinute", "runaway", "warning", time_to_limit(), "<", 60, 5,
        "{{ $labels.server }} meets its gross exposure limit in {{ $value | humanize }} s if it goes on like this.",
        "exposure-near-limit", "server",
    ),
)  # fmt: skip

_BLIND: Final = (
    Alert(
        "DeskSilent", "blind", "page", f"{desk_age()} or vector(3600)", ">", 2, 1,
        "The halt desk has been silent for {{ $value | humanize }} s (3600: never heard): every gate closes by itself "
        "and trading stops until it is back.", "desk-silent", "pipeline",
    ),
    Alert(
        "NoWorker", "blind", "page", f"count({m.PARTITIONS.name} > 0) or vector(0)", "<", 1, 5,
        "No worker reads order flow: nothing is being watched.", "desk-silent", "pipeline",
    ),
    Alert(
        "FlowUnwatched", "blind", "page", f"max({m.UNWATCHED.name})", ">", 0, 1,
        "Of {{ $value }} partitions of the order flow no worker has read anything for 2 s: the gates of the routers there "
        "are closed until one does.", "desk-silent", "pipeline",
    ),
    Alert(
        "GateBlind", "blind", "page", level(m.GATE_HEARTBEAT_AGE), ">", 2, 3,
        "The gate of {{ $labels.server }} has not heard the desk for {{ $value | humanize }} s and is closed.",
        "desk-silent", "server",
    ),
    Alert(
        "ConsumerLag", "blind", "page", f"sum by (topic) ({level(m.LAG, 'topic, partition')})", ">", 10_000, 10,
        "{{ $value | humanize }} messages of {{ $labels.topic }} wait: halts come late.", "consumer-lag", "pipeline",
    ),
    Alert(
        "SlowKillPath", "blind", "warning", f"max({_TO_BLOCKED})", ">", 0.15, 30,
        "A stage of the kill path takes {{ $value | humanizeDuration }} at p99; promised are 150 ms for all of them.",
        "slow-kill-path", "pipeline",
    ),
    Alert(
        "CanaryLate", "blind", "warning", f"time() - max({m.CANARY_TIME.name}) or vector(3600)", ">", 90, 15,
        "No probe halt came back for {{ $value | humanizeDuration }} (1h: none ever did): the kill path is unproven.",
        "canary-late", "pipeline",
    ),
    Alert(
        "CanarySlow", "blind", "warning", f"max({_CANARY_MEAN})", ">", 0.5, 15,
        "A probe halt takes {{ $value | humanizeDuration }} there and back: real halts are as slow.",
        "canary-late", "pipeline",
    ),
    Alert(
        "EventsLost", "blind", "warning", rate(m.SEQ_GAPS), ">", 0, 5,
        "Events of {{ $labels.server }} went missing ({{ $value | humanize }} sequence numbers/s).",
        "input-quality", "pipeline",
    ),
    Alert(
        "DeadLetters", "blind", "warning", rate(m.DEAD_LETTERS, "reason"), ">", 1, 30,
        "{{ $value | humanize }} values/s cannot be read: {{ $labels.reason }}.", "dead-letters", "pipeline",
        incident_only=True,
    ),
    Alert(
        "ServerSilent", "blind", "warning", f"time() - {level(m.NODE_TIME)}", ">", 10, 5,
        "{{ $labels.server }} has not reported its state for {{ $value | humanizeDuration }}.",
        "server-silent", "server",
    ),
    Alert(
        "SnapshotOld", "blind", "warning", f"time() - {level(m.SNAPSHOT_TIME, 'topic, partition')}", ">", 300, 30,
        "Snapshot of {{ $labels.topic }}/{{ $labels.partition }} is {{ $value | humanizeDuration }} old: a restart "
        "would take long.", "consumer-lag", "pipeline",
    ),
)  # fmt: skip

_DRIFT: Final = (
    Alert(
        "NodeDrift", "drift", "page", level(m.NODE_DRIFT), ">", 0, 15,
        "{{ $labels.server }} does not run what the release process declared. This is how 2012-08-01 began: keep it "
        "out of the market until it does.", "drift", "server",
    ),
)  # fmt: skip

ALL: Final[tuple[Alert, ...]] = (*_RUNAWAY, *_BLIND, *_DRIFT)


def _labels(alert: Alert) -> dict[str, str]:
    return {"incident": alert.incident, "owner": OWNERS[alert.incident], "severity": alert.severity}


def _annotations(alert: Alert, summary: str) -> dict[str, str]:
    return {
        "summary": summary,
        "runbook_url": f"{RUNBOOK}#{alert.anchor}",
        "dashboard": f"/d/{UIDS[alert.board]}/",
        "desk": DESK_URL,
    }


def _number(value: float) -> str:
    return f"{value:g}" if value < 1e6 else str(value)


def prometheus_rules() -> dict[str, Any]:
    """The rule file of Prometheus: one group an incident, evaluated every second."""
    groups = []
    for incident in OWNERS:
        rules = [
            {
                "alert": f"Knightwatch{alert.name}",
                "expr": f"({alert.query}) {alert.op} {_number(alert.threshold)}",
                "for": f"{alert.for_s}s",
                "labels": _labels(alert),
                "annotations": _annotations(alert, alert.summary),
            }
            for alert in ALL
            if alert.incident == incident
        ]
        groups.append({"name": f"knightwatch-{incident}", "interval": "1s", "rules": rules})
    return {"groups": groups}


def alertmanager_config() -> dict[str, Any]:
    """A routing tree to copy from: one page an incident, and a page silences the warnings of the same incident."""
    return {
        "route": {
            "receiver": "knightwatch-pager",
            "group_by": ["incident"],
            "group_wait": "1s",
            "group_interval": "30s",
            "repeat_interval": "15m",
        },
        "inhibit_rules": [
            {
                "source_matchers": ['severity="page"'],
                "target_matchers": ['severity="warning"'],
                "equal": ["incident"],
            }
        ],
        "receivers": [{"name": "knightwatch-pager"}],
    }


def grafana_rule(alert: Alert) -> dict[str, Any]:
    """One rule of Grafana's unified alerting: A is the value, C the threshold. No data is no alarm, except where the
    expression itself answers for absence; an error is an alarm. Whether it is paused is for people to
    say, so it is not written here."""
    a = {"datasource": {"type": "prometheus", "uid": DATASOURCE_UID}, "expr": alert.query, "instant": True,
         "intervalMs": 1000, "maxDataPoints": 43200, "range": False, "refId": "A"}  # fmt: skip
    evaluator = {"params": [alert.threshold], "type": "gt" if alert.op == ">" else "lt"}
    itself = {"type": "__expr__", "uid": "__expr__"}
    c = {"conditions": [{"evaluator": evaluator, "type": "query"}], "datasource": itself,
         "expression": "A", "refId": "C", "type": "threshold"}  # fmt: skip
    window = {"from": 60, "to": 0}
    summary = alert.summary.replace("$value", "$values.A.Value")
    return {
        "uid": alert.uid,
        "title": f"Knightwatch{alert.name}",
        "condition": "C",
        "data": [
            {"refId": "A", "relativeTimeRange": window, "datasourceUid": DATASOURCE_UID, "model": a},
            {"refId": "C", "relativeTimeRange": window, "datasourceUid": "__expr__", "model": c},
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": f"{alert.for_s}s",
        "annotations": _annotations(alert, summary),
        "labels": _labels(alert),
    }


def grafana_group(incident: Incident) -> str:
    """Name of the rule group of an incident."""
    return f"knightwatch-{incident}"


def grafana_rules() -> dict[str, Any]:
    """The file that Grafana provisions alert rules from."""
    groups = [
        {
            "orgId": 1,
            "name": grafana_group(incident),
            "folder": FOLDER,
            "interval": f"{GRAFANA_INTERVAL_S}s",
            "rules": [grafana_rule(alert) for alert in ALL if alert.incident == incident],
        }
        for incident in OWNERS
    ]
    return {"apiVersion": 1, "groups": groups}


def grafana_policies() -> dict[str, Any]:
    """Contact point and notification policy: grouped by incident alone. It replaces the whole policy tree of the
    Grafana that loads it, so it is for a Grafana of our own; elsewhere copy the route (docs/grafana.md)."""
    pager = {
        "uid": "knightwatch-pager",
        "type": "email",
        "settings": {"addresses": "on-call@localhost", "singleEmail": True},
        "disableResolveMessage": False,
    }
    policy = {
        "orgId": 1,
        "receiver": "knightwatch-pager",
        "group_by": ["grafana_folder", "incident"],
        "group_wait": "1s",
        "group_interval": "30s",
        "repeat_interval": "15m",
    }
    contact = {"orgId": 1, "name": "knightwatch-pager", "receivers": [pager]}
    return {"apiVersion": 1, "contactPoints": [contact], "policies": [policy]}
