"""Server: one router in depth. Its flow, parents against children, both sides of the spread, scores, money, gate."""

from dashboards.board import ONE_SERVER, Board, Section, runbook
from dashboards.board_fleet import COUNT_STEPS, MONEY_STEPS, until_limit
from dashboards.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RATIO_STEPS,
    SKY,
    STATE_MAPPING,
    VERMILLION,
    YELLOW,
    Column,
    Panel,
    Query,
    bars,
    dressed,
    level,
    median,
    named,
    rate,
    select,
    series,
    stat,
    table,
    timeline,
)
from dashboards.queries import ONE, fanout, limit_used, scope_number, time_to_limit
from schemas import metrics as m


def _headline() -> tuple[Panel, ...]:
    state = Query(scope_number('scope=~"server:$server"'), "state", incident=True)
    worst = Query(f"max({level(m.SCORE_RATIO, where=ONE)})", "worst")
    lost = Query(level(m.LOSS_USD, where=ONE), "lost")
    second = Query(level(m.LOSS_USD_PER_S, where=ONE), "per second")
    gate = named({"0": ("closed", VERMILLION), "1": ("open", BLUE)})
    return (
        stat("State of $server", "The state of scope server:$server.", state, w=4, spark=False,
             mappings=(STATE_MAPPING,), links=(runbook("server-halted"),)),
        stat("Gate", "Closed: the router may not send. Cancels always pass.",
             Query(level(m.GATE_OPEN, where=ONE), "gate"), spark=False, mappings=(gate,)),
        stat("Worst score / limit", "1 is the bound.", worst, unit="none", steps=RATIO_STEPS,
             defaults={"decimals": 2}),
        stat("Orders working", "Orders not yet known to be gone.",
             Query(level(m.ORDERS_WORKING, where=ONE), "working"), defaults={"decimals": 0}),
        stat("Lost today", "Marked at the NBBO.", lost, w=4, unit="currencyUSD",
             steps=((None, BLUE), (10_000.0, ORANGE), (100_000.0, VERMILLION))),
        stat("Loss per second", "What waiting costs.", second, w=4, unit="currencyUSD", steps=MONEY_STEPS),
        until_limit(time_to_limit(ONE)),
    )  # fmt: skip


def _flow() -> tuple[Panel, ...]:
    kinds = (
        ("orders", m.ORDERS, SKY),
        ("fills", m.FILLS, GREEN),
        ("cancels", m.CANCELS, YELLOW),
        ("rejects", m.REJECTS, VERMILLION),
    )
    queries = [Query(rate(metric, where=ONE), name) for name, metric, _ in kinds]
    queries.append(Query(median(rate(m.ORDERS)), "peers' orders"))
    overrides = (
        *(dressed(name, colour) for name, _, colour in kinds),
        dressed("peers' orders", GREY, dash=True, width=1),
    )
    flow = series("Flow, events per second", "Dashed: what the median server sends.", queries, overrides=overrides)
    family = (
        Query(rate(m.ORDERS, where=ONE), "children"),
        Query(rate(m.PARENTS, where=ONE), "parents"),
    )
    log = {"scaleDistribution": {"log": 10, "type": "log"}}
    parents = series(
        "Children against parents, per second",
        "Logarithmic. A healthy router's lines move together; a runaway sends children while no parent comes in.",
        family, w=8, custom=log, overrides=(dressed("children", SKY), dressed("parents", ORANGE)),
    )  # fmt: skip
    ratio = stat(
        "Children per parent", "Over the last seconds.", Query(fanout(ONE), "children per parent"), w=4, h=7,
        steps=((None, BLUE), (50.0, ORANGE), (200.0, VERMILLION)), defaults={"decimals": 1},
    )  # fmt: skip
    return flow, parents, ratio


