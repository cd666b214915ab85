"""The laws of detectors/checks.py over the whole catalogue. A detector that cannot meet one stands in EXCUSED, with the
reason; a detector without a fault of its own in tests/detectors/faults.py fails."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors import checks
from detectors.catalog import CATALOG
from detectors.config import CrossingConfig, ExposureConfig, Stage1Config
from schemas.events import Batch, Kind, Side, batch_of, empty_events
from schemas.units import MIN_NS, S_NS
from tests.detectors.faults import FAULTS, send
from tests.detectors.flows import SYMBOLS, Writer, healthy

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Stage1Config()
NAMES = [make(CONFIG).name for make in CATALOG]
MAKERS = dict(zip(NAMES, CATALOG, strict=True))
EXCUSED: dict[tuple[str, str], str] = {}
"""(detector, law) -> why it does not hold."""


def law(function: Callable[[str], None]) -> Callable[[str], None]:
    """Run for every detector of the catalogue that has no excuse."""
    title = function.__name__.removeprefix("test_")
    for name, excused in EXCUSED:
        assert excused in LAWS, f"{name} is excused from {excused!r}, which is no law"
    LAWS.append(title)
    return pytest.mark.parametrize("name", [n for n in NAMES if (n, title) not in EXCUSED])(function)


LAWS: list[str] = []


@cache
def log_of(name: str) -> tuple[Batch, int]:
    """Healthy flow, a pause, the detector's own fault, healthy flow; and where the fault begins."""
    writer = Writer("R1", seed=11)
    healthy(writer, 60, rejected=0.01)
    for k in range(20):  # amends, answered and refused, and an id used again
        writer.wait(30.0)
        send(writer, f"am{k}", 100 + k, 22.99)
        last = writer.rows[-1]
        for step, answer in ((1, Kind.replaced), (2, Kind.rejected)):
            writer.wait(1.0)
            amend = {**last, "cl_ord_id": f"am{k}r{step}", "orig_cl_ord_id": f"am{k}", "qty": 150 + step}
            for kind in (Kind.replace, answer):
                writer.add(kind, **{f: v for f, v in amend.items() if f not in ("kind", "server", "seq", "ts")})
        if k % 10 == 0:
            send(writer, f"am{k}", 100, 22.99)
    writer.now += 20 * S_NS
    begin = len(writer.rows)
    FAULTS[name][0](writer)
    writer.now += 15 * S_NS
    healthy(writer, 15, rejected=0.01)
    return batch_of(writer.events()), begin


@cache
def calm() -> Batch:
    writer = Writer("R1", seed=12)
    healthy(writer, 1_500, rejected=0.01)
    return batch_of(writer.events())


def flood(k: int) -> NDArray[Any]:
    """8,192 events with ids, names and symbols that never came before, about orders that stay open."""
    n = 8_192
    events = empty_events(n)
    at = np.arange(k * n, (k + 1) * n)
    events["server"], events["seq"] = b"R1", at + 1
    events["ts"] = 1_343_827_800 * S_NS + at * 5_000_000
    events["kind"] = np.where(at % 4 == 0, Kind.parent, np.where(at % 4 == 3, Kind.fill, Kind.order))
    for name in ("parent_id", "cl_ord_id", "symbol", "strategy", "account", "exec_id"):
        events[name] = [b"%c%d" % (name.encode()[:1], i) for i in at]
    events["side"], events["qty"], events["px"] = Side.B, 100, 20_000_000_000
    events["bid"], events["ask"] = 19_990_000_000, 20_010_000_000
    return events


def test_every_detector_has_a_fault_of_its_own() -> None:
    missing = set(NAMES) - FAULTS.keys()
    assert not missing, f"write the fault of {missing} in tests/detectors/faults.py: the laws run on it"
    assert not FAULTS.keys() - set(NAMES)
    assert all(reason for reason in EXCUSED.values())


@law
def test_same_input_same_output(name: str) -> None:
    checks.check_repeatable(MAKERS[name], CONFIG, log_of(name)[0])


@law
def test_cuts_at_every_event_change_nothing(name: str) -> None:
    log, begin = log_of(name)
    checks.check_cutting(MAKERS[name], CONFIG, log, range(begin - 300, min(begin + 500, len(log))))


