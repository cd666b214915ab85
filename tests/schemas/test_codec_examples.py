"""The codec by example: each reason with the sentence a person reads, positions, keys, and version 1 as bytes."""

import base64
import struct
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.codec import (
    PAYLOAD_BYTES_MAX,
    CodecError,
    Reason,
    decode,
    encode_json,
    encode_sbe,
    from_dicts,
    from_dicts_tolerant,
    peek_server,
    to_dicts,
)
from schemas.codec_rules import REQUIRED
from schemas.events import EVENT, MESSAGE, Kind, empty_events
from schemas.records import DeadLetter
from schemas.units import PX9_MAX, QTY_MAX, TS_NS_MAX, TS_NS_MIN

Event = dict[str, Any]


def refused(*values: bytes | None) -> list[DeadLetter]:
    return decode("orderflow", 0, values, range(len(values))).refused


@pytest.mark.parametrize(
    ("change", "reason", "sentence"),
    [
        ({"v": 2}, Reason.wrong_version, "v is 2; this decoder knows version 1"),
        ({"v": "1"}, Reason.wrong_type, "v is '1'; expected the integer 1"),
        ({"v": None}, Reason.wrong_type, "v is null; expected the integer 1"),
        ({"kind": "ordr"}, Reason.unknown_kind, "kind is 'ordr'; expected one of parent, parent_done, order,"),
        ({"kind": []}, Reason.wrong_type, "kind is an array; expected text"),
        ({"seq": -1}, Reason.out_of_range, "seq is -1; expected 0 to 9223372036854775807"),
        ({"seq": 2**63}, Reason.out_of_range, "seq is 9223372036854775808; expected"),
        ({"seq": 10**60}, Reason.out_of_range, "seq is an integer of 200 bits; expected"),
        ({"seq": True}, Reason.wrong_type, "seq is true; expected an integer"),
        ({"seq": 1.5}, Reason.wrong_type, "seq is 1.5; expected an integer"),
        ({"ts": TS_NS_MIN - 1}, Reason.out_of_range, f"ts is {TS_NS_MIN - 1}; expected {TS_NS_MIN} to {TS_NS_MAX}"),
        ({"ts": TS_NS_MAX + 1}, Reason.out_of_range, f"ts is {TS_NS_MAX + 1}; expected"),
        ({"qty": 0}, Reason.out_of_range, f"qty is 0; an order needs 1 to {QTY_MAX}"),
        ({"qty": -100}, Reason.out_of_range, f"qty is -100; expected 0 to {QTY_MAX}"),
        ({"qty": QTY_MAX + 1}, Reason.out_of_range, "qty is 1000000001; expected"),
        ({"qty": "100"}, Reason.wrong_type, "qty is '100'; expected an integer"),
        ({"px": -0.01}, Reason.out_of_range, "px is -0.01; expected 0 to 1000000"),
        ({"px": 1_000_000.01}, Reason.out_of_range, "px is 1000000.01; expected 0 to 1000000"),
        ({"px": "606.81"}, Reason.wrong_type, "px is '606.81'; expected a number"),
        ({"bid": -1}, Reason.out_of_range, "bid is -1; expected"),
        ({"ask": 1e300}, Reason.out_of_range, "ask is 1e+300; expected"),
        ({"side": "BUY"}, Reason.unknown_word, "side is 'BUY'; expected one of B, S, SS"),
        ({"side": 1}, Reason.unknown_word, "side is 1; expected one of B, S, SS"),
        ({"side": ""}, Reason.missing_field, "side is missing or empty; an order needs it"),
        (
            {"phase": "lunch"},
            Reason.unknown_word,
            "phase is 'lunch'; expected one of pre, open, cont, close, post, halt",
        ),
        ({"poss_dup": 1}, Reason.wrong_type, "poss_dup is 1; expected true or false"),
        ({"server": ""}, Reason.missing_field, "server is missing or empty; an order needs it"),
        ({"server": "R" * 17}, Reason.oversized_field, "server has 17 characters; expected at most 16"),
        ({"cl_ord_id": "x" * 25}, Reason.oversized_field, "cl_ord_id has 25 characters; expected at most 24"),
        ({"symbol": "x" * 13}, Reason.oversized_field, "symbol has 13 characters; expected at most 12"),
        ({"symbol": "BÖRSE"}, Reason.not_printable, "symbol is 'B\\xd6RSE'; expected printable ASCII"),
        ({"account": "A\x00"}, Reason.not_printable, "account is 'A\\x00'; expected printable ASCII"),
        ({"venue": "X\n"}, Reason.not_printable, "venue is 'X\\n'; expected printable ASCII"),
        ({"strategy": 5}, Reason.wrong_type, "strategy is 5; expected text of at most 12 characters"),
        ({"kind": "fill", "px": 0}, Reason.out_of_range, "px is 0; a fill needs a price above 0"),
        ({"kind": "fill", "px": 4e-10}, Reason.out_of_range, "px is 4e-10; a fill needs a price above 0"),
    ],
)
def test_reasons_in_json(change: Event, reason: Reason, sentence: str, good_order: Event) -> None:
    """From bytes and from dicts alike, and the sentence says what was found and what was expected."""
    event = {**good_order, **change}
    (letter,) = refused(msgspec.json.encode(event))
    assert letter.reason == reason
    assert letter.detail.startswith(sentence)
    _, (refusal,) = from_dicts_tolerant([event])
    assert (refusal.reason, refusal.detail) == (reason, letter.detail)


