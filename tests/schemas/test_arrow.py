"""Columns to Arrow and back lose nothing, and what others wrote is taken only when it is exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import arrow
from schemas.events import EVENT, FLAG_POSS_DUP, Kind, Phase, Side, empty_events
from schemas.recording import record_schema

pa = pytest.importorskip("pyarrow")
word = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12).map(str.encode)


@st.composite
def events(draw: st.DrawFn) -> np.ndarray:
    n = draw(st.integers(0, 6))
    out = empty_events(n)
    for i in range(n):
        for name in EVENT.names[4:]:
            if EVENT[name].kind == "S":
                out[name][i] = draw(word)
            elif name in arrow.CODES:
                out[name][i] = draw(
                    st.sampled_from([int(m) for m in {"kind": Kind, "side": Side, "phase": Phase}[name]])
                )
            elif name == "flags":
                out[name][i] = draw(st.sampled_from([0, FLAG_POSS_DUP]))
            elif name == "ts":
                out[name][i] = draw(st.integers(0, 2**63 - 1))
            else:
                info = np.iinfo(EVENT[name])
                out[name][i] = draw(st.integers(int(info.min), int(info.max)))
    return out


@settings(max_examples=60)
@given(events())
def test_round_trip(given_events: np.ndarray) -> None:
    batch = arrow.to_arrow(given_events)
    assert batch.schema.equals(arrow.schema(), check_metadata=True)
    batch.validate(full=True)
    assert arrow.from_arrow(batch).tobytes() == given_events.tobytes()


def some(n: int = 5) -> np.ndarray:
    out = empty_events(n)
    out["ts"] = np.arange(n) + 1_343_827_800_000_000_000
    out["kind"], out["side"] = Kind.fill, Side.SS
    out["server"], out["symbol"] = b"R3", [f"S{i % 2}".encode() for i in range(n)]
    out["cl_ord_id"] = [f"C{i}".encode() for i in range(n)]
    out["px"] = 10_250_000_000
    return out


def test_slices_and_tables() -> None:
    batch = arrow.to_arrow(some(20))
    assert (arrow.from_arrow(batch.slice(7, 9)) == some(20)[7:16]).all()
    table = pa.Table.from_batches([batch.slice(0, 3), batch.slice(3)])
    assert (arrow.from_arrow(table) == some(20)).all()


def test_plain_columns_of_other_writers_are_taken() -> None:
    table = pa.table(
        {
            name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for name, column in zip(arrow.COLUMNS, arrow.to_arrow(some()).columns, strict=True)
        }
    )
    table = table.set_column(0, "ts", table["ts"].cast(pa.timestamp("ns")))
    ids = pa.chunked_array([pa.array([f"C{i}" for i in range(5)], pa.large_string())])
    table = table.set_column(table.schema.get_field_index("cl_ord_id"), "cl_ord_id", ids)
    assert (arrow.from_arrow(table) == some()).all()


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.bool_])
@pytest.mark.parametrize(("start", "count"), [(0, 100), (1, 99), (7, 2), (8, 30), (13, 0), (61, 39)])
def test_an_array_is_looked_at_where_it_lies(kind: type, start: int, count: int) -> None:
    values = np.random.default_rng(4).integers(0, 2, 100).astype(kind)
    found = arrow.flat(pa.array(values).slice(start, count), kind)
    assert found.dtype == kind
    assert (found == values[start : start + count]).all()


def test_an_array_that_lies_there_otherwise_is_converted() -> None:
    assert arrow.flat(pa.array([3, 4], pa.int16()), np.int64).tolist() == [3, 4]
    assert arrow.flat(pa.array([3, None, 4], pa.float64()), np.float64)[[0, 2]].tolist() == [3.0, 4.0]


def test_columns_that_we_write_have_no_nulls_and_say_so() -> None:
    assert not any(field.nullable for field in arrow.schema())
    assert all(field.nullable for field in record_schema(events=True)), "a record that was refused has no columns"


def test_nulls_read_as_empty() -> None:
    batch = arrow.to_arrow(some())
    at = batch.schema.get_field_index
    for name in ("px", "symbol", "side", "cl_ord_id", "poss_dup"):
        batch = batch.set_column(at(name), name, pa.nulls(5, batch.column(name).type))
    found = arrow.from_arrow(batch)
    expected = some()
    expected["px"], expected["symbol"], expected["side"], expected["cl_ord_id"] = 0, b"", 0, b""
    assert (found == expected).all()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("kind", ["order"] * 4 + ["ordre"], "column kind: found 'ordre', expected one of parent"),
        ("px", [1.5] * 5, "column px: double does not read as int64"),
        ("cl_ord_id", ["x" * 25] * 5, "a value of 25 bytes; at most 24 fit"),
    ],
)
def test_what_does_not_fit_is_named(name: str, values: list, message: str) -> None:
    batch = arrow.to_arrow(some())
    batch = batch.set_column(batch.schema.get_field_index(name), name, pa.array(values))
    with pytest.raises(arrow.ArrowSchemaError, match=message):
        arrow.from_arrow(batch)


def test_missing_column_is_named() -> None:
    with pytest.raises(arrow.ArrowSchemaError, match="no column px; found ts, seq"):
        arrow.from_arrow(arrow.to_arrow(some()).drop_columns(["px"]))


def test_unknown_code_is_refused() -> None:
    bad = some()
    bad["kind"][2] = 99
    with pytest.raises(ValueError, match="column kind: found code 99"):
        arrow.to_arrow(bad)


@settings(max_examples=60)
@given(events())
def test_row_by_row_gives_what_column_by_column_does(given_events: np.ndarray) -> None:
    batch = arrow.to_arrow(given_events)
    whole = arrow.from_arrow(batch)
    table = pa.Table.from_batches([batch])  # tables go the long way
    assert arrow.from_arrow(table).tobytes() == whole.tobytes() == given_events.tobytes()


def test_a_word_beyond_its_dictionary_is_an_error() -> None:
    batch = arrow.to_arrow(some())
    at = batch.schema.get_field_index("symbol")
    column = batch.column(at)
    wrong = pa.DictionaryArray.from_arrays(pa.array([0, 1, 7, 0, 1], pa.int32()), column.dictionary, safe=False)
    with pytest.raises(arrow.ArrowSchemaError, match="word 0 to 7 of a dictionary of 2; the file is damaged"):
        arrow.from_arrow(batch.set_column(at, "symbol", wrong))
