"""Every scenario of the library through both stages with gates that obey: a small seed set, shortened.

``python -m benchmarks.quality`` does the same at full length and with many seeds.
"""

import pytest
from msgspec.structs import replace

from benchmarks import bursts
from benchmarks.lab.targets import LAST, ORDERS, ORDERS_SHARE_MAX
from benchmarks.lab.trial import AFTER_HALT_NS, Outcome, Trial
from benchmarks.quality import FAMILIES, desk_with
from detectors.config import FanOutConfig
from halts.config import Config
from halts.desk import DeskInput
from producers import scenarios
from schemas.records import Breach, FeatureRow
from schemas.scopes import FIRM
from schemas.units import S_NS

LEAD_S = 5.0
WATCHED_S = 40.0
SLOW = {"preopen-rejects": 300.0}
"""Seconds within which the halt must come where it takes longer: rejects come once a minute."""
SEED = 3
BENIGN_S = 72.0
"""The peculiarity of a benign day begins after 60 s."""


def run(name: str, *, no_parents: bool = False, without: tuple[str, ...] = ()) -> Outcome:
    """One incident until 3 s after its halt."""
    rare = name in SLOW
    minutes = 0.5 if name == "power-peg-rollback" else None
    scenario = scenarios.build(
        name, SEED, servers=3 if rare else 8, minutes=minutes, incident_s=LEAD_S, intensity=0.05 if rare else 1.0
    )
    until = scenario.incident_ns + round(SLOW.get(name, WATCHED_S) * S_NS)
    trial = Trial(scenario, Config().stage1, desk_with([*without], []), no_parents=no_parents)
    return trial.run(until, LAST.get(name, ""))


@pytest.mark.parametrize("name", scenarios.INCIDENTS)
def test_incident_is_halted_and_nothing_else(name: str) -> None:
    out = run(name)
    assert out.halts, out.breaches
    assert all(out.right(halt) for halt in out.halts), (out.halts, out.wanted)
    if FIRM in out.wanted:
        assert FIRM in {halt.scope for halt in out.halts}
    else:
        assert out.end_ns <= out.halts[0].ts + AFTER_HALT_NS + S_NS
    if name in ORDERS:
        assert out.bad_orders <= ORDERS[name] * ORDERS_SHARE_MAX
    if name == "preopen-rejects":
        assert out.halts[0].ts < out.open_ns
        assert any(w.scope in out.wanted and w.ts <= out.halts[0].ts for w in out.warnings)


@pytest.mark.parametrize("name", scenarios.BENIGN)
def test_benign_day_is_not_halted(name: str) -> None:
    scenario = scenarios.build(name, SEED, servers=4, minutes=BENIGN_S / 60)
    out = Trial(scenario, Config().stage1, Config().desk).run()
    assert not out.halts, out.halts
    assert {d for w in out.warnings for d in w.detectors} <= ({"silence"} if name == "router-restart" else set())


@pytest.mark.parametrize("kind", bursts.KINDS)
def test_the_largest_bursts_of_ordinary_days_halt_nothing(kind: str) -> None:
    row = bursts.run(kind, SEED)
    assert not row["false_halts"], row
    assert row["highest"]["rate"] > 1.0, "a burst that nobody notices shows nothing"
    firm = any("WARNED firm: breadth" in what for what in row["what"])
    assert firm == (kind != "server"), "what all do at once is told of the firm"


@pytest.mark.parametrize("how", [{"without": ("conservation",)}, {"no_parents": True}])
def test_knight_is_halted_within_five_seconds_without_the_parents(how: dict[str, object]) -> None:
    out = run("power-peg", **how)  # type: ignore[arg-type]
    assert out.halts
    assert out.right(out.halts[0])
    assert (out.halts[0].ts - out.first_bad_ts) / S_NS <= 5.0
    assert "conservation" not in out.halts[0].detectors


def test_what_is_blocked_does_not_go_out() -> None:
    """After the slice of the halt no bad order of the culprit leaves; a server that asks nobody goes on."""
    out = run("basket-burst")
    assert out.bad_orders_out - out.bad_orders <= 30  # 217 a second, at most a slice of 100 ms
    deaf = run("flow-after-halt")
    assert deaf.bad_orders_out - deaf.bad_orders > 100
    assert deaf.states[FIRM] == "HALTED"


def test_cutting_into_slices_changes_no_verdict() -> None:
    """With limits so low that a calm day breaches them, and a policy that halts nothing."""
    stage1 = replace(Config().stage1, fanout=FanOutConfig(children_limit=2.0, children_per_s=0.1))
    found, inputs = [], []
    for slices in (1, 7):
        taken: list[DeskInput] = []
        scenario = scenarios.build("calm", SEED, servers=2, minutes=0.3)
        found.append(Trial(scenario, stage1, desk_with([*FAMILIES], []), slices=slices, inputs=taken).run())
        inputs.append([i.record for i in taken if isinstance(i.record, Breach)])
    assert found[0] == found[1]
    assert not found[0].halts
    assert len(inputs[0]) > 3
    assert inputs[0] == inputs[1]


def test_lost_fills_are_left_out_and_nothing_seems_missing() -> None:
    scenario = scenarios.build("calm", SEED, minutes=0.1)
    inputs: list[DeskInput] = []
    onset = scenario.start_ns + 3 * S_NS
    Trial(scenario, Config().stage1, desk_with([], []), lost=("R2", onset), inputs=inputs).run()
    rows = [i.record for i in inputs if isinstance(i.record, FeatureRow)]

    def fills(server: str, after: bool) -> float:
        return sum(
            r.values.get("fills", 0.0) for r in rows if r.server == server and (r.ts >= onset + S_NS // 10) == after
        )

    assert fills("R2", after=False) > 0
    assert fills("R2", after=True) == 0
    assert fills("R1", after=True) > 0
    assert sum(r.values.get("orders", 0.0) for r in rows if r.server == "R2" and r.ts >= onset) > 0
    assert all(r.counters["missing"] == 0 for r in rows)
