"""LOBSTER (lobsterdata.com): NASDAQ message and orderbook files, ``TICKER_DATE_START_END_message_LEVEL.csv`` as
orders' lives.

Message columns: seconds after midnight (New York), type, order id, size, price in 1e-4 USD, direction (1 buy, -1
sell, of the
resting order). Type 1 new, 2 cut, 3 deleted, 4 executed, 5 hidden executed, 6 cross trade, 7 trading halt. The
orderbook file
has one row for each message, the book after it: ask price, ask size, bid price, bid size of each level.
Source: https://lobsterdata.com/info/DataStructure.php
"""

import re
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from producers.importers.findings import BadLine, Findings, ImportStopped, Where
from producers.importers.lines import integer, rows
from producers.importers.lives import Event, Lives, Routing
from schemas.units import S_NS

NAME: Final = re.compile(r"(?P<ticker>[^_]+)_(?P<day>\d{4}-\d{2}-\d{2})_\d+_\d+_message_\d+\.csv(\.gz)?")
PRICE4: Final = 10_000
NO_PRICE: Final = 9_999_999_990
"""From here on (and below zero) a book price stands for an empty side."""
LEFT_OUT: Final = {5: "hidden_execution", 6: "cross_trade", 7: "trading_halt"}


def read(paths: list[Path], routing: Routing, findings: Findings) -> Iterator[tuple[Where, list[Event]]]:
    """The events of message files, one after the other; each one's orderbook file is used where it stands beside it."""
    for path in paths:
        yield from _Day(path, routing, findings).read()


class _Day:
    """One message file."""

    def __init__(self, path: Path, routing: Routing, findings: Findings) -> None:
        found = NAME.fullmatch(path.name)
        if not found:
            raise ImportStopped(
                f"{path}: found no LOBSTER message file; expected "
                f"TICKER_YYYY-MM-DD_START_END_message_LEVEL.csv; give the message "
                "file (the orderbook file is found beside it)"
            )
        self._path, self._findings = path, findings
        self._symbol = found["ticker"]
        try:
            day = date.fromisoformat(found["day"])
        except ValueError as error:
            raise ImportStopped(
                f"{path}: found {found['day']} in the name ({error}); expected a date YYYY-MM-DD"
            ) from None
        midnight = datetime.combine(day, time(), ZoneInfo("America/New_York"))
        self._midnight_ns = int(midnight.timestamp()) * S_NS
        self._lives = Lives(routing)
        self._book = path.with_name(path.name.replace("_message_", "_orderbook_"))
        self._quote: dict[str, float] = {}
        self._newest = 0

    def read(self) -> Iterator[tuple[Where, list[Event]]]:
        if self._book.exists():
            books: Iterator[tuple[Where, list[str]] | None] = iter(rows(self._book, Findings(stop=True)))
        else:
            self._findings.notes["no_orderbook_file"] += 1
            books = iter(())
        for where, row in rows(self._path, self._findings):
            after = next(books, None)
            if after is None and self._book.exists():
                raise ImportStopped(
                    f"{self._book}: ends before line {where.line} of {self._path.name}; expected one row for "
                    f"each message; get both "
                    "files of one download, or move the orderbook file away to go without quotes"
                )
            try:
                yield where, list(self._message(row))
            except BadLine as error:
                self._findings.refuse(where, error.reason, str(error))
            if after is not None:
                self._see(*after)
        if next(books, None) is not None:
            raise ImportStopped(
                f"{self._book}: has more rows than {self._path.name} has messages; get both files of one download"
            )

    def _message(self, row: list[str]) -> Iterator[Event]:
        if len(row) != 6:
            raise BadLine("truncated", ",".join(row), "six columns: time, type, order id, size, price, direction")
        ts = self._time(row[0])
        kind, size, price = integer(row[1], "type"), integer(row[3], "size"), integer(row[4], "price")
        if kind in LEFT_OUT:
            self._findings.left_out[LEFT_OUT[kind]] += 1
            return
        if kind not in (1, 2, 3, 4):
            raise BadLine("unknown_kind", row[1], "a type from 1 to 7")
        if row[5] not in ("1", "-1"):
            raise BadLine("unknown_word", row[5], "direction 1 (buy) or -1 (sell)")
        side, px = "B" if row[5] == "1" else "S", price / PRICE4
        if size < 1 or price < 1:
            raise BadLine("out_of_range", f"size {size}, price {price}", "both above zero")
        if kind == 1:
            yield from self._lives.sent(ts, row[2], self._symbol, side, size, px, venue="XNAS", **self._quote)
            yield from self._lives.acked(self._lives.find(row[2], "an acknowledgement"), ts, **self._quote)
        elif row[2] not in self._lives:
            self._findings.left_out["order_from_before_the_file"] += 1
        else:
            yield from self._change(kind, row[2], ts, size, px)

    def _change(self, kind: int, order: str, ts: int, size: int, px: float) -> Iterator[Event]:
        lives, life = self._lives, self._lives.find(order, "an event")
        if kind != 3 and size > life.leaves:
            raise BadLine("out_of_range", size, f"at most {life.leaves}, what is left of order {order}")
        if kind == 3 or (kind == 2 and size == life.leaves):
            yield from lives.cancel_sent(life, ts, "", **self._quote)
            yield from lives.canceled(life, ts, "", **self._quote)
        elif kind == 2:
            self._findings.notes["cut_as_replace"] += 1
            name = f"{order}.{len(life.names)}"
            yield from lives.replace_sent(life, ts, name, life.qty - size, life.px, **self._quote)
            yield from lives.replaced(life, ts, name, **self._quote)
        else:
            number = f"X{self._findings.lines}"
            yield from lives.traded(life, ts, size, px, number, **self._quote)

    def _time(self, text: str) -> int:
        try:
            ts = self._midnight_ns + int(Decimal(text) * S_NS)
        except (InvalidOperation, ValueError, OverflowError):
            raise BadLine("wrong_type", text, "seconds after midnight, as 34200.189607670") from None
        if ts < self._newest:
            raise BadLine("out_of_order", text, "a time not before that of the line above", "sort the file by time")
        self._newest = ts
        return ts

    def _see(self, where: Where, row: list[str]) -> None:
        if len(row) < 4 or len(row) % 4:
            raise ImportStopped(f"{where}: found {len(row)} columns; expected four for each level of the book")
        try:
            ask, bid = int(row[0]), int(row[2])
        except ValueError:
            raise ImportStopped(f"{where}: found {row[0]!r} and {row[2]!r}; expected prices in 1e-4 USD") from None
        quote: dict[str, Any] = {"bid": bid, "ask": ask}
        self._quote = {name: value / PRICE4 for name, value in quote.items() if 0 < value < NO_PRICE}