def _spread() -> tuple[Panel, ...]:
    sides = (
        Query(rate(m.BUYS_AT_ASK, where=ONE), "bought at ask"),
        Query(f"-{rate(m.SELLS_AT_BID, where=ONE)}", "sold at bid"),
    )
    crossed = series(
        "Both sides of the spread, executions per second",
        "Up: bought at the ask. Down: sold at the bid. Both large at once with a net near zero is the ping-pong shape.",
        sides, w=9, overrides=(dressed("bought at ask", SKY), dressed("sold at bid", ORANGE)),
        defaults={"custom.axisCenteredZero": True},
    )  # fmt: skip
    burn = (
        Query(rate(m.SPREAD_BURN_USD, where=ONE), "spread burnt"),
        Query(median(rate(m.SPREAD_BURN_USD)), "peers' median"),
    )
    burnt = series(
        "Spread burnt, USD per second", "Half-spread and slippage against the NBBO.", burn, w=9, unit="currencyUSD",
        overrides=(dressed("spread burnt", VERMILLION), dressed("peers' median", GREY, dash=True, width=1)),
    )  # fmt: skip
    touched = (Query(level(m.SYMBOLS, where=ONE), "symbols"), Query(median(level(m.SYMBOLS)), "peers' median"))
    breadth = series(
        "Symbols touched in 100 ms", "A runaway over many symbols is broad at once.", touched, w=6,
        overrides=(dressed("symbols", SKY), dressed("peers' median", GREY, dash=True, width=1)),
    )  # fmt: skip
    return crossed, burnt, breadth


def _scores() -> tuple[Panel, ...]:
    ratio = Query(level(m.SCORE_RATIO, "detector", ONE), "{{detector}}")
    now = bars("Scores against their limits, now", "1 is the bound.", ratio, w=8, h=9, unit="none")
    then = timeline(
        "Scores against their limits, over time", "Yellow from half, orange from 80 %, red at the bound.", ratio,
        w=16, h=9, steps=RATIO_STEPS, defaults={"decimals": 2},
    )  # fmt: skip
    return now, then


def _money() -> tuple[Panel, ...]:
    exposure = (
        Query(level(m.GROSS_USD, where=ONE), "gross"),
        Query(level(m.NET_USD, where=ONE), "net"),
        Query(level(m.GROSS_USD_LIMIT, where=ONE), "limit of gross"),
    )
    gross = series(
        "Exposure and its limit", "Gross incl. working orders.", exposure, w=9, unit="currencyUSD",
        overrides=(
            dressed("gross", SKY), dressed("net", PURPLE), dressed("limit of gross", VERMILLION, dash=True, width=2),
        ),
        links=(runbook("exposure-near-limit"),),
    )  # fmt: skip
    loss = series(
        "Lost today, USD", "Marked at the NBBO.", (Query(level(m.LOSS_USD, where=ONE), "lost"),), w=9, legend=False,
        unit="currencyUSD", overrides=(dressed("lost", VERMILLION),),
    )  # fmt: skip
    used = stat(
        "Of the limit", "Gross exposure as a share of its limit.", Query(limit_used(ONE), "used"), w=6, h=7,
        unit="percentunit", steps=RATIO_STEPS, defaults={"decimals": 0},
    )  # fmt: skip
    return gross, loss, used


def _gate() -> tuple[Panel, ...]:
    blocked = Query(rate(m.ORDERS_BLOCKED, "reason", ONE), "{{reason}}")
    reasons = bars(
        "Orders refused by the gate, per second", "By reason: a halt, or the gate failing closed.", blocked, w=8, h=6,
        unit="short", steps=COUNT_STEPS, top=None,
    )  # fmt: skip
    quality = [
        Query(rate(metric, where=ONE), name)
        for name, metric in (("gaps", m.SEQ_GAPS), ("repeats", m.SEQ_REPEATS), ("late", m.LATE), ("clamped", m.CLAMPED))
    ]
    colours = (VERMILLION, ORANGE, SKY, PURPLE)
    inputs = series(
        "Input trouble, per second", "Sequence gaps and repeats, late and clamped events.", quality, w=8, h=6,
        overrides=tuple(dressed(q.legend, c) for q, c in zip(quality, colours, strict=True)),
        links=(runbook("input-quality"),),
    )  # fmt: skip
    column = Column("nodes", select(m.NODE_INFO, ONE), "none", 0)
    builds = table(
        "What it runs, what was declared", "A build that differs from the declared one is how 2012-08-01 began.",
        {"server": 75, "build": 0, "declared": 0}, (column,), w=8, h=6, sort="server",
        drop=("__name__", "instance", "job", "Value"), links=(runbook("drift"),),
    )  # fmt: skip
    return reasons, inputs, builds


def build() -> Board:
    """One server, top to bottom in the order in which one asks."""
    sections = (
        Section("", (_headline(), _scores())),
        Section("Flow", (_flow(), _spread())),
        Section("Money", (_money(),)),
        Section("Gate, input, build", (_gate(),)),
    )
    return Board("server", "Knightwatch 2 · Server", "One server in depth.", sections, (ONE_SERVER,))
