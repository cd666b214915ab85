"""Detectors: how near each one is to its bound, on which server, and what its last breach said."""

from dashboards.board import DETECTOR, SERVER, Board, Section, runbook
from dashboards.panels import (
    ORANGE,
    RATIO_CELL,
    RATIO_STEPS,
    SERVER_LINK,
    SERVER_URL,
    SKY,
    VERMILLION,
    Column,
    Panel,
    Query,
    bars,
    dressed,
    level,
    link,
    rate,
    select,
    series,
    table,
    timeline,
)
from schemas import metrics as m

CHOSEN = 'server=~"$server", detector=~"$detector"'
PAIR = "server, detector"


def _distances() -> tuple[Panel, ...]:
    by_detector = Query(level(m.SCORE_RATIO, "detector", CHOSEN), "{{detector}}")
    now = bars(
        "Nearest to its bound, by detector", "Highest score / limit of any chosen server. 1 is the bound.", by_detector,
        w=8, h=10, unit="none", links=(runbook("who-differs"),),
    )  # fmt: skip
    then = timeline(
        "Score / limit by detector", "Worst chosen server. Yellow from half, orange from 80 %, red at the bound.",
        by_detector, w=16, h=10, steps=RATIO_STEPS, defaults={"decimals": 2},
    )  # fmt: skip
    return now, then


def _contributions() -> tuple[Panel, ...]:
    """One band per server for the chosen detector, repeated: same detector, all servers, one look."""
    one = 'server=~"$server", detector="$detector"'
    panel = timeline(
        "$detector by server", "Score / limit of this detector on each server.",
        Query(level(m.SCORE_RATIO, "server", one), "{{server}}"), w=8, h=7, steps=RATIO_STEPS,
        defaults={"decimals": 2}, data_links=(SERVER_LINK,), repeat="detector", per_row=3,
    )  # fmt: skip
    return (panel,)


def _breaches() -> tuple[Panel, ...]:
    columns = (
        Column("score", level(m.BREACH_SCORE, PAIR, CHOSEN), "short", 2, incident=True),
        Column("limit", level(m.BREACH_LIMIT, PAIR, CHOSEN), "short", 2, incident=True),
        Column("baseline", level(m.BREACH_BASELINE, PAIR, CHOSEN), "short", 2, incident=True),
        Column(
            "score / limit now",
            level(m.SCORE_RATIO, PAIR, CHOSEN),
            "none",
            2,
            RATIO_CELL,
        ),
    )
    newest = table(
        "Newest breach of each detector", "In the detector's own unit (docs/detectors.md), with limit and baseline.",
        {"server": 75, "detector": 130}, columns, w=14, h=9, sort="score / limit now",
        key_link=link("Open server ${__value.text}", SERVER_URL + "${__value.text}"),
    )  # fmt: skip
    firm = bars(
        "Fleet detectors against limit", "Detectors that look at all servers at once: 1 is the bound.",
        Query(level(m.FIRM_SCORE_RATIO, "detector"), "{{detector}}"), w=10, h=9, unit="none",
    )  # fmt: skip
    return newest, firm


def _verdicts() -> tuple[Panel, ...]:
    opening = select(m.VERDICTS, 'state="open"')
    opened = Query(f"sum by (detector) ({opening})", "{{detector}}", incident=True)
    pace_by_state = Query(rate(m.VERDICTS, "state"), "{{state}}", incident=True)
    counts = bars(
        "Breaches opened, by detector", "Since the worker started.", opened, w=10, h=8, unit="short",
        steps=((None, SKY),), top=None,
    )  # fmt: skip
    pace = series(
        "Verdicts per second", "Opened, continued, closed.", (pace_by_state,), w=14, h=8,
        overrides=(dressed("open", VERMILLION), dressed("update", ORANGE), dressed("close", SKY)),
    )  # fmt: skip
    return counts, pace


def build() -> Board:
    """Distance to the bound first, then each detector over all servers, then what the breaches said."""
    sections = (
        Section("", (_distances(), _breaches())),
        Section("Each detector, all servers", (_contributions(),)),
        Section("Verdicts", (_verdicts(),)),
    )
    text = "How near each detector is to its bound, and what its last breach said."
    return Board("detectors", "Knightwatch 4 · Detectors", text, sections, (SERVER, DETECTOR), "now-15m")
