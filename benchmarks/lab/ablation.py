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
LOST_FILLS: Final = "lost-fills"
"""No scenario of the library, and nothing to halt: a server whose fills nobody tells of any more, while it goes on to send
orders and gets acks (NASDAQ, Facebook's first day, 2012-05-18: no confirmations for two hours; SEC Release 34-69655)."""
LOST_AFTER_S: Final = 240.0
"""An ordinary day before it: novelty takes two minutes to know what is ordinary."""
INPUTS: Final = 64
"""Of the desk a step."""


def alone(name: str, seed: int, policies: Mapping[str, DeskConfig]) -> dict[str, Any]:
    """{"scenario", "seed", "alone": {family: {"halt_s", "warn_s"}}}: seconds from the first bad event to the first halt
    and the first warning on a scope in trouble; None where there is none."""
    inputs: list[DeskInput] = []
    mute = Rule(hard="ignore", statistical="ignore")
    deaf = replace(next(iter(policies.values())), rules=dict.fromkeys(Config().desk.rules, mute), ack_timeout_ms=0)
    if name == LOST_FILLS:
        wanted, first = _lost_fills(seed, deaf, inputs)
    else:
        scenario = scenarios.build(name, seed, minutes=MINUTES.get(name))
        out = Trial(scenario, Config().stage1, deaf, inputs=inputs).run(scenario.incident_ns + round(WATCHED_S * S_NS))
        wanted, first = out.wanted, out.first_bad_ts
    found = {}
    for family, policy in policies.items():
        halt, warn = _first(Desk(replace(policy, ack_timeout_ms=0)), inputs, wanted)
        found[family] = {
            "halt_s": None if halt is None else round((halt - first) / S_NS, 3),
            "warn_s": None if warn is None else round((warn - first) / S_NS, 3),
        }
    return {"scenario": name, "seed": seed, "alone": found}


def _lost_fills(seed: int, desk: DeskConfig, inputs: list[DeskInput]) -> tuple[dict[str, int], int]:
    """Scopes in trouble and since when, of a calm day on which one server's fills are lost."""
    scenario = scenarios.build("calm", seed, minutes=(LOST_AFTER_S + WATCHED_S) / 60)
    onset = scenario.start_ns + round(LOST_AFTER_S * S_NS)
    server = scenario.servers[seed % len(scenario.servers)]
    Trial(scenario, Config().stage1, desk, inputs=inputs, lost=(server, onset)).run()
    return {f"server:{server}": onset}, onset


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
