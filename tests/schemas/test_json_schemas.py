"""The shipped JSON Schema files: fresh, valid drafts, and of one mind with the codec and the records."""

from functools import cache
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import json_schemas, records
from schemas.codec import decode

SOURCE = records.Source("orderflow", 3, 17, 2)
FIRST = records.FirstEvent("orderflow", 3, 17, 5, "R3-1", 2)
CAUSE = records.Cause("rate", 12.5, 8.0, 1.5, {"window_ms": 100}, FIRST)
NODE = records.NodeState("R3", 5, "b1", "c1", {"power_peg": True}, records.Gate("ACTIVE", 2), 9)
DECLARED = records.Declared("R3", 5, "r1", "b1", "c1", {"power_peg": False})
EXAMPLES: list[tuple[str, msgspec.Struct]] = [
    ("node", NODE),
    ("node", records.NodeState("R3", 5, "b1", "c1")),
    ("declared", DECLARED),
    (
        "halt",
        records.HaltRecord(
            "h1", 3, "server:R3", "HALTING", "block_and_cancel", 5, 6, (CAUSE,), "R3 …", records.Money(1.5), "desk"
        ),
    ),
    ("heartbeat", records.Heartbeat(5, 1)),
    ("ack", records.Ack("R3", 5, "h1", "server:R3", 3, "cancelling", 2, ("R3-1",))),
    ("command", records.Command("c1", 5, "resume", "server:R3", "fixed", "ops", "h1", 3)),
    ("dead-letter", records.DeadLetter("truncated", "…", "orderflow", 3, 17, 2, "AA==", "R3")),
    ("verdict", records.Breach("R3", 5, "rate", "rate", False, "open", "server:R3", 9.0, 8.0, 1.0, {}, FIRST, SOURCE)),
    ("verdict", records.FeatureRow("R3", 5, 50, {"orders": 3.0}, {"rate": 0.5}, SOURCE)),
    ("verdict", records.Tick(5, 1)),
    ("verdict", records.NodeSeen(NODE, SOURCE)),
    ("verdict", records.DeclaredSeen(DECLARED, SOURCE)),
    ("audit", records.AuditRecord(1, "00", "halt", {"scope": "firm"})),
]


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(msgspec.json.decode(json_schemas.shipped(name)))


@pytest.mark.parametrize("name", json_schemas.NAMES)
def test_shipped_file_is_fresh_and_a_valid_schema(name: str) -> None:
    assert json_schemas.shipped(name) == json_schemas.document(name), "run: python -m schemas.json_schemas"
    jsonschema.Draft202012Validator.check_schema(validator(name).schema)


def test_every_record_has_an_example() -> None:
    assert {name for name, _ in EXAMPLES} == set(json_schemas.RECORDS)


@pytest.mark.parametrize(("name", "record"), EXAMPLES)
def test_records_as_published_are_valid(name: str, record: msgspec.Struct) -> None:
    value = msgspec.json.decode(records.encode(record))
    validator(name).validate(value)
    validator(name).validate({**value, "a_later_field": 1})  # records evolve by added fields


@pytest.mark.parametrize(("name", "record"), EXAMPLES)
def test_records_without_a_field_are_refused_by_both(name: str, record: msgspec.Struct) -> None:
    """For each field: the schema wants it exactly if the struct cannot do without it."""
    value: dict[str, Any] = msgspec.json.decode(records.encode(record))
    for field in value:
        less = {key: entry for key, entry in value.items() if key != field}
        try:
            records.decode(msgspec.json.encode(less), json_schemas.RECORDS[name])
            readable = True
        except msgspec.ValidationError:
            readable = False
        expected = readable and field != "type"  # a reader of one type can do without its tag, other readers cannot
        assert validator(name).is_valid(less) == expected, field


def test_generator_writes_what_is_shipped(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json").mkdir()
    monkeypatch.setattr(json_schemas, "files", lambda _: tmp_path)
    json_schemas.main()
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "json").iterdir()}
    assert written == {json_schemas.file_name(name): json_schemas.shipped(name) for name in json_schemas.NAMES}


def accepted(event: object) -> bool:
    return decode("orderflow", 0, [msgspec.json.encode(event)], [0]).refused == []


@given(data=st.data())
@settings(deadline=None)
def test_good_events_pass_the_schema(data: st.DataObject, good_event: st.SearchStrategy[dict[str, Any]]) -> None:
    event = data.draw(good_event)
    validator("order-event").validate(event)
    assert accepted(event)


@given(data=st.data())
@settings(max_examples=500, deadline=None)
def test_schema_and_codec_agree(data: st.DataObject, mutated_event: st.SearchStrategy[dict[str, Any]]) -> None:
    event = data.draw(mutated_event)
    assert validator("order-event").is_valid(event) == accepted(event)


@pytest.mark.parametrize("event", [[], "x", 5, None, True, {}, {"v": 1}])
def test_schema_and_codec_agree_on_what_is_no_event(event: object) -> None:
    assert not validator("order-event").is_valid(event)
    assert not accepted([event])
