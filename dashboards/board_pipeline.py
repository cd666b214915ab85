"""Pipeline: can the watchman see? Lag, speed, errors, snapshots, rebalances, the canary."""

from typing import Final

from dashboards.board import Board, Section, runbook
from dashboards.board_fleet import COUNT_STEPS, heartbeat
from dashboards.board_halts import latency_by_stage
from dashboards.panels import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    RARE_WINDOW,
    SKY,
    VERMILLION,
    YELLOW,
    Column,
    Panel,
    Query,
    Steps,
    bare,
    bars,
    dressed,
    level,
    quantile,
    rate,
    select,
    series,
    stat,
    table,
)
from schemas import metrics as m

LAG_STEPS: Final[Steps] = ((None, BLUE), (1_000.0, ORANGE), (10_000.0, VERMILLION))
AGE_STEPS: Final[Steps] = ((None, BLUE), (15.0, ORANGE), (60.0, VERMILLION))
CANARY_STEPS: Final[Steps] = ((None, BLUE), (75.0, ORANGE), (90.0, VERMILLION))
"""A probe flies once a minute."""


PARTITION: Final = "topic, partition"


def _total(metric: m.Metric) -> str:
    return f"sum(rate({metric.name}[$__rate_interval]))"


def _headline() -> tuple[Panel, ...]:
    canary = Query(f"time() - max({m.CANARY_TIME.name})", "canary age")
    snapshot = Query(f"time() - min({level(m.SNAPSHOT_TIME, PARTITION)})", "oldest")
    workers = Query(f"count({m.PARTITIONS.name} > 0)", "workers")
    letters = Query(_total(m.DEAD_LETTERS), "dead letters")
    unwatched = Query(f"max({m.UNWATCHED.name})", "unwatched")
    lag = Query(f"sum({level(m.LAG, PARTITION)})", "lag")
    return (
        heartbeat(4),
        stat("Canary came back", "Age of the newest probe halt that went the whole kill path and back.", canary, w=4,
             unit="s", steps=CANARY_STEPS, spark=False, defaults={"decimals": 0}, links=(runbook("canary-late"),)),
        stat("Lag", "Messages on the broker not yet processed.", lag, w=4, steps=LAG_STEPS,
             links=(runbook("consumer-lag"),)),
        stat("Unwatched partitions", "No worker reads them; the gates of their routers are closed.", unwatched, w=3,
             steps=COUNT_STEPS, spark=False, defaults={"decimals": 0}, links=(runbook("desk-silent"),)),
        stat("Oldest snapshot", "Age of the oldest partition snapshot: what a restart has to read again.", snapshot,
             w=3, unit="s", steps=AGE_STEPS, spark=False, defaults={"decimals": 0}),
        stat("Workers with load", "Workers that hold order flow partitions.", workers, w=3, defaults={"decimals": 0}),
        stat("Dead letters per second", "What could not be decoded.", letters, w=3, steps=COUNT_STEPS,
             links=(runbook("dead-letters"),)),
    )  # fmt: skip


def _throughput() -> tuple[Panel, ...]:
    events = series(
        "Events per second", "Published by routers, taken in by stage 1. The lines part when we fall behind.",
        (Query(_total(m.PUBLISHED), "published"), Query(_total(m.EVENTS), "taken in")), w=8,
        overrides=(dressed("published", GREY, dash=True), dressed("taken in", SKY)),
    )  # fmt: skip
    behind = Query(f"sum by (topic) ({level(m.LAG, PARTITION)})", "{{topic}}")
    lag = bars(
        "Lag by topic", "Messages not yet processed.", behind, w=8, h=7, unit="short", steps=LAG_STEPS,
        top=10_000.0, links=(runbook("consumer-lag"),),
    )  # fmt: skip
    queue = bars(
        "Waiting in the publishers", "Events a router has made and Kafka has not.",
        Query(level(m.PUBLISH_QUEUE), "{{server}}"), w=8, h=7, unit="short", steps=LAG_STEPS, top=10_000.0,
    )  # fmt: skip
    return events, lag, queue


def _work() -> tuple[Panel, ...]:
    decode = [Query(quantile(0.99, m.DECODE, "", f'stage="{s}"'), f"decode {s}") for s in m.WORK_STAGES]
    step = [Query(quantile(0.99, m.STEP, "", f'stage="{s}"'), f"step {s}") for s in m.WORK_STAGES]
    work = series(
        "Computing per batch, p99", "Decoding and step of both engines.", decode + step, w=8, unit="s",
        overrides=(dressed("decode stage1", SKY), dressed("step stage1", BLUE),
                   dressed("decode desk", YELLOW), dressed("step desk", ORANGE)),
    )  # fmt: skip
    sizes = [
        Query(f'sum(rate({m.BATCH.name}_sum{{stage="{s}"}}[$__rate_interval])) / '
              f'sum(rate({m.BATCH.name}_count{{stage="{s}"}}[$__rate_interval]))', s)
        for s in m.WORK_STAGES
    ]  # fmt: skip
    batch = series(
        "Events per batch, mean", "Batches grow under load: that is how a burst is absorbed.", sizes, w=8,
        overrides=(dressed("stage1", SKY), dressed("desk", ORANGE)),
    )  # fmt: skip
    probe = (
        Query(quantile(0.5, m.CANARY, "", window=RARE_WINDOW), "p50"),
        Query(quantile(0.99, m.CANARY, "", window=RARE_WINDOW), "p99"),
    )
    canary = series(
        "Canary, seconds", "A probe halt through the whole kill path, there and back; the last 5 min.", probe, w=8, unit="s",
        overrides=(dressed("p50", SKY), dressed("p99", ORANGE)), links=(runbook("canary-late"),),
    )  # fmt: skip
    return work, batch, canary


