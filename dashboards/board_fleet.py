"""Fleet: who differs. Headline with money and time, the servers side by side, small multiples on one scale."""

from collections.abc import Callable
from typing import Final

from dashboards.board import EVIDENCE, SERVER, Board, Section, runbook
from dashboards.panels import (
    BLUE,
    CLEAR,
    GREY,
    ORANGE,
    RATIO_CELL,
    RATIO_STEPS,
    SERVER_LINK,
    SERVER_URL,
    SKY,
    STATE_MAPPING,
    VERMILLION,
    YELLOW,
    Column,
    Panel,
    Query,
    Steps,
    bare,
    bars,
    beyond,
    cell,
    dressed,
    level,
    link,
    median,
    named,
    rate,
    series,
    stat,
    table,
    timeline,
)
from dashboards.queries import (
    HOUR_S,
    STOPPED_STATES,
    crossing,
    crossing_share,
    desk_age,
    fanout,
    limit_used,
    loss_per_s,
    reject_share,
    scope_number,
    time_to_limit,
)
from schemas import metrics as m

MONEY_STEPS: Final[Steps] = ((None, BLUE), (100.0, ORANGE), (10_000.0, VERMILLION))
"""USD per second: a lot of ordinary spread cost is below 100; Knight burnt 170,000."""
COUNT_STEPS: Final[Steps] = ((None, BLUE), (1.0, VERMILLION))
WORST: Final = level(m.SCORE_RATIO)


def stopped(w: int) -> Panel:
    """Which scopes are stopped, by name."""
    query = Query(f"{level(m.SCOPE_STATE, 'scope', STOPPED_STATES)} > 0", "{{scope}}", incident=True)
    text = "Scopes that are being halted or are halted. Latched: only an authorised resume reopens one."
    return stat(
        "Stopped now", text, query, w=w, steps=COUNT_STEPS, mode="name", spark=False,
        defaults={"noValue": "nothing is stopped"}, data_links=(EVIDENCE,), links=(runbook("server-halted"),),
    )  # fmt: skip


def until_limit(expr: str, w: int = 3) -> Panel:
    """Seconds until exposure meets its limit at the present growth."""
    text = "Distance of gross exposure to its limit, divided by its growth over 10 s. The nearest server counts."
    steps: Steps = ((None, VERMILLION), (60.0, ORANGE), (600.0, BLUE))
    return stat(
        "Time to limit", text, Query(expr, "time to limit"), w=w, unit="s", steps=steps, spark=False,
        mappings=(named({"0": ("passed", VERMILLION)}), beyond(HOUR_S, "over 1 h", BLUE)), defaults={"decimals": 0},
    )  # fmt: skip


def heartbeat(w: int = 3) -> Panel:
    """How old is what we see."""
    text = "Age of the desk's last heartbeat. Beyond 2 s every gate closes by itself, and this board is stale."
    steps: Steps = ((None, BLUE), (1.0, ORANGE), (2.0, VERMILLION))
    query = Query(desk_age(), "heartbeat age")
    return stat(
        "Desk heartbeat", text, query, w=w, unit="s", steps=steps, spark=False, defaults={"decimals": 1},
        links=(runbook("desk-silent"),),
    )  # fmt: skip


def _headline() -> tuple[Panel, ...]:
    lost = Query(f"sum({level(m.LOSS_USD)})", "lost")
    second = Query(loss_per_s(), "per second")
    minute = Query(f"60 * {loss_per_s()}", "per minute")
    pending = Query(f"sum({level(m.GATES_PENDING, 'scope')})", "gates")
    return (
        stopped(6),
        stat("Lost today", "All servers, marked at the NBBO.", lost, unit="currencyUSD",
             steps=((None, BLUE), (10_000.0, ORANGE), (100_000.0, VERMILLION))),
        stat("Loss per second", "What the flow of this moment costs each second.", second,
             unit="currencyUSD", steps=MONEY_STEPS),
        stat("Cost of 1 min", "Loss per second times 60: the price of not deciding.", minute,
             unit="currencyUSD", steps=tuple((v and v * 60, c) for v, c in MONEY_STEPS)),
        until_limit(f"min({time_to_limit()})"),
        stat("Gates pending", "Gates that have not confirmed a halt. 0 means: nothing is working any more.",
             pending, steps=COUNT_STEPS, defaults={"decimals": 0}, links=(runbook("gate-unconfirmed"),)),
        heartbeat(),
    )  # fmt: skip


