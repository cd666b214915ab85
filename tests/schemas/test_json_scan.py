"""The compiled reader of JSON takes only what the careful one makes the same of, bit by bit; all else it leaves alone."""

import json
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import codec_json
from schemas.codec import decode
from schemas.events import EVENT, Kind, Phase, Side
from schemas.json_scan import scan
from schemas.packed import Packed
from schemas.units import QTY_MAX, TS_NS_MAX, TS_NS_MIN

GOOD: Final[dict[str, Any]] = {
    "v": 1, "kind": "order", "server": "R1", "seq": 7, "ts": TS_NS_MIN + 5, "parent_id": "P1", "cl_ord_id": "C1",
    "symbol": "ABC", "strategy": "VWAP", "account": "A1", "venue": "X", "side": "B", "qty": 100, "px": 10.01,
    "bid": 10.0, "ask": 10.02, "phase": "cont", "poss_dup": False,
}  # fmt: skip
_ids = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=26)
_numbers = st.one_of(
    st.integers(0, 2**64 + 5).map(str),
    st.integers(QTY_MAX - 2, QTY_MAX + 2).map(str),
    st.tuples(st.integers(0, 10**12), st.text("0123456789", min_size=1, max_size=12)).map(lambda p: f"{p[0]}.{p[1]}"),
    st.floats(0, 1e10, allow_nan=False).map(repr),
    st.sampled_from(
        ["-1", "-0", "0", "00", "01", "1.", ".5", "1e2", "1E-3", "0.0", "1.5.2", "", "null", '"1"', "Infinity"]
    ),
)
_spaces = st.sampled_from(["", "", " ", "\n\t ", "\r"])


@st.composite
def spelled(draw: Callable[..., Any]) -> bytes:
    """An event as some producer might write it: any order of keys, spaces anywhere, now and then something odd."""
    fields = {k: json.dumps(v) for k, v in GOOD.items()}
    for name in draw(st.lists(st.sampled_from([n for n in GOOD if n not in ("v", "kind", "server", "seq", "ts")]))):
        fields.pop(name, None)
    for name in draw(st.lists(st.sampled_from(["seq", "ts", "qty", "px", "bid", "ask", "v"]), max_size=3)):
        fields[name] = draw(_numbers)
    for name in draw(st.lists(st.sampled_from(["server", "parent_id", "exec_id", "symbol", "venue"]), max_size=2)):
        fields[name] = f'"{draw(_ids)}"'
    fields["ts"] = str(draw(st.integers(TS_NS_MIN - 1, TS_NS_MAX + 1))) if draw(st.booleans()) else fields["ts"]
    fields["kind"] = json.dumps(draw(st.sampled_from([*(k.name for k in Kind), "Order", ""])))
    fields["side"] = json.dumps(draw(st.sampled_from([*(s.name for s in Side if s is not Side.none), "", "x"])))
    fields["phase"] = json.dumps(draw(st.sampled_from([*(p.name for p in Phase if p is not Phase.none), "none", ""])))
    fields["poss_dup"] = draw(st.sampled_from(["true", "false", "1", "True", "null"]))
    names = draw(st.permutations(list(fields)))
    if draw(st.integers(0, 9)) == 0:
        names = [*names, draw(st.sampled_from(names))]
    gap = draw(_spaces)
    text = ("," + gap).join(f'"{name}"{gap}:{gap}{fields[name]}' for name in names)
    odd = draw(st.sampled_from(["", "", "", ',"note":1', ",", " x"]))
    return f"{gap}{{{gap}{text}{odd}{gap}}}{gap}".encode("latin-1")


def agrees(values: list[bytes]) -> int:
    """What the compiled reader takes is what the careful one makes of it; returns how many values were taken."""
    rows, left = scan(values)
    careful, refused = codec_json.decode(values, np.arange(len(values)))
    at_fault = {refusal.value for refusal in refused}
    taken = sorted(set(range(len(values))) - set(left.tolist()))
    assert not at_fault & set(taken), "it takes nothing that is refused"
    here = np.isin(careful.values, taken)
    assert rows.events.tolist() == careful.events[here].tolist()
    assert (rows.values == careful.values[here]).all()
    assert (rows.items == careful.items[here]).all()
    return len(taken)


@settings(max_examples=150, deadline=None)
@given(st.lists(spelled(), min_size=1, max_size=4))
def test_same_as_the_careful_reader(values: list[bytes]) -> None:
    agrees(values)
    agrees([b"[" + b" , ".join(values) + b"]", *values])


