"""The JSON Schema files (draft 2020-12) in ``schemas/json``, written by ``python -m schemas.json_schemas``.

Order events come from the tables of ``schemas.codec_rules``, the other records from their msgspec structs, so a schema
cannot say something else than the decoder does. Unknown fields are allowed: that is how records evolve.
"""

from importlib.resources import files
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas import records
from schemas.codec_rules import (
    ALWAYS,
    EITHER_ID,
    INTEGERS,
    NEEDS_EITHER_ID,
    PRICES,
    PX_MAX,
    REQUIRED,
    STRINGS,
    WORDS,
)
from schemas.events import VERSION, Kind

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
RECORDS: Final[dict[str, Any]] = {
    "node": records.NodeState,
    "declared": records.Declared,
    "halt": records.HaltRecord,
    "heartbeat": records.Heartbeat,
    "ack": records.Ack,
    "command": records.Command,
    "dead-letter": records.DeadLetter,
    "verdict": records.Verdict,
    "audit": records.AuditRecord,
}
"""File stem -> type of the record."""
NAMES: Final = ("order-event", *RECORDS)
_HALF_UNIT: Final = 5e-10
"""A price above this rounds to at least one unit of 1e-9."""
_MEANING: Final = {
    "seq": "per server, +1 each event",
    "ts": "when it happened, ns UTC (FIX 60)",
    "qty": "FIX 38 on parent, order, replace; 32 on fill; quantity taken out on canceled",
    "px": "currency units: FIX 44 limit (0 = market), 31 on fill",
    "bid": "national best bid that the router saw, 0 = not known",
    "ask": "national best offer that the router saw, 0 = not known",
    "parent_id": "parent order",
    "cl_ord_id": "FIX 11",
    "orig_cl_ord_id": "FIX 41",
    "exec_id": "FIX 17; without it a repeated fill is not recognised",
    "server": "router node",
    "symbol": "FIX 55",
    "strategy": "which algorithm",
    "account": "FIX 1",
    "venue": "FIX 100",
    "side": "FIX 54: buy, sell, sell short",
    "phase": "trading phase of the symbol",
}


def file_name(name: str) -> str:
    """``file_name("ack") == "ack.schema.json"``."""
    return f"{name}.schema.json"


def order_event() -> dict[str, Any]:
    """Schema of one order event (a Kafka value holds one, or an array of them)."""
    properties: dict[str, Any] = {"v": {"const": VERSION}, "kind": {"enum": [kind.name for kind in Kind]}}
    for name, width in STRINGS.items():
        properties[name] = {"type": "string", "maxLength": width, "not": {"pattern": "[^ -~]"}}
    properties["server"]["minLength"] = 1
    for name, (low, high) in INTEGERS.items():
        properties[name] = {"type": "integer", "minimum": low, "maximum": high}
    for name in PRICES:
        properties[name] = {"type": "number", "minimum": 0, "maximum": PX_MAX}
    for name, words in WORDS.items():
        properties[name] = {"enum": ["", *words]}
    properties["poss_dup"] = {"type": "boolean", "description": "FIX 43: a resend of something already published"}
    for name, text in _MEANING.items():
        properties[name]["description"] = text
    return {
        "$schema": DRAFT,
        "$id": f"urn:knightwatch:order-event:{VERSION}",
        "title": "Order event",
        "description": "One event of a router's order flow, version 1.",
        "type": "object",
        "required": list(ALWAYS),
        "properties": properties,
        "allOf": [_rule(kind) for kind in Kind],
    }


def _rule(kind: Kind) -> dict[str, Any]:
    """What ``kind`` needs besides the fields that every event needs."""
    then: dict[str, Any] = _present(*REQUIRED[kind])
    if kind in NEEDS_EITHER_ID:
        then["anyOf"] = [_present(name) for name in EITHER_ID]
    return {"if": {"properties": {"kind": {"const": kind.name}}, "required": ["kind"]}, "then": then}


def _present(*names: str) -> dict[str, Any]:
    """These fields are there, and not in their empty form."""
    empty: dict[str, Any] = {"qty": {"minimum": 1}, "px": {"exclusiveMinimum": _HALF_UNIT}, "side": {"minLength": 1}}
    return {"required": list(names), "properties": {name: empty.get(name, {"minLength": 1}) for name in names}}


def record(name: str) -> dict[str, Any]:
    """Schema of a record other than an order event, from its struct."""
    head = {"$schema": DRAFT, "$id": f"urn:knightwatch:{name}:{VERSION}", "title": name}
    return {**head, **msgspec.json.schema(RECORDS[name])}


def document(name: str) -> str:
    """Text of the file of that name (see NAMES)."""
    schema = _tidy(order_event() if name == "order-event" else record(name))
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def _tidy(schema: Any) -> Any:
    """The same with descriptions free of their docstrings' indentation, which msgspec takes away or (0.23) leaves."""
    if isinstance(schema, dict):
        return {
            key: cleandoc(value) if key == "description" and isinstance(value, str) else _tidy(value)
            for key, value in schema.items()
        }
    return [_tidy(value) for value in schema] if isinstance(schema, list) else schema


def shipped(name: str) -> str:
    """Text of the file as shipped with the package."""
    return files("schemas").joinpath("json", file_name(name)).read_text(encoding="utf-8")


def main() -> None:
    """Write every file anew."""
    folder = Path(str(files("schemas").joinpath("json")))
    for name in NAMES:
        (folder / file_name(name)).write_text(document(name), encoding="utf-8")


if __name__ == "__main__":
    main()