@law
def test_cuts_anywhere_change_nothing(name: str) -> None:
    log, _ = log_of(name)
    for seed in range(4):
        cuts = np.random.default_rng(seed).integers(0, len(log), 5 * 4**seed)
        checks.check_cutting(MAKERS[name], CONFIG, log, cuts.tolist())


@law
def test_a_snapshot_at_every_event_changes_nothing(name: str) -> None:
    log, begin = log_of(name)
    checks.check_snapshots(MAKERS[name], CONFIG, log, range(begin - 20, begin + 60))


@law
def test_time_has_no_origin(name: str) -> None:
    checks.check_shift(MAKERS[name], CONFIG, log_of(name)[0], 1_234 * MIN_NS)


@law
def test_what_leaves_is_a_number(name: str) -> None:
    checks.check_numbers(MAKERS[name], CONFIG, log_of(name)[0])


@law
def test_calm_flow_raises_nothing(name: str) -> None:
    checks.check_calm(MAKERS[name], CONFIG, calm())


@law
def test_its_own_fault_is_found_in_time(name: str) -> None:
    log, begin = log_of(name)
    checks.check_fault(MAKERS[name], CONFIG, log, begin, FAULTS[name][1])


@law
def test_state_is_bounded(name: str) -> None:
    small = Stage1Config(
        orders_max=8_192, parents_max=8_192, symbols_max=8_192, exposure=ExposureConfig(pairs_max=8_192)
    )
    checks.check_bounded(MAKERS[name], small, flood, rounds=6)


def test_the_detector_shown_in_contributing_meets_the_laws() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    scope: dict[str, Any] = {"SYMBOLS": SYMBOLS, "Writer": Writer, "send": send}
    exec(blocks[0], scope)
    exec(next(b for b in blocks if "def _rejects" in b).split('    "rejects"')[0], scope)

    def make(_: Stage1Config) -> Any:
        return scope["Rejects"]()

    writer = Writer("R1", seed=11)
    healthy(writer, 60, rejected=0.01)
    writer.now += 20 * S_NS
    begin = len(writer.rows)
    scope["_rejects"](writer)
    log = batch_of(writer.events())
    checks.check_fault(make, CONFIG, log, begin, 130)
    checks.check_cutting(make, CONFIG, log, range(begin - 50, begin + 300))
    checks.check_snapshots(make, CONFIG, log, range(begin, begin + 20))
    checks.check_shift(make, CONFIG, log, MIN_NS)
    checks.check_calm(make, CONFIG, calm())


def test_the_laws_can_fail() -> None:
    """A detector that breaks them is caught: one that sums floats by batch, and never forgets."""
    broken = MAKERS["fanout"](CONFIG)
    kept: list[int] = []

    class Broken(type(broken)):  # type: ignore[misc]
        def step(self, context: Any) -> Any:
            found = super().step(context)
            self.seen = [*getattr(self, "seen", []), *kept, len(context.flow)]
            self.out.values[-1] += 1
            return found

    def make(config: Stage1Config) -> Any:
        return Broken(config.fanout)

    log, begin = log_of("fanout")
    with pytest.raises(checks.LawBroken, match="cuts: the statistic at event"):
        checks.check_cutting(make, CONFIG, log, [begin])
    with pytest.raises(checks.LawBroken, match="its own fault was not found"):
        checks.check_fault(MAKERS["orphans"], CONFIG, log, begin, 10)
    with pytest.raises(checks.LawBroken, match="at most 5"):
        checks.check_fault(MAKERS["fanout"], CONFIG, log, begin, 5)


def test_what_crossing_learned_survives_a_snapshot_in_mid_minute() -> None:
    """From its fourth minute on the learned allowances hold, and no longer the priors, which are next to nothing here."""
    config = Stage1Config(
        crossing=CrossingConfig(
            burn_usd_per_s_prior=1e-6, matched_usd_per_s_prior=1e-6, burn_usd_limit=2_000.0, matched_usd_limit=1e9
        )
    )
    writer = Writer("R1", seed=21)
    healthy(writer, 900, gap_ms=350.0, rejected=0.0)
    log = batch_of(writer.events())
    minutes = log.events["ts"] // np.uint64(MIN_NS)
    cut = int(np.searchsorted(minutes, minutes[0] + 3)) + 40
    values = checks.hear(MAKERS["crossing"], config, log).values
    assert values[cut] > 90, "there is something to fall"
    assert values[-1] == 0, "and it falls, by what was learned"
    checks.check_snapshots(MAKERS["crossing"], config, log, [cut])
