"""CSV of anybody's making, by a mapping of columns: from ``--map field=column`` or a TOML file."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, ValidationError, convert

from producers.importers.findings import BadLine, Findings, ImportStopped, Where
from producers.importers.lines import integer, number, rows
from producers.importers.lives import Event, Routing
from schemas.codec_rules import INTEGERS, PRICES, STRINGS, WORDS
from schemas.events import Kind
from schemas.units import MS_NS, S_NS, US_NS

FIELDS: Final = ("kind", "ts", *STRINGS, "qty", *PRICES, *WORDS)
UNITS: Final = {"ns": 1, "us": US_NS, "ms": MS_NS, "s": S_NS}
IDS: Final = ("orig_cl_ord_id", "cl_ord_id", "parent_id")


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """columns: field of the event -> column name. constants: field -> value for every row. words: field -> word in
    the file
    -> our word. time: ``iso``, ``ns``, ``us``, ``ms`` or ``s`` (since 1970). delimiter: between columns."""

    columns: dict[str, str]
    constants: dict[str, str] = {}
    words: dict[str, dict[str, str]] = {}
    time: str = "iso"
    delimiter: str = ","


def mapping_of(pairs: list[str], path: Path | None) -> Mapping:
    """The TOML file with ``field=column`` pairs on top. ImportStopped says what is wrong with either."""
    table: dict[str, Any] = {"columns": {}}
    if path:
        try:
            table |= tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ImportStopped(
                f"{path}: found no TOML ({error}); expected a [columns] table; see docs/import.md"
            ) from None
    for pair in pairs:
        field, found, column = pair.partition("=")
        if not found or not column:
            raise ImportStopped(f"--map {pair}: expected field=column, as --map cl_ord_id=OrderID")
        table["columns"] = {**table["columns"], field: column}
    try:
        made = convert(table, Mapping)
    except ValidationError as error:
        raise ImportStopped(f"{path or '--map'}: {error}; see docs/import.md for what a mapping holds") from None
    for field in (*made.columns, *made.constants, *made.words):
        if field not in FIELDS:
            raise ImportStopped(f"the mapping names the field {field!r}; expected one of {', '.join(FIELDS)}")
    for field in ("kind", "ts"):
        if field not in made.columns and field not in made.constants:
            raise ImportStopped(f"the mapping has no {field}; every event needs it; add --map {field}=COLUMN")
    if made.time not in (*UNITS, "iso"):
        raise ImportStopped(f"time = {made.time!r}; expected iso, {', '.join(UNITS)}")
    if len(made.delimiter) != 1:
        raise ImportStopped(f"delimiter = {made.delimiter!r}; expected one character")
    return made


def read(
    paths: list[Path], routing: Routing, findings: Findings, mapping: Mapping
) -> Iterator[tuple[Where, list[Event]]]:
    """One event a row. No parents are made up; a row without a server gets the router of its order's first id."""
    roots: dict[str, str] = {}
    for path in paths:
        source = rows(path, findings, mapping.delimiter)
        where, head = next(source, (Where(path.name, 1), []))
        findings.lines -= bool(head)
        missing = [column for column in mapping.columns.values() if column not in head]
        if missing:
            raise ImportStopped(
                f"{where}: found the columns {', '.join(head)}; expected {', '.join(missing)} as mapped; correct --map"
            )
        for at, row in source:
            try:
                if len(row) != len(head):
                    raise BadLine("truncated", mapping.delimiter.join(row), f"{len(head)} columns as in the first line")
                event = _event(dict(zip(head, row, strict=True)), mapping)
            except BadLine as error:
                findings.refuse(at, error.reason, str(error))
                continue
            if not event.get("server"):
                event["server"] = routing.server_of(_root(event, roots))
            event.setdefault("account", routing.account)
            event.setdefault("strategy", routing.strategy)
            yield at, [event]


def _root(event: Event, roots: dict[str, str]) -> str:
    """The id by which an order's life is kept on one router: its parent's where it has one, else its own first id."""
    if event.get("parent_id"):
        root = str(event["parent_id"])
    else:
        known = [roots[str(event[name])] for name in IDS if event.get(name) and str(event[name]) in roots]
        root = known[0] if known else next((str(event[name]) for name in IDS if event.get(name)), "")
    for name in IDS[:2]:
        if event.get(name):
            root = roots.setdefault(str(event[name]), root)
    return root


def _event(row: dict[str, str], mapping: Mapping) -> Event:
    event: Event = {"v": 1, "seq": 0}
    texts = mapping.constants | {field: row[column].strip() for field, column in mapping.columns.items()}
    for field, text in texts.items():
        words = mapping.words.get(field)
        if words is not None:
            if text not in words:
                raise BadLine(
                    "unknown_word",
                    text,
                    f"a {field} that the mapping knows: {', '.join(words)}",
                    "add it to the mapping",
                )
            text = words[text]
        if text == "":
            continue
        if field == "ts":
            event[field] = time_ns(text, mapping.time)
        elif field in INTEGERS:
            event[field] = integer(text, field)
        elif field in PRICES:
            event[field] = number(text, field)
        elif field == "kind" and text not in Kind.__members__:
            raise BadLine("unknown_kind", text, f"one of {', '.join(Kind.__members__)}", "map the word in [words.kind]")
        else:
            event[field] = text
    return event


def time_ns(text: str, unit: str) -> int:
    """A time as ns since 1970 UTC; ISO 8601 without an offset is UTC."""
    if unit == "ns":
        return integer(text, "ts")
    if unit != "iso":
        whole, _, fraction = text.partition(".")
        digits = fraction[:9].ljust(9, "0")
        sign = integer(whole, "ts") * UNITS[unit]
        return sign + integer(digits, "ts") * UNITS[unit] // S_NS
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadLine("wrong_type", text, "a time as 2026-05-02T02:36:20.5Z", "set time = to ns, us, ms or s") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.replace(microsecond=0).timestamp()) * S_NS + moment.microsecond * US_NS