@pytest.mark.parametrize("name", ["v", "kind", "server", "seq", "ts"])
def test_what_every_event_needs(name: str, good_order: Event) -> None:
    del good_order[name]
    (letter,) = refused(msgspec.json.encode(good_order))
    assert letter.reason == Reason.missing_field
    assert letter.detail == f"{name} is missing; every event needs v, kind, server, seq, ts"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in Kind for name in REQUIRED[kind]])
def test_what_a_kind_needs(kind: Kind, name: str, good_order: Event) -> None:
    whole = {**good_order, "kind": kind.name, "orig_cl_ord_id": "R3-000122"}
    assert refused(msgspec.json.encode(whole)) == []
    events = from_dicts([whole])
    del whole[name]
    (letter,) = refused(msgspec.json.encode(whole))
    assert letter.reason == Reason.missing_field
    assert name in letter.detail
    events[name] = 0 if EVENT[name].kind in "iu" else b""
    (letter,) = refused(encode_sbe(events))
    assert letter.reason == (Reason.out_of_range if name in ("qty", "px") else Reason.missing_field)
    assert name in letter.detail


def test_a_canceled_needs_either_id(good_order: Event) -> None:
    bare = {name: good_order[name] for name in ("v", "server", "seq", "ts")} | {"kind": "canceled"}
    assert (
        refused(msgspec.json.encode({**bare, "cl_ord_id": "a"}), msgspec.json.encode({**bare, "orig_cl_ord_id": "a"}))
        == []
    )
    (letter,) = refused(msgspec.json.encode(bare))
    assert letter.detail == "a canceled needs cl_ord_id or orig_cl_ord_id; both are missing or empty"


