"""Laws of the codec: what holds for every event, every value and every way of cutting a log."""

import re
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.codec import (
    Decoded,
    Reason,
    decode,
    encode_json,
    encode_json_each,
    encode_sbe,
    encode_sbe_each,
    from_dicts,
    from_dicts_tolerant,
    to_dicts,
)
from schemas.codec_check import bad_rows, explain_row
from schemas.codec_rules import explain
from schemas.events import EVENT, batch_of, concat
from schemas.records import DeadLetter

Events = NDArray[Any]
Value = bytes | None


def one_call(values: list[Value], first_offset: int = 0) -> Decoded:
    return decode("orderflow", 3, values, range(first_offset, first_offset + len(values)))


def same(left: Decoded, right: Decoded) -> bool:
    batches = (left.batch, right.batch)
    return (
        encode_sbe(batches[0].events) == encode_sbe(batches[1].events)
        and batches[0].offsets.tolist() == batches[1].offsets.tolist()
        and batches[0].items.tolist() == batches[1].items.tolist()
        and left.refused == right.refused
    )


def joined(parts: list[Decoded]) -> Decoded:
    return Decoded(concat([part.batch for part in parts]), [letter for part in parts for letter in part.refused])


@given(data=st.data())
@settings(deadline=None)
def test_columns_survive_json_and_sbe(data: st.DataObject, good_event: st.SearchStrategy[dict[str, Any]]) -> None:
    dicts = data.draw(st.lists(good_event, min_size=1, max_size=5))
    events = from_dicts(dicts)
    assert events.dtype == EVENT
    for value in (encode_json(events), encode_sbe(events)):
        got = one_call([value], 7)
        assert got.refused == []
        assert encode_sbe(got.batch.events) == encode_sbe(events)
        assert got.batch.offsets.tolist() == [7] * len(dicts)
        assert got.batch.items.tolist() == list(range(len(dicts)))
        assert (got.batch.topic, got.batch.partition) == ("orderflow", 3)
    for values in (encode_json_each(events), encode_sbe_each(events)):
        got = one_call(list(values), 7)
        assert encode_sbe(got.batch.events) == encode_sbe(events)
        assert got.batch.offsets.tolist() == list(range(7, 7 + len(dicts)))
        assert got.batch.items.tolist() == [0] * len(dicts)


@given(data=st.data())
@settings(deadline=None)
def test_dicts_come_back_as_they_were(data: st.DataObject, good_event: st.SearchStrategy[dict[str, Any]]) -> None:
    event = data.draw(good_event)
    back = to_dicts(from_dicts([event]))[0]
    defaults = {"qty": 0, "px": 0.0, "bid": 0.0, "ask": 0.0, "poss_dup": False}
    assert back == {**defaults, **{name: value for name, value in event.items() if value != ""}}


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_every_way_in_agrees_with_the_rules(
    data: st.DataObject, mutated_event: st.SearchStrategy[dict[str, Any]]
) -> None:
    """JSON bytes, dicts and the plain function accept the same events, and give the same reason and sentence."""
    event = data.draw(mutated_event)
    fault = explain(event)
    got = one_call([msgspec.json.encode(event)])
    events, refusals = from_dicts_tolerant([event])
    if fault is None:
        assert got.refused == []
        assert refusals == []
        assert encode_sbe(got.batch.events) == encode_sbe(events)
        assert not bad_rows(events).any()
    else:
        assert len(got.batch) == len(events) == 0
        assert [(letter.reason, letter.detail) for letter in got.refused] == [fault]
        assert [(refusal.reason, refusal.detail) for refusal in refusals] == [fault]


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_the_check_by_columns_agrees_with_the_rules_on_any_bytes(
    data: st.DataObject, good_event: st.SearchStrategy[dict[str, Any]]
) -> None:
    """Any byte of any event may be anything: a row is marked bad exactly if it breaks a rule of ``explain``."""
    events = from_dicts(data.draw(st.lists(good_event, min_size=1, max_size=20)))
    octets = np.frombuffer(encode_sbe(events), np.uint8).copy().reshape(-1, EVENT.itemsize)
    changes = st.tuples(st.integers(0, len(events) - 1), st.integers(8, EVENT.itemsize - 1), st.integers(0, 255))
    for row, place, value in data.draw(st.lists(changes, max_size=6)):
        octets[row, place] = value
    raw = octets.reshape(-1).view(EVENT)
    bad = bad_rows(raw)
    for row, event in enumerate(raw):
        if bad[row]:
            reason, detail = explain_row(event)  # asserts that it finds a fault
            assert isinstance(reason, Reason)
            assert detail
        else:
            words = to_dicts(raw[row : row + 1])[0]
            assert explain(words) is None
            assert encode_sbe(from_dicts([words])) == encode_sbe(raw[row : row + 1])


