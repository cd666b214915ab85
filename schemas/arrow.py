"""Order events as Arrow columns, and back: what recorded and simulated Parquet files hold.

Columns carry the names of the JSON fields, so that pandas, polars and duckdb read them without us: ``ts`` is a
timestamp (ns, UTC), names and codes are words, ``px``, ``bid`` and ``ask`` stay int64 of 1e-9, ``poss_dup`` is a
bool. The four ids are fixed_size_binary(24), padded with NUL, because those bytes are numpy's without a loop.

pyarrow is imported inside the functions: it is an extra, and whoever does not read Parquet does not need it.
No file is opened here; readers and writers live in the shells.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from schemas import arrow_rows as rows
from schemas.events import EVENT, FLAG_POSS_DUP, Kind, Phase, Side, empty_events

SCHEMA_KEY: Final = b"knightwatch.schema"
SCHEMA_NAME: Final = b"order-event/1"

NUMBERS: Final = ("seq", "qty", "px", "bid", "ask")
IDS: Final = ("parent_id", "cl_ord_id", "orig_cl_ord_id", "exec_id")
NAMES: Final = ("server", "symbol", "strategy", "account", "venue")
CODES: Final[dict[str, type[IntEnum]]] = {"kind": Kind, "side": Side, "phase": Phase}
COLUMNS: Final = ("ts", *NUMBERS, *IDS, *NAMES, *CODES, "poss_dup")
DICTIONARY_COLUMNS: Final = (*NAMES, *CODES)
"""Pass as ``read_dictionary`` of ``pyarrow.parquet.ParquetFile``; reading works without, but slower."""

ROW_GROUP_ROWS: Final = 131_072


class ArrowSchemaError(ValueError):
    """A table that is not order events: says what was found and what was expected."""


def schema() -> Any:
    """The ``pyarrow.Schema`` of order events; its metadata names the version.

    No column has nulls, and says so: a column that could have some takes a third longer to read.
    """
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    kinds: dict[str, Any] = {"ts": pa.timestamp("ns", tz="UTC"), "poss_dup": pa.bool_(), "seq": pa.uint64()}
    kinds |= {name: pa.int64() for name in NUMBERS if name != "seq"}
    kinds |= {name: pa.binary(EVENT[name].itemsize) for name in IDS}
    kinds |= dict.fromkeys((*NAMES, *CODES), word)
    unit = {b"unit": b"1e-9"}
    fields = [
        pa.field(name, kinds[name], nullable=False, metadata=unit if name in ("px", "bid", "ask") else None)
        for name in COLUMNS
    ]
    return pa.schema(fields, metadata={SCHEMA_KEY: SCHEMA_NAME})


def parquet_options() -> dict[str, Any]:
    """Keyword arguments for ``pyarrow.parquet.ParquetWriter``: measured 13 to 16 bytes and 0.5 us an event."""
    with_dictionary = [*DICTIONARY_COLUMNS, "qty", "px", "bid", "ask", "parent_id"]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": with_dictionary,
        "write_page_checksum": True,
        "column_encoding": {"seq": "DELTA_BINARY_PACKED", "ts": "DELTA_BINARY_PACKED"},
    }


def to_arrow(events: NDArray[Any]) -> Any:
    """(n,) EVENT -> ``pyarrow.RecordBatch`` of ``schema()``, n rows.

    ValueError when a kind, side or phase is not a known code (the codec lets none through).
    """
    import pyarrow as pa

    target = schema()
    n = len(events)
    columns: list[Any] = []
    for name in COLUMNS:
        if name == "poss_dup":
            columns.append(pa.array((events["flags"] & FLAG_POSS_DUP) != 0))
        elif name in IDS:
            columns.append(_fixed(events[name]))
        elif name in NAMES:
            columns.append(_words(events[name]))
        elif name in CODES:
            columns.append(_code_words(events[name], name))
        else:
            data = pa.py_buffer(np.ascontiguousarray(events[name]))
            columns.append(pa.Array.from_buffers(target.field(name).type, n, [None, data]))
    return pa.RecordBatch.from_arrays(columns, schema=target)


def from_arrow(table: Any) -> NDArray[Any]:
    """``pyarrow.RecordBatch`` or ``Table`` with at least the columns of ``schema()`` -> (n,) EVENT.

    Columns written by others are taken when they convert exactly: any string or binary type, any integer that fits,
    any timestamp. Nulls read as empty. Raises ArrowSchemaError naming the column otherwise.
    """
    missing = [name for name in COLUMNS if name not in table.schema.names]
    if missing:
        found = ", ".join(table.schema.names)
        raise ArrowSchemaError(f"no column {', '.join(missing)}; found {found}; expected {', '.join(COLUMNS)}")
    events = np.empty(table.num_rows, EVENT)
    Decoder().decoded(table).into(events, np.arange(len(events)), 0)
    return events


def flat(column: Any, kind: DTypeLike) -> NDArray[Any]:
    """(n,) of a numpy type: an Arrow array of numbers or bools, looked at where it lies if it is of that type.

    pyarrow's own ``to_numpy`` says the same, but loads pandas first: a third of a second.
    """
    import pyarrow as pa

    wanted, n = np.dtype(kind), len(column)
    if not n:
        return np.empty(0, wanted)
    if column.null_count or column.type != pa.from_numpy_dtype(wanted):
        return np.asarray(column.to_numpy(zero_copy_only=False), wanted)
    data, start = column.buffers()[1], column.offset
    if wanted == np.bool_:
        bits = np.frombuffer(data, np.uint8, offset=start // 8)
        return np.unpackbits(bits, count=start % 8 + n, bitorder="little")[start % 8 :].view(np.bool_)
    return np.frombuffer(data, wanted, n, start * wanted.itemsize)


class Decoded:
    """A table, looked at and ready to be written as events, in parts."""

    def __init__(self, table: Any, columns: rows.Columns | None) -> None:
        """columns: of the table; None where they are not in the very form of ``schema``."""
        self._table = table
        self._columns = columns

    def into(self, events: NDArray[Any], at: NDArray[np.int64], start: int) -> None:
        """Write row ``start + k`` of the table whole to row ``at[k]`` of ``events``, (m,) of EVENT."""
        if self._columns is not None:
            rows.scatter(events, at, self._columns, start)
        elif len(at):
            width = EVENT.itemsize // 8
            part = _column_by_column(self._table.slice(start, len(at)))
            events.view("<u8").reshape(-1, width)[at] = part.view("<u8").reshape(-1, width)


class Decoder:
    """Makes tables ready to be written as events. One decoder a file: it keeps what it made of the dictionaries, which from
    one record batch to the next are mostly the same."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, Any]] = {}
        """Column -> (dictionary, what was made of it)."""

    def decoded(self, table: Any) -> Decoded:
        """A table as for ``from_arrow``."""
        return Decoded(table, self._columns(table))

    def _columns(self, batch: Any) -> rows.Columns | None:
        """The columns of a record batch, if every one is as ``schema`` says, without nulls."""
        if not batch.num_rows or hasattr(batch, "to_batches"):
            return None
        found = {name: batch.column(name) for name in COLUMNS}
        types = _types()
        if any(column.type != types[name] or column.null_count for name, column in found.items()):
            return None
        tables = {name: self._of_words(name, found[name].dictionary, _code_table) for name in CODES}
        if any(table is None for table in tables.values()):
            return None
        numbers = (_number(found[name], name).view(np.uint64) for name in ("seq", "ts", *NUMBERS[1:]))
        ids = (_text(found[name], EVENT[name].itemsize).view("<u8").reshape(batch.num_rows, -1) for name in IDS)
        names = (
            rows.Word(indices(found[name]), self._of_words(name, found[name].dictionary, _words_of)) for name in NAMES
        )
        codes = (rows.Code(indices(found[name]), table) for name, table in tables.items())
        poss_dup = flat(found["poss_dup"], np.bool_).view(np.uint8)
        return rows.Columns(
            rows.Numbers(*numbers), rows.Ids(*ids), rows.Names(*names), rows.Codes(*codes), poss_dup
        )  # fmt: skip

    def _of_words(self, name: str, dictionary: Any, make: Callable[[Any, str], Any]) -> Any:
        """``make(dictionary, name)``, or what it was last time if the dictionary is the same."""
        kept = self._made.get(name)
        if kept is None or not kept[0].equals(dictionary):
            kept = self._made[name] = dictionary, make(dictionary, name)
        return kept[1]