@pytest.mark.parametrize(
    ("field", "value", "reason", "sentence"),
    [
        ("kind", 0, Reason.unknown_kind, "kind is 0; expected one of parent,"),
        ("kind", 12, Reason.unknown_kind, "kind is 12; expected one of parent,"),
        ("side", 3, Reason.unknown_word, "side is 3; expected one of B, S, SS"),
        ("phase", 7, Reason.unknown_word, "phase is 7; expected one of pre,"),
        ("flags", 2, Reason.unknown_word, "flags is 2; expected 0 or 1 (poss_dup)"),
        ("seq", 2**63, Reason.out_of_range, "seq is 9223372036854775808; expected 0 to"),
        ("ts", 0, Reason.out_of_range, "ts is 0; expected 631152000000000000 to"),
        ("ts", TS_NS_MAX + 1, Reason.out_of_range, "ts is 4102444800000000001; expected"),
        ("qty", -1, Reason.out_of_range, "qty is -1; expected 0 to"),
        ("px", -1, Reason.out_of_range, "px is -1e-09; expected 0 to"),
        ("px", PX9_MAX + 1, Reason.out_of_range, "px is 1000000.000000001; expected 0 to"),
        ("bid", -(2**63), Reason.out_of_range, "bid is -9223372036.854776; expected 0 to"),
        ("server", b"", Reason.missing_field, "server is missing or empty"),
        ("symbol", b"A\x00B", Reason.not_printable, "symbol is 'A\\x00B'; expected printable ASCII"),
        ("symbol", b"\x00B", Reason.not_printable, "symbol is '\\x00B'; expected printable ASCII"),
        ("venue", b"X\x1f", Reason.not_printable, "venue is 'X\\x1f'; expected"),
        ("exec_id", b"\xff", Reason.not_printable, "exec_id is '\\xff'; expected"),
        ("account", b"\x7f", Reason.not_printable, "account is '\\x7f'; expected"),
    ],
)
def test_reasons_in_sbe(field: str, value: Any, reason: Reason, sentence: str, good_order: Event) -> None:
    """Only the broken one of three is refused, and its place and payload are given."""
    events = from_dicts([good_order] * 3)
    events[field][1] = value
    got = decode("orderflow", 5, [encode_sbe(events)], [77])
    (letter,) = got.refused
    assert letter.reason == reason
    assert letter.detail.startswith(sentence)
    assert (letter.topic, letter.partition, letter.offset, letter.item) == ("orderflow", 5, 77, 1)
    assert base64.b64decode(letter.payload) == encode_sbe(events[1:2])
    assert letter.key == ("" if field == "server" else "R3")
    assert got.batch.items.tolist() == [0, 2]
    assert got.batch.offsets.tolist() == [77, 77]


HEADER = struct.Struct("<4H")
BLOCK, TEMPLATE, SCHEMA, VERSION = MESSAGE.header


@pytest.mark.parametrize(
    ("header", "reason", "kept", "letters"),
    [
        ((BLOCK, TEMPLATE, SCHEMA, 2), Reason.wrong_version, [0, 2], [1]),
        ((BLOCK, TEMPLATE, SCHEMA, 0), Reason.wrong_version, [0, 2], [1]),
        ((BLOCK, 2, SCHEMA, VERSION), Reason.wrong_schema, [0], [1]),
        ((BLOCK, TEMPLATE, 9, VERSION), Reason.wrong_schema, [0], [1]),
        ((BLOCK + 8, TEMPLATE, SCHEMA, VERSION), Reason.wrong_schema, [0], [1]),
        ((0, TEMPLATE, SCHEMA, 2), Reason.wrong_version, [0], [1]),
    ],
)
def test_foreign_headers(
    header: tuple[int, ...], reason: Reason, kept: list[int], letters: list[int], good_order: Event
) -> None:
    """Reading goes on after a message of another version; after what cannot be measured it stops."""
    message = encode_sbe(from_dicts([good_order]))
    got = decode("orderflow", 0, [message + HEADER.pack(*header) + message[8:] + message], [0])
    assert got.batch.items.tolist() == kept
    assert [(letter.reason, letter.item) for letter in got.refused] == [(reason, item) for item in letters]


def test_a_longer_message_of_a_later_version_is_skipped_whole(good_order: Event) -> None:
    message = encode_sbe(from_dicts([good_order]))
    later = HEADER.pack(BLOCK + 16, TEMPLATE, SCHEMA, 2) + message[8:] + b"\x01" * 16
    got = decode("orderflow", 0, [message + later + message], [0])
    assert got.batch.items.tolist() == [0, 2]
    (letter,) = got.refused
    assert letter.detail == "the message is of version 2; this decoder knows version 1"
    assert (letter.item, letter.key) == (1, "R3")
    assert base64.b64decode(letter.payload) == later