@settings(max_examples=150, deadline=None)
@given(spelled(), st.data())
def test_damaged_bytes(value: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(value)))
    junk = data.draw(st.binary(max_size=3))
    agrees([value[:place] + junk + value[place + data.draw(st.integers(0, 3)) :], value[:place], value])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5))
@example([b"", b"{", b"[", b"[]", b"{}", b"[{}]", b'{"', b'{"v"', b"\x00", b"[" * 500])
def test_any_bytes(values: list[bytes]) -> None:
    agrees(values)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**18), st.integers(0, 15))
def test_prices_are_those_of_the_careful_reader(digits: int, decimals: int) -> None:
    text = f"{digits:0{decimals + 1}d}"
    px = text[: len(text) - decimals] + ("." + text[len(text) - decimals :] if decimals else "")
    agrees([json.dumps(GOOD).replace("10.01", px).encode()])


def test_what_producers_write_is_taken() -> None:
    values = [json.dumps({**GOOD, "seq": i}).encode() for i in range(50)]
    compact = [json.dumps({**GOOD, "seq": i}, separators=(",", ":")).encode() for i in range(50)]
    arrays = [b"[" + b",".join(compact) + b"]"]
    assert agrees(values) == agrees(compact) == 50
    assert agrees(arrays) == 1
    lengths = np.fromiter(map(len, compact), np.int64)
    packed = Packed(b"".join(compact), lengths.cumsum() - lengths, lengths)
    rows, left = scan(packed)
    assert not len(left)
    assert rows.events["seq"].tolist() == list(range(50))


@pytest.mark.parametrize(
    "changed",
    [
        {"px": -1.0}, {"qty": QTY_MAX + 1}, {"ts": 0}, {"server": ""}, {"server": "R\u00e9"}, {"symbol": "A" * 13},
        {"kind": "buy"}, {"v": 2}, {"nested": {}}, {"px": True}, {"qty": 1.5}, {"parent_id": "a\\b"}, {"px": 1e300},
    ],
    ids=str,
)  # fmt: skip
def test_the_odd_is_left_to_the_careful_reader(changed: dict[str, Any]) -> None:
    value = json.dumps({**GOOD, **changed}).encode()
    assert agrees([value]) == 0


@pytest.mark.parametrize("name", ["v", "kind", "server", "seq", "ts"])
def test_nothing_that_lacks_a_field_is_taken(name: str) -> None:
    assert agrees([json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()]) == 0


@pytest.mark.parametrize(
    "again",
    ['"parent_id":"Q"', '"qty":7', '"px":1.5', '"side":"S"', '"poss_dup":true', '"kind":"cancel"', '"server":"LONGER"'],
)
def test_a_key_that_comes_twice_is_not_taken(again: str) -> None:
    text = json.dumps(GOOD)
    assert agrees([f"{{{again},{text[1:]}".encode(), f"{text[:-1]},{again}}}".encode()]) == 0


@pytest.mark.parametrize(
    "key", ["parent_id\\u0000", "parent_id\0", "Parent_id", "parent_ie", "orig_cl_ord_id_of_it", ""]
)
def test_a_key_that_only_looks_known_is_not_taken(key: str) -> None:
    assert agrees([json.dumps(GOOD).replace("parent_id", key).encode()]) == 0


def test_cutting_does_not_matter(rng_values: list[bytes | None]) -> None:
    offsets = np.arange(len(rng_values))
    whole = decode("orderflow", 0, rng_values, offsets)
    parts = [decode("orderflow", 0, rng_values[a : a + 3], offsets[a : a + 3]) for a in range(0, len(rng_values), 3)]
    events = np.concatenate([part.batch.events for part in parts], dtype=EVENT)
    assert events.tolist() == whole.batch.events.tolist()
    assert [letter for part in parts for letter in part.refused] == whole.refused
    assert np.concatenate([part.batch.offsets for part in parts]).tolist() == whole.batch.offsets.tolist()


@pytest.fixture
def rng_values() -> list[bytes | None]:
    """Good events, arrays, SBE-looking garbage, nothing at all, in turns."""
    good = [json.dumps({**GOOD, "seq": i}).encode() for i in range(8)]
    return [
        *good[:3], None, b"", b"[" + b",".join(good[3:5]) + b"]", good[5][:-1], b"\xff\xfe", good[6], b"[]",
        json.dumps({**GOOD, "px": -3}).encode(), good[7],
    ]  # fmt: skip