def _errors() -> tuple[Panel, ...]:
    letters = bars(
        "Dead letters by reason", "Since the worker started.",
        Query(f"sum by (reason) ({m.DEAD_LETTERS.name})", "{{reason}}", incident=True), w=6, h=7, unit="short",
        steps=COUNT_STEPS, top=None, links=(runbook("dead-letters"),),
    )  # fmt: skip
    trouble = [
        Query(_total(metric), name)
        for name, metric in (("gaps", m.SEQ_GAPS), ("repeats", m.SEQ_REPEATS), ("late", m.LATE), ("clamped", m.CLAMPED))
    ]
    colours = (VERMILLION, ORANGE, SKY, PURPLE)
    inputs = series(
        "Input trouble, per second", "Sequence gaps and repeats, late and clamped events.", trouble, w=6,
        overrides=tuple(dressed(q.legend, c) for q, c in zip(trouble, colours, strict=True)),
        links=(runbook("input-quality"),),
    )  # fmt: skip
    failures = series(
        "Rebalances and publish errors", "Rebalances since start; events per second a publisher could not deliver.",
        (Query(f"sum({m.REBALANCES.name})", "rebalances"), Query(_total(m.PUBLISH_ERRORS), "publish errors/s")), w=6,
        overrides=(dressed("rebalances", SKY), dressed("publish errors/s", VERMILLION)),
    )  # fmt: skip
    late = bars(
        "Newest event of each server, age", "By the event's own stamp. A silent server grows.",
        Query(f"time() - {level(m.EVENT_TIME)}", "{{server}}"), w=6, h=7, unit="s",
        steps=((None, BLUE), (5.0, ORANGE), (30.0, VERMILLION)), top=30.0, links=(runbook("server-silent"),),
    )  # fmt: skip
    return letters, inputs, failures, late


def _nodes() -> tuple[Panel, ...]:
    columns = (
        Column(
            "age",
            f"time() - {level(m.SNAPSHOT_TIME, PARTITION)}",
            "s",
            1,
            bare(AGE_STEPS),
            width=90,
        ),
        Column("size", level(m.SNAPSHOT_BYTES, PARTITION), "bytes", 1, width=100),
        Column("lag", level(m.LAG, PARTITION), "short", 0, bare(LAG_STEPS), width=80),
    )
    partitions = table(
        "Partitions", "Age and size of the newest snapshot, and the lag, of each.",
        {"topic": 110, "partition": 90}, columns, w=9, h=8, sort="age",
        links=(runbook("consumer-lag"),),
    )  # fmt: skip
    seen = bars(
        "Desk heartbeat as each gate sees it", "Beyond 2 s the gate is closed.",
        Query(level(m.GATE_HEARTBEAT_AGE), "{{server}}"), w=6, unit="s",
        steps=((None, BLUE), (1.0, ORANGE), (2.0, VERMILLION)), top=2.0, links=(runbook("desk-silent"),),
    )  # fmt: skip
    reported = bars(
        "Last report of each node, age", "Nodes report their build and flags every second.",
        Query(f"time() - {level(m.NODE_TIME)}", "{{server}}"), w=6, unit="s",
        steps=((None, BLUE), (3.0, ORANGE), (10.0, VERMILLION)), top=10.0, links=(runbook("server-silent"),),
    )  # fmt: skip
    version = stat(
        "Version", "What runs.", Query(f"sum by (version) ({select(m.BUILD_INFO)})", "{{version}}"), w=3, h=8,
        mode="name", spark=False,
    )  # fmt: skip
    return partitions, seen, reported, version


def build() -> Board:
    """Health of the watchman itself."""
    taken = rate(m.EVENTS)
    share = bars(
        "Events per second by server", "Who sends how much.", Query(taken, "{{server}}"), w=24, h=8, unit="short",
        steps=((None, SKY),), top=None,
    )  # fmt: skip
    sections = (
        Section("", (_headline(), (latency_by_stage(0.5), latency_by_stage(0.99)), _throughput())),
        Section("Work", (_work(), (share,))),
        Section("Errors", (_errors(),)),
        Section("Partitions, gates, nodes", (_nodes(),)),
    )
    text = "Can the watchman see: lag, speed, errors, snapshots, the canary."
    return Board("pipeline", "Knightwatch 5 · Pipeline", text, sections, span="now-15m")