def test_both_encodings_in_one_call(good_order: Event) -> None:
    """Offsets and items stay with their events, whatever stands between them."""
    events = from_dicts([{**good_order, "seq": seq} for seq in range(8)])
    values = [
        encode_sbe(events[0:2]),
        encode_json(events[2:3]),
        None,
        b" \n" + encode_json(events[3:6]),
        b"",
        encode_sbe(events[6:7]),
        b"[]",
        b"\xfe",
        encode_json(events[7:8]) + b"\n",
    ]
    got = decode("orderflow", 0, values, range(50, 59))
    assert got.batch.events["seq"].tolist() == list(range(8))
    assert got.batch.offsets.tolist() == [50, 50, 51, 53, 53, 53, 55, 58]
    assert got.batch.items.tolist() == [0, 1, 0, 0, 1, 2, 0, 0]
    assert [(letter.offset, letter.reason) for letter in got.refused] == [
        (52, "empty"), (54, "empty"), (56, "empty"), (57, "undecodable"),
    ]  # fmt: skip


def test_good_items_of_an_array_go_on(good_order: Event) -> None:
    bad = {**good_order, "qty": -5}
    value = msgspec.json.encode([good_order, bad, 17, {**good_order, "kind": "cancel"}, good_order])
    got = decode("orderflow", 0, [value], [9])
    assert got.batch.items.tolist() == [0, 4]
    assert [(x.item, x.reason, x.key) for x in got.refused] == [
        (1, "out_of_range", "R3"), (2, "wrong_type", ""), (3, "missing_field", "R3"),
    ]  # fmt: skip
    assert msgspec.json.decode(base64.b64decode(got.refused[0].payload)) == bad


def test_json_as_others_write_it(good_order: Event) -> None:
    """Unknown fields, integral floats, an integer price, escapes and spaces are all fine."""
    text = (
        b'{ "v":1.0, "kind":"order", "server":"R\\u0033", "seq":1e2, "ts":1343827800000000000, "cl_ord_id":"a\\/b",'
        b'"symbol":"BRK.B", "side":"SS", "qty":100.0, "px":42, "new_field":{"a":[null]}, "poss_dup":true }'
    )
    got = decode("orderflow", 0, [text], [0])
    assert got.refused == []
    (event,) = to_dicts(got.batch.events)
    assert event == {
        "v": 1, "kind": "order", "server": "R3", "seq": 100, "ts": 1343827800000000000, "cl_ord_id": "a/b",
        "symbol": "BRK.B", "side": "SS", "qty": 100, "px": 42.0, "bid": 0.0, "ask": 0.0, "poss_dup": True,
    }  # fmt: skip


@pytest.mark.parametrize("price", [0.01, 123.45, 606.81, 0.1 + 0.2, 999_999.999999999, 1e6, 1e-9, 0.0001])
def test_prices_round_to_the_nearest_unit(price: float, good_order: Event) -> None:
    got = decode("orderflow", 0, [msgspec.json.encode({**good_order, "px": price})], [0])
    assert int(got.batch.events["px"][0]) == round(price * 1e9)


@pytest.mark.parametrize("text", [b'{"px":NaN}', b'{"px":Infinity}', b'{"px":1e999}', b"[1,]", b"\xef\xbb\xbf{}"])
def test_what_is_no_json(text: bytes) -> None:
    (letter,) = refused(text)
    assert letter.reason == Reason.undecodable