def _who_differs() -> Panel:
    share: Steps = cell((0.5, YELLOW), (0.8, ORANGE))
    orders = rate(m.ORDERS)
    times_peers = f"{orders} / on () group_left () clamp_min({median(orders)}, 0.1)"
    drift = named({"0": ("as declared", CLEAR), "1": ("DIFFERS", VERMILLION)})
    columns = (
        Column("score", WORST, "none", 2, RATIO_CELL, width=75),
        Column("orders/s", orders, width=80),
        Column("× peers", times_peers, "none", 1, cell((3.0, ORANGE), (10.0, VERMILLION)), width=80),
        Column("per parent", fanout(), "short", 1, cell((50.0, ORANGE), (200.0, VERMILLION)), width=95),
        Column("crossing", crossing_share(), "percentunit", 0, share, width=85),
        Column("rejects", reject_share(), "percentunit", 0, cell((0.1, YELLOW), (0.3, ORANGE)), width=75),
        Column("USD/s", level(m.LOSS_USD_PER_S), "currencyUSD", 0, bare(MONEY_STEPS), width=80),
        Column("of limit", limit_used(), "percentunit", 0, RATIO_CELL, width=80),
        Column("build", level(m.NODE_DRIFT), "none", 0, cell((1.0, VERMILLION)), (drift,), width=115),
    )
    text = (
        "One server a row, the worst on top. Score: worst score / limit, 1 is the bound. × peers: orders/s against the "
        "median of all servers. Per parent: children for each parent order. Crossing: share of executions that bought "
        "at the ask or sold at the bid. Of limit: gross exposure. Build: does the node run what was declared?"
    )
    key_link = link("Open server ${__value.text}", SERVER_URL + "${__value.text}")
    return table(
        "Who differs", text, {"server": 75}, columns, w=16, h=10, sort="score", key_link=key_link,
        links=(runbook("who-differs"),),
    )  # fmt: skip


def scope_timeline(w: int = 24, h: int = 5) -> Panel:
    """State of every scope over time, in words and colours."""
    text = "ACTIVE, WARNED (blocks nothing), HALTING (blocked, gates confirming), HALTED (nothing working), RESUMING."
    return timeline(
        "State of each scope", text, Query(scope_number(), "{{scope}}", incident=True), w=w, h=h, values="auto",
        mappings=(STATE_MAPPING,), data_links=(EVIDENCE,), links=(runbook("server-halted"),),
    )  # fmt: skip


def _multiple(title: str, text: str, of: Callable[[str], str], unit: str = "short") -> Panel:
    """One small panel for each server: its line, the peers' median dashed, and one scale for all."""
    queries = (
        Query(of('server=~"$server"'), "this server"),
        Query(median(of("")), "peers' median"),
        Query(f"max({of('')})", "scale"),
    )
    overrides = (
        dressed("this server", SKY),
        dressed("peers' median", GREY, dash=True, width=1),
        dressed("scale", GREY, hidden=True),
    )
    return series(
        f"$server: {title}", text, queries, w=3, h=5, unit=unit, legend=False, overrides=overrides,
        links=(link("Open server", SERVER_URL + "${server}"),), repeat="server", per_row=8,
    )  # fmt: skip


def _multiples() -> tuple[Section, ...]:
    peers = " Dashed: the peers' median. All servers share one scale."

    def orders(where: str) -> str:
        return rate(m.ORDERS, where=where)

    def burn(where: str) -> str:
        return rate(m.SPREAD_BURN_USD, where=where)

    return (
        Section("", ((_multiple("orders/s", "Child orders sent." + peers, orders),),)),
        Section(
            "Crossing: bought at the ask or sold at the bid, executions per second",
            ((_multiple("crossing/s", "Aggressive executions on both sides." + peers, crossing),),),
        ),
        Section(
            "Spread burnt, USD per second",
            ((_multiple("USD/s burnt", "Half-spread and slippage paid." + peers, burn, "currencyUSD"),),),
        ),
    )


def build() -> Board:
    """The board that hangs on the wall."""
    worst = timeline(
        "Worst score against its limit", "Blue: quiet. Yellow from half, orange from 80 %, red at the bound.",
        Query(WORST, "{{server}}"), w=8, h=10, steps=RATIO_STEPS, defaults={"decimals": 2}, data_links=(SERVER_LINK,),
    )  # fmt: skip
    used = bars(
        "Gross exposure against limit", "Gross incl. working orders, as a share of the server's limit.",
        Query(limit_used(), "{{server}}"), w=12, data_links=(SERVER_LINK,), links=(runbook("exposure-near-limit"),),
    )  # fmt: skip
    firm = bars(
        "Fleet detectors against limit", "Detectors that look at all servers at once: 1 is the bound.",
        Query(level(m.FIRM_SCORE_RATIO, "detector"), "{{detector}}"), w=12, unit="none",
    )  # fmt: skip
    sections = (
        Section("", (_headline(), (_who_differs(), worst), (scope_timeline(),))),
        *_multiples(),
        Section("Limits", ((used, firm),)),
    )
    return Board("fleet", "Knightwatch 1 · Fleet", "Who differs, what it costs, how long is left.", sections, (SERVER,))