def _column_by_column(table: Any) -> NDArray[Any]:
    events = empty_events(table.num_rows)
    for name in COLUMNS:
        column = table.column(name)
        chunks: Sequence[Any] = column.chunks if hasattr(column, "chunks") else (column,)
        start = 0
        for chunk in chunks:
            _fill(events[start : start + len(chunk)], name, chunk)
            start += len(chunk)
    return events


@cache
def _types() -> dict[str, Any]:
    return {field.name: field.type for field in schema()}


def indices(column: Any) -> NDArray[np.int32]:
    """(n,) which word of its dictionary each element of a column is; null is one more than there are. Raises
    ArrowSchemaError for any other."""
    which, words = column.indices, len(column.dictionary)
    nulls = which.null_count
    if nulls:  # rarely; and it would load pandas, as said at ``flat``
        which = which.fill_null(words)
    found: NDArray[np.int32] = flat(which, np.int32)
    if len(found) and not 0 <= found.min() <= found.max() < words + (nulls > 0):
        raise ArrowSchemaError(f"word {found.min()} to {found.max()} of a dictionary of {words}; the file is damaged")
    return found


def _words_of(dictionary: Any, name: str) -> NDArray[np.uint32]:
    """(k, width / 4) the words of a dictionary of names."""
    width = EVENT[name].itemsize
    words = np.ascontiguousarray(_text(dictionary, width), f"S{width}")
    return words.view("<u4").reshape(len(words), width // 4)


def _fill(out: NDArray[Any], name: str, column: Any) -> None:
    """Write one Arrow array into one field of ``out``."""
    import pyarrow as pa

    try:
        if name == "poss_dup":
            if column.null_count:
                column = column.fill_null(False)
            out["flags"] = np.where(column.to_numpy(zero_copy_only=False), FLAG_POSS_DUP, 0)
        elif name in CODES:
            out[name] = _codes(column, name)
        elif EVENT[name].kind == "S":
            out[name] = _text(column, EVENT[name].itemsize)
        else:
            out[name] = _number(column, name)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeEncodeError) as error:
        raise ArrowSchemaError(
            f"column {name}: {column.type} does not read as {schema().field(name).type}: {error}"
        ) from error


