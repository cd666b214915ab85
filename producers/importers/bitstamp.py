"""Bitstamp order events (``orders.csv[.gz]``, as the collector of PyPI ob-analytics writes them) as orders' lives.

Columns: id, timestamp (received, ms), exchange_timestamp (ms), price, volume (what is left), action (created,
changed, deleted),
direction (bid, ask). Less volume is an execution at the row's price; deleted with volume left is a cancel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from producers.importers.book import Book
from producers.importers.findings import BadLine, Findings, ImportStopped, Where
from producers.importers.lines import integer, number, rows
from producers.importers.lives import Event, Lives, Routing
from schemas.units import MS_NS

COLUMNS: Final = ("id", "timestamp", "exchange_timestamp", "price", "volume", "action", "direction")
ACTIONS: Final = {"created": 0, "changed": 1, "deleted": 2}
SIDES: Final = {"bid": "B", "ask": "S"}


@dataclass(frozen=True, slots=True)
class Options:
    """symbol: on every event (the file names none). lot: base currency (BTC) that is a quantity of 1; prices are for
    one lot, so
    that quantity times price is money. whole: keep the opening book and the closing deletes, which are a collector's
    and
    no trader's."""

    symbol: str = "BTCUSD"
    lot: float = 1e-4
    whole: bool = False


class _Row(NamedTuple):
    """A row in the order of the exchange: time (ms), created before changed before deleted, place in the file."""

    ms: int
    rank: int
    place: int
    where: Where
    order: str
    price: float
    volume: float
    side: str


def read(
    paths: list[Path], routing: Routing, findings: Findings, options: Options
) -> Iterator[tuple[Where, list[Event]]]:
    """The events of order files. Each is held in memory and sorted by exchange time (about 400 bytes a row)."""
    for path in paths:
        found = sorted(_parse(path, findings))
        if found:
            yield from _Session(found, routing, findings, options).read()


def _parse(path: Path, findings: Findings) -> Iterator[_Row]:
    source = rows(path, findings)
    where, head = next(source, (Where(path.name, 1), []))
    findings.lines -= bool(head)
    missing = [name for name in COLUMNS if name not in head]
    if missing:
        raise ImportStopped(
            f"{where}: found the columns {', '.join(head) or 'none'}; expected {', '.join(COLUMNS)}; give "
            f"orders.csv (trades.csv is "
            "not needed: executions stand in the orders)"
        )
    for place, (at, row) in enumerate(source):
        try:
            if len(row) != len(head):
                raise BadLine("truncated", ",".join(row), f"{len(head)} columns as in the first line")
            yield _row(at, place, dict(zip(head, row, strict=True)))
        except BadLine as error:
            findings.refuse(at, error.reason, str(error))


def _row(where: Where, place: int, row: dict[str, str]) -> _Row:
    for name, words in (("action", ACTIONS), ("direction", SIDES)):
        if row[name] not in words:
            raise BadLine("unknown_word", row[name], f"{name} {', '.join(words)}")
    ms = integer(row["exchange_timestamp"], "exchange_timestamp")
    price, volume = number(row["price"], "price"), number(row["volume"], "volume")
    if price < 0 or volume < 0:
        raise BadLine("out_of_range", f"price {row['price']}, volume {row['volume']}", "both zero or more")
    return _Row(ms, ACTIONS[row["action"]], place, where, row["id"], price, volume, SIDES[row["direction"]])


class _Session:
    """One file's orders."""

    def __init__(self, found: list[_Row], routing: Routing, findings: Findings, options: Options) -> None:
        self._found, self._findings, self._options = found, findings, options
        self._lives, self._book = Lives(routing), Book()
        self._opening: set[str] = set()

    def read(self) -> Iterator[tuple[Where, list[Event]]]:
        first, last = self._found[0].ms, self._found[-1].ms
        for row in self._found:
            if not self._options.whole and row.ms == first and row.rank == 0:
                self._findings.left_out["opening_book"] += 1
                self._opening.add(row.order)
                self._book.add(row.order, row.side, row.price)
            elif not self._options.whole and row.ms == last and row.rank == 2:
                self._findings.left_out["closing_deletes"] += 1
            elif row.order in self._opening:
                self._findings.left_out["order_of_the_opening_book"] += 1
                if row.rank == 2:
                    self._book.remove(row.order)
            else:
                try:
                    yield row.where, list(self._row(row))
                except BadLine as error:
                    self._findings.refuse(row.where, error.reason, str(error))

    def _row(self, row: _Row) -> Iterator[Event]:
        ts, lots = row.ms * MS_NS, round(row.volume / self._options.lot)
        px = row.price * self._options.lot
        scaled = {name: price * self._options.lot for name, price in self._book.quote().items()}
        if row.rank == 0:
            if row.volume == 0:
                raise BadLine("out_of_range", row.volume, "a created order with a volume above zero")
            if lots == 0:
                self._findings.notes["less_than_a_lot_as_one"] += 1
            yield from self._lives.sent(
                ts, row.order, self._options.symbol, row.side, max(lots, 1), px, venue="BITSTAMP", **scaled
            )
            yield from self._lives.acked(self._lives.find(row.order, "an acknowledgement"), ts, **scaled)
            self._book.add(row.order, row.side, row.price)
            return
        life = self._lives.find(row.order, f"{'changed' if row.rank == 1 else 'deleted'} row")
        traded = life.leaves - (lots if row.volume else 0)
        if lots == 0 and row.volume:
            traded = life.leaves - 1  # less than a lot is left: it stays one, as it was made one
        if traded < 0:
            raise BadLine("out_of_range", row.volume, f"no more volume than before ({life.leaves} lots)")
        if traded:
            yield from self._lives.traded(life, ts, traded, px, f"X{row.where.line}", **scaled)
        if row.rank == 2:
            self._book.remove(row.order)
            if row.order in self._lives:
                yield from self._lives.cancel_sent(life, ts, "", **scaled)
                yield from self._lives.canceled(life, ts, "", **scaled)
