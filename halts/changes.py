"""Settings as data: what differs between two configurations, and whether the difference loosens a control.

A setting that is not listed loosens whatever its change: somebody must look at it.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from halts.config_keys import flatten

Settings = Mapping[str, Any]
"""Dotted name -> value of every setting that is a control. (Where Kafka is, is none.)"""

DIGEST_CHARS: Final = 32
VALUES_MAX: Final = 4_096
"""Settings in one configuration."""

Direction = Literal["lower", "higher", "longer"]
TIGHTENS: Final[Mapping[str, Direction]] = {
    "desk.ack_timeout_ms": "lower",
    "desk.after_halt_grace_ms": "lower",
    "desk.widen_after_ms": "lower",
    "desk.families_to_halt": "lower",
    "desk.confirm_ms": "lower",
    "desk.combine_window_ms": "higher",
    "desk.warn_quiet_ms": "higher",
    "desk.cool_off_ms": "higher",
    "desk.resume_stage_ms": "higher",
    "desk.resume_orders_per_s": "lower",
    "desk.probation_ms": "higher",
    "desk.command_age_ms_max": "lower",
    "desk.request_ttl_ms": "lower",
    "desk.resuming_strict": "higher",
    "desk.require_signatures": "higher",
    "desk.two_person_scopes": "longer",
    "desk.inputs_audit_ms": "lower",
    "gate.fail_closed_after_ms": "lower",
    "gate.clock_skew_ms_max": "lower",
    "stage1.conservation.emissions_limit": "lower",
    "stage1.conservation.excess_usd_unit": "lower",
    "stage1.conservation.window_s": "higher",
    "stage1.conservation.done_race_ms": "lower",
    "stage1.conservation.tolerance_qty": "lower",
    "stage1.rate.arl_events": "lower",
    "stage1.rate.prior_per_s": "lower",
    "stage1.rate.headroom": "lower",
    "stage1.rate.dispersion_min": "lower",
    "stage1.rate.bound_halt": "lower",
    "stage1.rate.quiet_s": "higher",
    "stage1.crossing.burn_usd_limit": "lower",
    "stage1.crossing.burn_usd_per_s_prior": "lower",
    "stage1.crossing.matched_usd_limit": "lower",
    "stage1.crossing.matched_usd_per_s_prior": "lower",
    "stage1.crossing.headroom": "lower",
    "stage1.crossing.bound_halt": "lower",
    "stage1.crossing.quiet_s": "higher",
    "stage1.novelty.false_alarms_per_day": "higher",
    "stage1.novelty.run_rows": "lower",
}
"""Which way a setting tightens; ``longer``: a list that holds all it held, and more."""
ZERO_IS_NEVER: Final = ("bound_halt", "ack_timeout_ms")
"""Last parts of names whose 0 means never, the loosest there is."""
STRICTNESS: Final = {"ignore": 0, "warn": 1, "combine": 2, "halt": 3}
"""What a breach does (``desk.rules.*.hard`` and ``.statistical``)."""


class Change(Struct, frozen=True):
    """One setting that differs; None stands for a setting that is not there."""

    key: str
    old: Any
    new: Any
    loosens: bool


def settings_of(config: Any) -> dict[str, Any]:
    """The controls in a ``halts.config.Config``."""
    flat = flatten(msgspec.to_builtins(config))
    return {key: value for key, value in flat.items() if not key.startswith("kafka.")}


def digest(values: Settings) -> str:
    """The name of a configuration: the first 32 hex digits of the SHA-256 of its settings as sorted JSON."""
    return sha256(msgspec.json.encode(values, order="sorted")).hexdigest()[:DIGEST_CHARS]


def changes(old: Settings, new: Settings) -> tuple[Change, ...]:
    """What differs, by name. Equal numbers are equal whatever their type (JSON knows but one)."""
    keys = sorted({*old, *new})
    pairs = ((key, _plain(old.get(key)), _plain(new.get(key))) for key in keys)
    return tuple(Change(key, was, now, loosens(key, was, now)) for key, was, now in pairs if was != now)


def loosens(key: str, old: Any, new: Any) -> bool:
    """Does the change weaken a control? Yes, unless it is known to tighten it."""
    last = key.rpartition(".")[2]
    if key.startswith("desk.rules.") and last in ("hard", "statistical"):
        return not (old in STRICTNESS and new in STRICTNESS and STRICTNESS[new] >= STRICTNESS[old])
    direction = TIGHTENS.get(key) or ("lower" if last.endswith("_limit") else None)
    if direction is None or old is None or new is None:
        return True
    if direction == "longer":
        return not set(old) <= set(new)
    if not (isinstance(old, int | float) and isinstance(new, int | float)):
        return True
    if last in ZERO_IS_NEVER and 0 in (old, new):
        return new == 0
    return new > old if direction == "lower" else new < old


def values_problem(values: Settings) -> str:
    """Why this is no configuration; empty if it may be one."""
    if not values:
        return "it holds no settings; expected all of them, as 'knightwatch config propose' sends them"
    if len(values) > VALUES_MAX:
        return f"it holds {len(values)} settings; expected at most {VALUES_MAX}"
    bad = next((key for key, value in values.items() if not _is_leaf(value)), None)
    return f"{bad!r} is neither a plain value nor a list of them" if bad is not None else ""


def _is_leaf(value: Any) -> bool:
    return isinstance(value, str | int | float | list | tuple)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
