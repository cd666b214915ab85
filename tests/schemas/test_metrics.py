"""The table of metric names keeps Prometheus' naming rules and covers the feature row."""

import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from detectors.features import NAMES
from schemas import metrics


def test_all_lists_every_metric_of_the_module_once() -> None:
    defined = [m for m in vars(metrics).values() if isinstance(m, metrics.Metric)]
    assert sorted(m.name for m in metrics.ALL) == sorted(m.name for m in defined)
    assert len({m.name for m in metrics.ALL}) == len(metrics.ALL)


def test_names_follow_prometheus() -> None:
    for m in metrics.ALL:
        assert re.fullmatch(r"knightwatch_[a-z][a-z0-9_]*", m.name), m.name
        assert m.name.endswith("_total") == (m.kind == "counter"), m.name
        assert m.unit in m.name, f"{m.name}: the unit {m.unit!r} belongs in the name"
        assert set(m.labels) <= metrics.LABELS, m.name
        assert bool(m.buckets) == (m.kind == "histogram"), m.name
        assert list(m.buckets) == sorted(set(m.buckets)), m.name
        assert not re.search(r"_(ms|us|ns|minutes|kb|mb)(_|$)", m.name), f"{m.name} is not in a base unit"


def test_prometheus_client_takes_every_row_as_it_stands() -> None:
    registry = CollectorRegistry()
    for m in metrics.ALL:
        if m.kind == "histogram":
            Histogram(m.name, m.help, m.labels, registry=registry, buckets=m.buckets)
        else:
            {"counter": Counter, "gauge": Gauge}[m.kind](m.name, m.help, m.labels, registry=registry)
    text = generate_latest(registry).decode()
    for m in metrics.ALL:
        assert f"# HELP {m.name} " in text, m.name


def test_every_feature_has_a_counter_or_a_gauge() -> None:
    assert set(metrics.FEATURE_COUNTERS) | {"net_usd", "symbols"} == set(NAMES)
