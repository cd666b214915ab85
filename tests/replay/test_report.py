"""The page: stands alone, says what the run said, and escapes what it shows."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from detectors.config import Stage1Config
from halts.config import DeskConfig
from replay.engines import live_engines
from replay.parquet import ParquetLog
from replay.report import Content, render
from replay.report_data import POINTS_MAX, Gathered
from replay.runner import Observers, Result, Run
from schemas.records import FeatureRow, Money, Source
from tests.replay.test_score import score_of, write_scenario

pytest.importorskip("plotly")
S = 1_000_000_000
T0 = 1_343_827_800 * S


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.outside: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        self.outside += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self._in == "h2" and data.strip():
            self.headings.append(data)


def test_a_run_as_a_page(tmp_path: Path) -> None:
    path, truth = write_scenario(tmp_path / "a.parquet", "power-peg", 0.3)
    gathered, seen = Gathered(), []
    observers = gathered.observers(Observers(events=seen.append))
    result = Run(ParquetLog(path), live_engines(Stage1Config(), DeskConfig()), observers=observers).run()
    assert sum(seen) == truth.events
    score = score_of(path, truth)
    verdict = {"cost_usd": 7.0, "totals": {"loss_usd": 7.0, "false_halts": 0}}
    verdicts = {f"{logs}_{which}": verdict for logs in ("train", "test") for which in ("base", "best")}
    trial = {"number": 0, "loss_usd": 5.0, "false_halts": 1}
    evidence = {"trials": [trial], "front": [0], "train": ["x"], "test": ["y"], **verdicts}
    changes = {"stage1.rate.prior_per_s": (200.0, "<b>")}
    text = render(Content("T", result, gathered, score, evidence, changes))
    page = Page(text)
    assert page.headings == [
        "In short", "Halts", "Flow", "Scores", "Money", "What each detector contributed", "False halts against loss",
        "Changed since the approved configuration",
    ]  # fmt: skip
    assert page.outside == []  # nothing is fetched
    assert "&lt;b&gt;" in text
    assert "<td><b>" not in text
    assert re.search(r"<td>server:R\d</td>", text)
    assert result.digest in text


def row(server: str, at_s: float, orders: float, score: float, loss: float) -> FeatureRow:
    ts = T0 + int(at_s * S)
    source = Source("orderflow", 0, 0)
    return FeatureRow(server, ts, ts // 100_000_000, {"orders": orders}, {"rate": score}, source, Money(loss))


def test_lines_are_sums_maxima_and_last_values() -> None:
    gathered = Gathered()
    take = gathered.observers(Observers()).input
    for i in range(12_000):  # 20 minutes: more rows than points
        take(row("R1", i / 10, 2.0, 5.0 if i == 6_000 else 0.5, float(i)))
    take(row("R2", 600.0, 7.0, 0.1, 3.0))
    flow, score, loss = gathered.flow(), gathered.score(), gathered.loss()
    assert len(flow.times) <= POINTS_MAX + 1
    assert flow.values["R1"][5] == pytest.approx(20.0, rel=0.06)  # 2 orders a tenth of a second
    seconds = float((flow.times[1] - flow.times[0]) / np.timedelta64(1, "s"))
    assert flow.values["R2"].sum() * seconds == pytest.approx(7.0)
    assert score.values["rate"].max() == 5.0
    assert loss.values["R1"][-1] == 11_999
    assert loss.values["R2"][0] == 0
    assert loss.values["R2"][-1] == 3.0
    assert not np.isnan(loss.values["R2"]).any()


def test_an_empty_run_has_a_page_too() -> None:
    text = render(Content("T", Result(), Gathered(), None, None, None))
    assert Page(text).headings[:2] == ["In short", "Halts"]
