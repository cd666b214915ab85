"""Small seeded order flows for the engine's tests: a healthy router, and one that ignores its fills."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.events import Kind, Side, empty_events

START = 1_343_827_800_000_000_000  # 2012-08-01 13:30:00 UTC
SYMBOLS = [f"SYM{i}" for i in range(12)]


class Writer:
    """Collects events of one server, seq and stream time going up."""

    def __init__(self, server: str = "R1", start: int = START, seed: int = 1) -> None:
        self.server, self.now, self.seq = server, start, 0
        self.rng = np.random.default_rng(seed)
        self.rows: list[dict[str, Any]] = []
        self.execs = 0

    def add(self, kind: Kind, **fields: Any) -> None:
        """One event at the present stream time."""
        self.seq += 1
        self.rows.append({"kind": kind, "server": self.server, "seq": self.seq, "ts": self.now, **fields})

    def wait(self, mean_ms: float) -> None:
        """Move stream time by a random step."""
        self.now += int(self.rng.exponential(mean_ms) * 1e6) + 1_000

    def quote(self, symbol: str) -> tuple[int, int]:
        """Bid and ask around a price that drifts with the seed."""
        mid = 20 + SYMBOLS.index(symbol) + int(self.rng.integers(-5, 6)) / 100
        return round((mid - 0.01) * 1e9), round((mid + 0.01) * 1e9)

    def child(self, parent: str, symbol: str, side: Side, qty: int, how: str = "fill") -> None:
        """A child order with its ack and its end: fill, two fills, canceled, rejected or a cancel that crosses."""
        bid, ask = self.quote(symbol)
        ref = f"{self.server}-{self.seq}"
        px = ask if side == Side.B else bid
        common = {"parent_id": parent, "symbol": symbol, "side": side, "bid": bid, "ask": ask, "strategy": "SMARS"}
        self.add(Kind.order, cl_ord_id=ref, qty=qty, px=px, **common)
        self.wait(0.3)
        if how == "rejected":
            self.add(Kind.rejected, cl_ord_id=ref, **common)
            return
        self.add(Kind.ack, cl_ord_id=ref, **common)
        self.wait(0.5)
        if how in ("canceled", "crossed"):
            self.add(Kind.cancel, cl_ord_id=ref + "c", orig_cl_ord_id=ref, **common)
            self.wait(0.2)
            if how == "canceled":
                self.add(Kind.canceled, cl_ord_id=ref + "c", orig_cl_ord_id=ref, qty=qty, **common)
                return
        parts = [qty // 2, qty - qty // 2] if how == "partial" and qty > 1 else [qty]
        for part in parts:
            self.execs += 1
            self.add(Kind.fill, cl_ord_id=ref, exec_id=f"{self.server}x{self.execs}", qty=part, px=px, **common)
            self.wait(0.2)

    def events(self) -> NDArray[Any]:
        """(n,) EVENT."""
        out = empty_events(len(self.rows))
        for i, row in enumerate(self.rows):
            for name, value in row.items():
                out[name][i] = value
        return out


def healthy(writer: Writer, parents: int, gap_ms: float = 40.0, rejected: float = 0.1) -> None:
    """Parents filled by children that stay within them, with cancels, rejects and partial fills."""
    rng = writer.rng
    for _ in range(parents):
        writer.wait(gap_ms)
        parent = f"P{writer.server}{writer.seq}"
        symbol, side = SYMBOLS[int(rng.integers(len(SYMBOLS)))], Side(int(rng.choice([1, 2, 5])))
        qty = int(rng.integers(1, 8)) * 100
        writer.add(Kind.parent, parent_id=parent, symbol=symbol, side=side, qty=qty)
        left = qty
        while left > 0:
            writer.wait(2.0)
            part = min(left, 100 * int(rng.integers(1, 4)))
            share = [0.6 - rejected, 0.2, 0.15, rejected, 0.05]
            how = str(rng.choice(["fill", "partial", "canceled", "rejected", "crossed"], p=share))
            writer.child(parent, symbol, side, part, how)
            if how in ("fill", "partial", "crossed"):
                left -= part
        writer.add(Kind.parent_done, parent_id=parent)


def power_peg(writer: Writer, orders: int, parents: int = 10, gap_ms: float = 3.0, named: bool = True) -> int:
    """Children without end for each parent, whatever was filled; returns the ts of the first order beyond a parent."""
    rng = writer.rng
    ids = [f"K{writer.server}{i}" for i in range(parents)]
    for i, parent in enumerate(ids):
        writer.wait(gap_ms)
        writer.add(Kind.parent, parent_id=parent, symbol=SYMBOLS[i % 12], side=Side.B, qty=200)
    sent = dict.fromkeys(ids, 0)
    first = 0
    for k in range(orders):
        writer.wait(gap_ms)
        i = int(rng.integers(parents))
        side = Side.B if i % 3 or k % 2 else Side.S
        if sent[ids[i]] >= 200 and not first:
            first = writer.now
        writer.child(ids[i] if named else "", SYMBOLS[i % 12], side, 100)
        sent[ids[i]] += 100
    return first