def test_deep_nesting_is_refused(good_order: Event) -> None:
    text = msgspec.json.encode(good_order)[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert [x.reason for x in refused(text, b"[" * 100_000)] == [Reason.undecodable, Reason.undecodable]


def test_payloads_are_short() -> None:
    (letter,) = refused(b"{" * 10_000)
    assert base64.b64decode(letter.payload) == b"{" * PAYLOAD_BYTES_MAX


def test_peek_server(good_order: Event) -> None:
    events = from_dicts([good_order])
    assert peek_server(encode_sbe(events)) == "R3"
    assert peek_server(encode_json(events)) == "R3"
    assert peek_server(b'[{"v":1, "server" : "R 7", "seq":') == "R 7"
    for value in (None, b"", b"\xd8", b"\x00" * 300, encode_sbe(events)[:100], b'{"server":17}', b'{"server":""}'):
        assert peek_server(value) == ""
    events["server"] = b"\xff\xfe"
    assert peek_server(encode_sbe(events)) == ""


def test_no_values_give_an_empty_batch() -> None:
    got = decode("orderflow", 0, [], [])
    assert len(got.batch) == 0
    assert got.batch.events.dtype == EVENT
    assert got.refused == []


def test_values_and_offsets_must_match() -> None:
    with pytest.raises(ValueError, match="2 values came with 1 offsets"):
        decode("orderflow", 0, [b"", b""], [0])


def test_from_dicts_says_which_event_is_wrong(good_order: Event) -> None:
    bad = {**good_order, "symbol": "x" * 13}
    with pytest.raises(CodecError, match=r"event 1 of 3: oversized_field: symbol has 13 characters.*and 1 more"):
        from_dicts([good_order, bad, bad])
    events, refusals = from_dicts_tolerant([good_order, bad, good_order])
    assert len(events) == 2
    assert [refusal.item for refusal in refusals] == [1]


def test_to_dicts_refuses_what_has_no_word() -> None:
    events = empty_events(1)
    with pytest.raises(ValueError, match=r"kind has the codes \[0\], which have no word"):
        to_dicts(events)


# --- version 1, as it was first published: these bytes must decode for ever -----------------------------------------

V1_EVENT = {
    "v": 1, "kind": "fill", "server": "R3", "seq": 4711, "ts": 1343827800123456789, "parent_id": "P-17",
    "cl_ord_id": "R3-000123", "orig_cl_ord_id": "R3-000122", "exec_id": "E-9", "symbol": "AAPL", "strategy": "vwap",
    "account": "ACC1", "venue": "XNYS", "side": "SS", "qty": 100, "px": 606.81, "bid": 606.8, "ask": 606.82,
    "phase": "cont", "poss_dup": True,
}  # fmt: skip
V1_JSON = (
    b'{"v":1,"kind":"fill","server":"R3","seq":4711,"ts":1343827800123456789,"parent_id":"P-17","cl_ord_id":"R3-000123",'
    b'"orig_cl_ord_id":"R3-000122","exec_id":"E-9","symbol":"AAPL","strategy":"vwap","account":"ACC1","venue":"XNYS",'
    b'"side":"SS","qty":100,"px":606.81,"bid":606.8,"ask":606.82,"phase":"cont","poss_dup":true}'
)
V1_SBE = bytes.fromhex(
    "d80001009e1b01006712000000000000153da7a9433ca612640000000000000080cab1488d000000003419488d00000000614a498d000000"
    "502d3137000000000000000000000000000000000000000052332d30303031323300000000000000000000000000000052332d3030303132"
    "32000000000000000000000000000000452d3900000000000000000000000000000000000000000052330000000000000000000000000000"
    "4141504c0000000000000000767761700000000000000000414343310000000000000000584e595300000000000000000705030100000000"
)


def test_version_1_stays() -> None:
    for value in (V1_JSON, V1_SBE):
        got = decode("orderflow", 0, [value], [0])
        assert got.refused == []
        assert to_dicts(got.batch.events) == [V1_EVENT]
    events = from_dicts([V1_EVENT])
    assert encode_sbe(events) == V1_SBE
    assert encode_json(events) == V1_JSON
    assert np.array_equal(events, got.batch.events)