def _number(column: Any, name: str) -> NDArray[Any]:
    """An integer or timestamp column as numpy of the field's own type."""
    import pyarrow as pa

    target = _types()[name]
    if column.type != target:
        naive = name == "ts" and pa.types.is_timestamp(column.type) and column.type.tz is None
        if naive:
            column = column.cast(pa.timestamp("ns"))
        column = column.cast(target)
    if column.null_count:
        column = column.cast(pa.int64()).fill_null(0) if name == "ts" else column.fill_null(0)
    data = column.buffers()[1]
    values: NDArray[Any] = np.frombuffer(data, EVENT[name], count=len(column), offset=8 * column.offset)
    return values


def _text(column: Any, width: int) -> NDArray[Any]:
    """A string, binary, fixed_size_binary or dictionary column as (n,) ``S<width>``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        words = _text(column.dictionary, width)
        if not len(words):
            return np.zeros(len(column), f"S{width}")
        picked: NDArray[Any] = words[column.indices.fill_null(0).to_numpy()]
        return (
            picked if not column.null_count else np.where(column.is_null().to_numpy(zero_copy_only=False), b"", picked)
        )
    if column.null_count:
        blank = b"" if not pa.types.is_fixed_size_binary(column.type) else bytes(column.type.byte_width)
        column = column.fill_null(pa.scalar(blank, column.type) if not _is_text(column.type) else "")
    if not pa.types.is_fixed_size_binary(column.type) or column.type.byte_width != width:
        lengths = pc.binary_length(column)
        longest = pc.max(lengths).as_py() or 0
        if longest > width and not pa.types.is_fixed_size_binary(column.type):
            raise ArrowSchemaError(f"a value of {longest} bytes; at most {width} fit")
        values = [v.encode("ascii") if isinstance(v, str) else v for v in column.to_pylist()]
        return np.array(values, f"S{width}")
    data = column.buffers()[1]
    return np.frombuffer(data, f"S{width}", count=len(column), offset=column.offset * width)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _codes(column: Any, name: str) -> NDArray[np.uint8]:
    """Words of an enum column as codes."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    members = CODES[name].__members__
    none = members.get("none")
    words = column.dictionary.to_pylist()
    unknown = [word for word in words if word not in members and word]
    if unknown or (column.null_count and none is None):
        found = unknown[0] if unknown else None
        raise ArrowSchemaError(f"column {name}: found {found!r}, expected one of {', '.join(members)}")
    table = _code_table(column.dictionary, name)
    assert table is not None, "words were looked at above"
    indices = column.indices
    if column.null_count:
        indices = indices.fill_null(len(words))
    picked: NDArray[np.uint8] = table[indices.to_numpy()]
    return picked


def _code_table(dictionary: Any, name: str) -> NDArray[np.uint8] | None:
    """(k + 1,) the code of each word, and 0 for none; None where a word is not known. An empty word is 0 too."""
    members = CODES[name].__members__
    words = dictionary.to_pylist()
    if any(word and word not in members for word in words):
        return None
    return np.array([*(members[word] if word else 0 for word in words), 0], np.uint8)


def _fixed(column: NDArray[Any]) -> Any:
    """(n,) ``S<w>`` -> fixed_size_binary(w)."""
    import pyarrow as pa

    data = pa.py_buffer(np.ascontiguousarray(column))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(column.dtype.itemsize), len(column), [None, data])


def _words(column: NDArray[Any]) -> Any:
    """(n,) ``S<w>`` -> dictionary of strings, words in order of bytes."""
    import pyarrow as pa

    words = _fixed(column).dictionary_encode()
    plain = [word.rstrip(b"\0").decode("ascii") for word in words.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(words.indices, pa.array(plain, pa.string()))


def _code_words(column: NDArray[Any], name: str) -> Any:
    """(n,) uint8 codes -> dictionary of the enum's words."""
    import pyarrow as pa

    members = CODES[name].__members__
    place = np.full(256, -1, np.int32)
    for index, code in enumerate(members.values()):
        place[int(code)] = index
    indices = place[column]
    if len(indices) and indices.min() < 0:
        bad = int(column[indices < 0][0])
        raise ValueError(f"column {name}: found code {bad}, expected one of {sorted(map(int, members.values()))}")
    return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(list(members), pa.string()))