def values_of(good_event: st.SearchStrategy[dict[str, Any]], mutated_event: Any) -> st.SearchStrategy[Value]:
    """Kafka values of every sort: both encodings, one event or several, cut short, spoilt, and no event at all."""
    several = st.lists(good_event, min_size=1, max_size=4).map(from_dicts)
    whole = st.one_of(several.map(encode_json), several.map(encode_sbe))
    broken_json = st.lists(mutated_event, min_size=1, max_size=4).map(msgspec.json.encode)
    cut = st.tuples(whole, st.floats(0, 1)).map(lambda pair: pair[0][: int(len(pair[0]) * pair[1])])
    spoilt = st.tuples(whole, st.floats(0, 0.999), st.integers(0, 255)).map(_spoil)
    return st.one_of(whole, broken_json, cut, spoilt, st.binary(max_size=300), st.none())


def _spoil(parts: tuple[bytes, float, int]) -> bytes:
    data = bytearray(parts[0])
    data[int(len(data) * parts[1])] = parts[2]
    return bytes(data)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_cutting_does_not_matter_and_nothing_is_lost(
    data: st.DataObject,
    good_event: st.SearchStrategy[dict[str, Any]],
    mutated_event: st.SearchStrategy[dict[str, Any]],
) -> None:
    values = data.draw(st.lists(values_of(good_event, mutated_event), min_size=1, max_size=8))
    together = one_call(values, 100)
    single = [one_call([value], 100 + i) for i, value in enumerate(values)]
    assert same(together, joined(single))
    cut = data.draw(st.integers(0, len(values)))
    assert same(together, joined([one_call(values[:cut], 100), one_call(values[cut:], 100 + cut)]))
    for part in single:
        items = sorted([*part.batch.items.tolist(), *(letter.item for letter in part.refused)])
        assert items == list(range(len(items)))  # each event of a value is taken or refused, once
        assert items
    assert all(letter.reason in list(Reason) and letter.detail for letter in together.refused)
    assert [(x.offset, x.item) for x in together.refused] == sorted((x.offset, x.item) for x in together.refused)


@given(st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused_and_never_raises(garbage: bytes) -> None:
    for value in (garbage, encode_sbe(np.zeros(1, EVENT))[:8] + garbage, b"[" + garbage, b'{"v":1,' + garbage):
        got = one_call([value])
        assert len(got.batch) == 0
        assert got.refused


@pytest.mark.parametrize("copies", [1, 3])
def test_every_truncation_of_sbe_loses_only_what_is_cut(copies: int, good_order: dict[str, Any]) -> None:
    value = encode_sbe(from_dicts([good_order] * copies))
    for end in range(len(value)):
        got = one_call([value[:end]])
        assert len(got.batch) == end // EVENT.itemsize
        expected = Reason.empty if end == 0 else Reason.truncated
        left = end % EVENT.itemsize
        assert [letter.reason for letter in got.refused] == ([expected] if left or not end else [])


def test_every_truncation_of_json_is_refused(good_order: dict[str, Any]) -> None:
    value = encode_json(from_dicts([good_order, good_order]))
    for end in range(1, len(value)):
        got = one_call([value[:end]])
        assert len(got.batch) == 0
        in_number = re.search(rb":\d+\.$", value[:end])  # "606." is no number of JSON
        assert [letter.reason for letter in got.refused] == [Reason.undecodable if in_number else Reason.truncated]


@pytest.mark.parametrize("n", [1, 15, 16, 17, 2047, 2048, 2049, 5000])
def test_a_bad_text_is_found_in_every_place_of_a_large_batch(n: int, good_order: dict[str, Any]) -> None:
    """The check by columns works in blocks and folds of rows: none of their edges may hide a row."""
    events = np.repeat(from_dicts([good_order]), n)
    octets = np.frombuffer(encode_sbe(events), np.uint8).copy().reshape(n, EVENT.itemsize)
    start = EVENT.fields["strategy"][1]  # type: ignore[index]
    for row in {0, 1, n // 2, n - 2, n - 1} & set(range(n)):
        for byte, text in ((1, 0x07), (1, 0x80), (1, 0x00)):
            spoilt = octets.copy()
            spoilt[row, start + byte] = text
            assert np.flatnonzero(bad_rows(spoilt.reshape(-1).view(EVENT))).tolist() == [row]


def test_padding_bytes_are_ignored_and_written_as_zero(good_order: dict[str, Any]) -> None:
    clean = encode_sbe(from_dicts([good_order]))
    dirty = clean[:-4] + b"\xff\xff\xff\xff"
    got = one_call([dirty])
    assert got.refused == []
    assert encode_sbe(got.batch.events) == clean


def test_batches_of_one_event_a_record_match_batch_of(good_order: dict[str, Any]) -> None:
    events = from_dicts([{**good_order, "seq": seq} for seq in range(5)])
    got = decode("t", 1, encode_sbe_each(events), np.arange(10, 15))
    expected = batch_of(events, "t", 1, 10)
    assert same(got, Decoded(expected, []))
    assert (got.batch.offsets.dtype, got.batch.items.dtype) == (expected.offsets.dtype, expected.items.dtype)


def test_dead_letters_are_records(good_order: dict[str, Any]) -> None:
    got = one_call([b"{}"])
    assert isinstance(got.refused[0], DeadLetter)
