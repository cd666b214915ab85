"""Halts: which scopes are stopped, since when, why, and did every gate obey."""

from dashboards.board import Board, Section, runbook
from dashboards.board_fleet import COUNT_STEPS, heartbeat, scope_timeline, stopped
from dashboards.panels import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    RARE_WINDOW,
    SKY,
    STATE_MAPPING,
    VERMILLION,
    WINDOW,
    YELLOW,
    Column,
    Panel,
    Query,
    bars,
    cell,
    dressed,
    level,
    link,
    median,
    quantile,
    series,
    stat,
    table,
    timeline,
)
from dashboards.queries import STOPPED_STATES, loss_per_s, scope_number
from schemas import metrics as m

STAGE_COLOURS = dict(zip(m.LATENCY_STAGES, (SKY, YELLOW, ORANGE, PURPLE), strict=True))


def latency_by_stage(q: float, w: int = 12, h: int = 7) -> Panel:
    """Quantile of each stage of the kill path, in the order in which they happen."""
    stages = [
        Query(
            quantile(q, m.LATENCY, "", f'stage="{stage}"', WINDOW if stage == m.LATENCY_STAGES[0] else RARE_WINDOW),
            stage.replace("_", " "),
            incident=stage != m.LATENCY_STAGES[0],
        )
        for stage in m.LATENCY_STAGES
    ]
    overrides = tuple(dressed(stage.replace("_", " "), colour) for stage, colour in STAGE_COLOURS.items())
    return series(
        f"Kill path, p{q * 100:.0f} by stage",
        "In the order in which they happen; from the verdict on, halts and drills of the last 5 min. Promise up to "
        "blocked: p50 60 ms, p99 150 ms.",
        stages, w=w, h=h, unit="s", steps=((None, BLUE), (0.06, ORANGE), (0.15, VERMILLION)), limit=True,
        overrides=overrides, links=(runbook("slow-kill-path"),),
    )  # fmt: skip


def _scopes() -> Panel:
    age = f"time() - {level(m.SCOPE_SINCE, 'scope')}"
    columns = (
        Column(
            "state",
            scope_number(),
            "none",
            0,
            ((None, BLUE), (1.0, YELLOW)),
            (STATE_MAPPING,),
            incident=True,
            width=120,
        ),
        Column("for", age, "s", 0, incident=True, width=100),
        Column("gates pending", level(m.GATES_PENDING, "scope"), "none", 0, cell((1.0, VERMILLION)), width=150),
        Column("epoch", level(m.SCOPE_EPOCH, "scope"), "none", 0, incident=True, width=80),
    )
    return table(
        "Every scope", "State, time in it, gates not confirmed, transitions so far. Click for the evidence.",
        {"scope": 170}, columns, w=13, h=9, sort="state", links=(runbook("server-halted"),),
        key_link=link("Evidence pack of ${__value.text}", "${desk}/evidence/${__value.text}", new_tab=True),
    )  # fmt: skip


def _obeyed() -> tuple[Panel, ...]:
    refused = series(
        "Orders refused by gates, per second", "What the halt keeps from the market.",
        (Query(f"sum(rate({m.ORDERS_BLOCKED.name}[$__rate_interval]))", "refused"),), w=8, legend=False,
        overrides=(dressed("refused", VERMILLION),),
    )  # fmt: skip
    gates = timeline(
        "Gates", "Closed means: no order passes; cancels always do.", Query(level(m.GATE_OPEN), "{{server}}"), w=8,
        steps=((None, VERMILLION), (1.0, BLUE)), values="never",
    )  # fmt: skip
    working = bars(
        "Orders still working", "By server; 0 is what confirmed means.", Query(level(m.ORDERS_WORKING), "{{server}}"),
        w=8, h=7, unit="short", steps=((None, BLUE),), top=None,
    )  # fmt: skip
    return gates, working, refused


def _causes() -> tuple[Panel, ...]:
    causes = Query(f"sum by (detector) ({m.HALT_CAUSES.name})", "{{detector}}", incident=True)
    why = bars(
        "Causes of halts", "How many halts each detector contributed to.", causes, w=11, h=9, unit="short",
        steps=COUNT_STEPS, top=None,
    )  # fmt: skip
    moves = Query(f"sum by (state) ({m.TRANSITIONS.name})", "{{state}}", incident=True)
    transitions = bars(
        "Transitions", "By the state entered, since the desk started.", moves, w=8, h=7, unit="short",
        steps=((None, SKY),), top=None,
    )  # fmt: skip
    acked = bars(
        "Reports of gates", "By status, since the desk started.",
        Query(f"sum by (state) ({m.ACKS.name})", "{{state}}", incident=True), w=8, h=7, unit="short",
        steps=((None, SKY),), top=None,
    )  # fmt: skip
    return why, transitions, acked


def build() -> Board:
    """State, obedience, causes, speed."""
    why, transitions, acked = _causes()
    pending = Query(f"sum({level(m.GATES_PENDING, 'scope')})", "gates")
    is_stopped = f"{level(m.SCOPE_STATE, 'scope', STOPPED_STATES)} > 0"
    age = f"max((time() - {level(m.SCOPE_SINCE, 'scope')}) and on (scope) {is_stopped})"
    oldest = Query(age, "oldest", incident=True)
    headline = (
        stopped(9),
        stat("Gates pending", "0 means: nothing is working any more.", pending, w=4, steps=COUNT_STEPS,
             defaults={"decimals": 0}, links=(runbook("gate-unconfirmed"),)),
        stat("Oldest halt", "How long the longest halt has stood.", oldest, w=4, unit="s", spark=False,
             defaults={"decimals": 0}),
        stat("Loss per second", "Should be near zero soon after a halt.", Query(loss_per_s(), "per second"), w=4,
             unit="currencyUSD"),
        heartbeat(),
    )  # fmt: skip
    lost = (
        Query(f"sum({level(m.LOSS_USD)})", "all servers"),
        Query(f"max({level(m.LOSS_USD)})", "worst server"),
        Query(median(level(m.LOSS_USD)), "peers' median"),
    )
    money = series(
        "Lost today, USD", "The curve bends at the halt.", lost, w=8, unit="currencyUSD",
        overrides=(dressed("all servers", SKY), dressed("worst server", VERMILLION),
                   dressed("peers' median", GREY, dash=True)),
    )  # fmt: skip
    sections = (
        Section("", (headline, (scope_timeline(h=6),), (_scopes(), why))),
        Section("Did the gates obey", (_obeyed(),)),
        Section("How fast, how often", ((latency_by_stage(0.5), latency_by_stage(0.99)), (money, transitions, acked))),
    )
    return Board(
        "halts", "Knightwatch 3 · Halts", "Who is stopped, why, and did the gates obey.", sections, span="now-15m"
    )
