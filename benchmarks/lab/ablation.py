"""Each family alone against one incident: the same inputs of the desk, under one policy after the other."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from benchmarks.lab.targets import MINUTES
from benchmarks.lab.trial import Trial
from halts.config import Config, DeskConfig, Rule
from halts.desk import Desk, DeskInput
from producers import scenarios
from schemas.records import HaltRecord
from schemas.units import S_NS

WATCHED_S: Final = 60.0
"""Seconds of the incident, which nobody stops, that each family sees."""
INPUTS: Final = 64
"""Of the desk a step."""


def alone(name: str, seed: int, policies: Mapping[str, DeskConfig]) -> dict[str, Any]:
    """{"scenario", "seed", "alone": {family: {"halt_s", "warn_s"}}}: seconds from the first bad event to the first halt
    and the first warning on a scope in trouble; None where there is none."""
    inputs: list[DeskInput] = []
    scenario = scenarios.build(name, seed, minutes=MINUTES.get(name))
    mute = Rule(hard="ignore", statistical="ignore")
    deaf = replace(next(iter(policies.values())), rules=dict.fromkeys(Config().desk.rules, mute), ack_timeout_ms=0)
    out = Trial(scenario, Config().stage1, deaf, inputs=inputs).run(scenario.incident_ns + round(WATCHED_S * S_NS))
    found = {}
    for family, policy in policies.items():
        halt, warn = _first(Desk(replace(policy, ack_timeout_ms=0)), inputs, out.wanted)
        found[family] = {
            "halt_s": None if halt is None else round((halt - out.first_bad_ts) / S_NS, 3),
            "warn_s": None if warn is None else round((warn - out.first_bad_ts) / S_NS, 3),
        }
    return {"scenario": name, "seed": seed, "alone": found}


def _first(desk: Desk, inputs: list[DeskInput], wanted: Mapping[str, int]) -> tuple[int | None, int | None]:
    """Times of the first halt and the first warning on a wanted scope, ns."""
    warn: int | None = None
    for part in (inputs[i : i + INPUTS] for i in range(0, len(inputs), INPUTS)):
        for output in desk.step(part):
            record = output.record
            if isinstance(record, HaltRecord) and record.ts_decided >= wanted.get(record.scope, 1 << 62):
                if record.state == "HALTING":
                    return record.ts_decided, warn
                if record.state == "WARNED" and warn is None:
                    warn = record.ts_decided
    return None, warn
