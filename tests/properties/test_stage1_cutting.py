"""Cutting does not matter: any division of a log into batches, with a snapshot and restore at each cut or not, gives
byte-identical verdicts (design section 6)."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.lab import flow
from detectors.bank import SPAN, Stage1
from detectors.config import Stage1Config
from detectors.onepass import CHUNK
from schemas.events import Batch, Kind, batch_of
from schemas.records import encode
from tests.detectors.flows import START, Writer, healthy, power_peg


@cache
def log() -> Batch:
    """Two servers on one partition, one of them running away, with repeats, gaps, late and far-future stamps."""
    rng = np.random.default_rng(5)
    a, b = Writer("R1", seed=3), Writer("R2", seed=4)
    healthy(a, 700)
    power_peg(a, 300)
    healthy(a, 50)
    healthy(b, 500, gap_ms=90.0)
    events = np.concatenate([a.events(), b.events()])
    events = events[np.argsort(events["ts"], kind="stable")]
    events["ts"][rng.integers(0, len(events), 12)] += np.uint64(3_600_000_000_000)
    events["ts"][rng.integers(0, len(events), 40)] -= np.uint64(4_000_000_000)
    keep = rng.random(len(events)) > 0.003
    events = events[keep]
    copies = np.sort(rng.integers(0, len(events), 60))
    events = np.insert(events, copies + 1, events[copies])
    events["bid"][rng.integers(0, len(events), 300)] = 0
    return batch_of(events)


def verdicts(cuts: list[int], snapshots: bool) -> list[bytes]:
    """Encoded verdicts of the log cut at these places."""
    batch, config = log(), Stage1Config()
    engine, out = Stage1(config, "orderflow", 0), []
    edges = [0, *sorted({c % len(batch) for c in cuts} - {0}), len(batch)]
    for start, end in pairwise(edges):
        out += [encode(v) for v in engine.step(batch[start:end])]
        if snapshots:
            engine = Stage1.restore(config, engine.snapshot())
    return out


@cache
def whole() -> list[bytes]:
    return verdicts([], snapshots=False)


def test_the_log_has_what_can_go_wrong_in_it() -> None:
    engine = Stage1(Stage1Config(), "orderflow", 0)
    engine.step(log())
    counters = engine.totals()["R1"]
    assert all(counters[name] > 0 for name in ("late", "clamped", "gaps", "missing", "repeats"))
    assert any(b'"detector":"conservation"' in v for v in whole())
    assert set(np.unique(log().events["kind"])) >= {int(k) for k in Kind} - {4, 8, 11}
    assert int(log().events["ts"][0]) >= START


@given(st.lists(st.integers(0, 1 << 30), max_size=12), st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_cutting_gives_the_same_verdicts(cuts: list[int], snapshots: bool) -> None:
    assert verdicts(cuts, snapshots) == whole()


def test_single_events_give_the_same_verdicts() -> None:
    n = len(log())
    assert verdicts(list(range(n - 3_000, n)), snapshots=False) == whole()


@pytest.mark.parametrize("size", [997, CHUNK, CHUNK + 1, SPAN + 5])
def test_a_log_of_many_servers_may_be_cut_between_and_within_passes(size: int) -> None:
    batch, said = batch_of(flow.power_peg(40_000, 7)), []
    for step in (len(batch), size):
        engine = Stage1(Stage1Config(), "orderflow", 0)
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        said.append([encode(v) for part in parts for v in engine.step(part)])
    assert said[0] == said[1]
    assert len(engine.servers) == 8
    assert any(b'"type":"breach"' in v for v in said[0])


def test_a_snapshot_at_every_event_of_the_onset_changes_nothing() -> None:
    first = next(i for i, v in enumerate(log().events["parent_id"]) if v.startswith(b"KR1"))
    assert verdicts(list(range(first, first + 60)), snapshots=True) == whole()
