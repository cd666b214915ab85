"""What the benchmarks rest on: the oracle, the page, the statistics. If these are wrong, every figure is."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import calm, plots, quality
from benchmarks.__main__ import plan
from benchmarks.lab import flow
from benchmarks.lab.background import Again
from benchmarks.lab.cluster import partition_of
from benchmarks.lab.result import BenchmarkError, quantile, save, spread
from benchmarks.lab.rows import Rows
from benchmarks.memory import Book
from benchmarks.peers.side import numbers_at
from benchmarks.peers.sum_loop import number_reader
from schemas.codec import decode, encode_sbe_each
from schemas.events import Kind


@pytest.fixture(scope="module")
def events() -> Any:
    return flow.power_peg(3_000, 1)


def test_the_oracle_is_what_a_loop_finds(events: Any) -> None:
    sums: dict[str, dict[int, int]] = {}
    for event in events:
        mine = sums.setdefault(event["server"].decode(), {})
        second = int(event["ts"]) // 1_000_000_000
        mine[second] = mine.get(second, 0) + int(event["qty"])
    assert flow.windowed(events) == sums


def test_what_rows_must_add_up_to_leaves_out_the_event_of_the_open_frame(events: Any) -> None:
    found = flow.counted(events)
    for server, values in found.items():
        mine = events[events["server"] == server.encode()]
        assert mine["kind"][-1] == Kind.cancel
        assert values["cancels"] == int((mine["kind"] == Kind.cancel).sum()) - 1
        assert values["orders"] == int((mine["kind"] == Kind.order).sum())
        assert (np.diff(mine["seq"].astype(np.int64)) == 1).all()


def test_flow_of_the_benchmarks_keeps_every_rule(events: Any) -> None:
    book = Book("R1")
    begin = int(events["ts"][0])
    for made in (events, book.opened(250, begin, begin + 10**9), book.closed(50, begin + 10**9, begin + 2 * 10**9)):
        got = decode("orderflow", 0, encode_sbe_each(made), list(range(len(made))))
        assert got.refused == []
        assert len(got.batch) == len(made)


def test_a_book_keeps_as_many_orders_alive_as_it_says() -> None:
    book = Book("R1")
    opened, closed = book.opened(250, 10**18, 10**18 + 1), book.closed(100, 10**18 + 2, 10**18 + 3)
    ids = set(opened["cl_ord_id"][opened["kind"] == Kind.order]) - set(closed["orig_cl_ord_id"])
    assert len(ids) == book.next - book.first == 150
    assert closed["seq"][0] == opened["seq"][-1] + 1


def test_background_flow_repeats_without_repeating_an_id() -> None:
    events = flow.calm(400, 3)
    again = Again(events)
    first = np.concatenate([again.take(0, 250), again.take(250, 400)])
    second = again.take(400, 800)
    assert (first["cl_ord_id"] == events["cl_ord_id"]).all()
    for name in ("cl_ord_id", "parent_id", "exec_id"):
        assert set(first[name]) & set(second[name]) <= {b""}
    for server in np.unique(events["server"]):
        seqs = [part["seq"][part["server"] == server] for part in (first, second)]
        assert (np.diff(np.concatenate(seqs).astype(np.int64)) == 1).all()


def test_peers_read_the_numbers_that_the_schema_says(events: Any) -> None:
    read = number_reader(*map(int, numbers_at()))
    for event, value in zip(events[:50], encode_sbe_each(events[:50]), strict=True):
        assert read(value) == (int(event["qty"]), int(event["ts"]))


def test_partitions_are_those_of_kafka() -> None:
    """murmur2 of Kafka's own test vectors' kind: fixed, or a filled topic would not be what routers fill."""
    from kafka.partitioner.default import murmur2

    for name in (b"R1", b"R2", b"a-longer-name"):
        assert partition_of(name, 8) == (murmur2(name) & 0x7FFFFFFF) % 8


def test_statistics() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [quantile(values, q) for q in (0.0, 0.2, 0.5, 0.99, 1.0)] == [1.0, 1.0, 3.0, 5.0, 5.0]
    assert spread(values) == {"median": 3.0, "min": 1.0, "max": 5.0}
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_result_is_written_whole(tmp_path: Path) -> None:
    path = save("some", {"a": 1}, tmp_path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["some.json"]


def made(name: str, seed: int) -> dict[str, Any]:
    return {"scenario": name, "seed": seed, "of": [1.5, None]}


def refused(name: str, seed: int) -> dict[str, Any]:
    raise AssertionError(f"{name} {seed} was run again")


def test_a_run_that_goes_on_runs_only_what_is_missing(tmp_path: Path) -> None:
    path, options = tmp_path / "rows", {"minutes": 4.0}
    first = list(quality.run({"benign": [partial(made, "calm", s) for s in (1, 3)]}, 1, Rows(path, options)))
    jobs = [partial(refused, "calm", 1), partial(made, "calm", 2), partial(refused, "calm", 3)]
    again = list(quality.run({"benign": jobs}, 1, Rows(path, options)))
    assert again == [first[0], ("benign", made("calm", 2)), first[1]]
    assert len(Rows(path, options).found) == 3
    with pytest.raises(BenchmarkError, match="give another file"):
        Rows(path, {"minutes": 2.0})


def test_a_campaign_goes_on_with_fresh_seeds_until_it_is_long_enough() -> None:
    day = {"seed": 1_004, "router_days": 6.5, "false_halts": 0, "warnings": 1, "events": 10, "cpu_s": 65.0}
    rows = [{**day, "commit": "a", "what": []}, {**day, "commit": "b", "what": ["WARNED"], "seed": 1_002}]
    assert calm.missing(rows, 13.0, 330.0, "c") == []
    assert calm.missing(rows, 13.1, 330.0, "c") == [(1_005, 330.0, "c")]
    assert [seed for seed, *_ in calm.missing([], 20.0, 330.0, "c")] == [1_000, 1_001, 1_002]
    found = calm.totals(rows)
    assert (found["router_days"], found["warnings"], found["cpu_s_per_router_day"]) == (13.0, 2, 10.0)
    assert found["false_halts_per_router_day_95"][1] == pytest.approx(3 / 13, rel=0.3)
    text = "\n".join(calm.table(found))
    assert "| b | 1 | 6.5 | 10 | 0 | 1 |" in text
    assert "13.0 router-days of calm, 0 false halts" in text


def test_the_page_is_what_the_results_say() -> None:
    pages = [path.read_text(encoding="utf-8") for path in plots.PAGES]
    for page in pages:
        assert plots.written(page, plots.load()) == page, "run: python -m benchmarks.plots"
    for name in plots.TABLES:
        assert f"<!-- results {name} -->" in "".join(pages)
    with pytest.raises(ValueError, match="mark"):
        plots.written("<!-- results nonsense -->", {})


def test_every_benchmark_is_in_the_plan() -> None:
    assert {"engine", "gate", "latency", "linearity", "memory", "publish", "throughput"} <= plan().keys()
    assert "plots" not in plan()


ORIGIN: dict[str, Any] = {
    "commit": "0", "took_s": 1.0,
    "machine": {"cpu": "c", "cores": 2, "memory_mb": 1024, "system": "s", "python": "3", "load_1_min": 0.0, "packages": {}},
}  # fmt: skip
RATE = {"median": 1000, "min": 900, "max": 1100}
SIDE = {"events": 10, "events_per_s": RATE, "cpu_s_per_million": 1.0, "peak_rss_mb": 10.0, "topic_events": 10}
THROUGHPUT = {
    "sides": {"ours": SIDE, "ours_2_workers": SIDE, "kafka_streams": SIDE}, "ratio": {"kafka_streams": 1.2, "quix": None},
    "missing": {"quix": "no network\nat all"}, "targets": {"kafka_streams": 1.5, "quix": 8},
    "scaling": {"1": 1000, "2": 1500},
}  # fmt: skip
TIMES = {"p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0}
PART = {"rate": 100.0, "n": 2, "missed": 0, **TIMES, "stages": {"breach_on_kafka": TIMES, "halt_on_kafka": None},
        "bad_orders": {"median": 3.0, "max": 5.0}, "samples_ms": [1.0, 3.0]}  # fmt: skip
ILL = {
    "scenario": "power-peg", "seed": 1, "detected": True, "time_to_halt_s": 0.5, "bad_orders_before_halt": 2,
    "loss_usd": 66.0, "loss_usd_unhalted": 1e6, "scope_ok": True, "detectors": ["conservation"],
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "throughput-sbe": THROUGHPUT,
    "throughput-json": THROUGHPUT,
    "latency": {
        **PART, "low": PART, "target": {"p50_ms": 60, "p99_ms": 150},
        "faust_low": {"rate": 100.0, "n": 2, "result_on_kafka": TIMES, "samples_ms": [2.0, 3.0]},
    },
    "engine": {
        "events_per_s": 10, "ns_per_event": 5, "ns_per_event_by_batch": {"16": 9, "64": 5}, "by_detector_ns": {"rate": 3},
    },
    "linearity": {"ns_per_event_by_part": [1.0, 2.0], "ns_per_event_by_length": {"10": 1.0}, "growth": 1.0},
    "memory": {
        "orders": 5, "rss_mb_start": 1.0, "rss_mb_live": 2.0, "rss_mb_end": 2.0, "rss_mb_peak": 2.5, "bytes_per_order": 9,
        "minutes": 0.5, "slope_mb_per_hour": None, "target_mb": 600, "samples": [[0.0, 1.0], [1.0, 2.0]],
    },
    "publish": {
        "by_call": {"1": {"events_per_s": RATE, "cpu_us_per_event": 1.0, "events_per_value": 2.0}},
        "low_rate_ms": {"linger_0_ms": {"p50_ms": 1.0, "p99_ms": 2.0}},
    },
    "gate": {"n": 1, "ns_per_decision_open": 200.0},
    "quality": {
        "incidents": [ILL, {**ILL, "seed": 2, "time_to_halt_s": 1.5}], "benign": [], "router_days": 0.0, "false_halts": 0,
        "warnings": 0, "warnings_per_router_day": None, "false_halts_per_router_day_95": None,
        "false_halts_in_incidents": 0, "detected": 2, "of": 2, "not_ok": ["power-peg 2: too late"],
    },
    "efficiency": {
        "rows": [{"jump": 2.0, "arl_events": 1_500_000, "ours_delay": 65.6, "ours_delay_se": 0.5, "cusum_delay": 58.9,
                  "efficiency": 0.9}],
        "series": 15, "alarms": 24, "events": 40_000_000, "arl_events_95": [1_100_000, 2_500_000],
    },
    "calm": calm.totals([
        {"seed": seed, "commit": "abc", "router_days": 6.5, "events": 10, "false_halts": 0, "warnings": seed, "what": ["x"],
         "cpu_s": 3.0} for seed in (1, 2)
    ]),
    "bursts": {
        "runs": [{"kind": "news", "seed": seed, "false_halts": 0, "warnings": 9, "what": [], "highest": {"rate": 9.0 * seed}}
                 for seed in (1, 2)],
        "false_halts": 0,
    },
    "knight_day": {
        "events": 8, "bytes": 2_000_000, "halts": 2, "digest": "0123456789", "target_s": 15.0, "cores": 2,
        "rounds": [{"replay_s": s, "one_process_s": 2 * s, "read_s": 3.0} for s in (14.0, 16.0)],
        "best": {"replay_s": 14.0, "one_process_s": 28.0, "read_s": 3.0},
        "median": {"replay_s": 15.0, "one_process_s": 30.0, "read_s": 3.0}, "replay_by_read": 5.0,
    },
}  # fmt: skip


def test_every_table_and_plot_is_made_of_a_result(tmp_path: Path) -> None:
    results = {name: {**shape, **ORIGIN} for name, shape in SHAPES.items()}
    assert results.keys() == plots.TABLES.keys()
    page = "".join(plots.written(path.read_text(encoding="utf-8"), results) for path in plots.PAGES)
    assert "Not measured yet" not in page
    assert "not measured | no network |" in page
    assert "at least 1.5 x Kafka Streams, one sum: missed by 20%" in page
    assert "| [power-peg](detectors/power-peg.svg) | 2 of 2 | 2 | 1.00 (1.50) | 2 (2) | 66 (66) | 1,000,000 |" in page
    assert "0 other halts; targets missed: power-peg 2: too late." in page
    assert "| 2 | 65.6 ± 0.5 | 58.9 | 0.90 |" in page
    assert "| abc | 2 | 13.0 | 20 | 0 | 3 |" in page
    assert "13.0 router-days of calm, 0 false halts (95 %: 0.0000 to 0.2304 a router-day), 3 warnings" in page
    assert "| news | 4 | 0 | 18 | rate 18 (64) |" in page
    assert "| replay, 2 cores | 14.0 | 15.0 | 16.0 |" in page
    assert "Aim 15 s: reached in 1 of 2 rounds." in page
    drawn = plots.draw(results, tmp_path)
    assert [path.name for path in drawn] == ["rate.svg", "latency.svg", "batch.svg", "scaling.svg", "memory.svg"]
    first = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in plots.draw(results, tmp_path)] == first
    images = set(json.dumps(plots.PAGE.read_text()).split("performance/")[1:])
    assert {text.split(")")[0] for text in images if text.split(")")[0].endswith(".svg")} == {p.name for p in drawn}


def test_a_result_that_is_missing_draws_nothing(tmp_path: Path) -> None:
    assert plots.draw({}, tmp_path) == []
