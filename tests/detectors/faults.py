"""For each detector of the catalogue, the fault that it is there for; written after healthy flow."""

from collections.abc import Callable
from typing import Any

from schemas.events import Kind, Side
from tests.detectors.flows import SYMBOLS, Writer, power_peg

Fault = Callable[[Writer], None]


def send(writer: Writer, ref: str, qty: int, px: float, side: Side = Side.B, **fields: Any) -> None:
    """A new order in SYM3 (23.00) unless said otherwise, with its quote."""
    symbol = fields.pop("symbol", SYMBOLS[3])
    mid = 20 + SYMBOLS.index(symbol)
    common: dict[str, Any] = {
        "symbol": symbol, "side": side, "bid": round((mid - 0.01) * 1e9), "ask": round((mid + 0.01) * 1e9),
        "strategy": "ALGO", "account": "A01",
    }  # fmt: skip
    writer.add(Kind.order, cl_ord_id=ref, qty=qty, px=round(px * 1e9), **{**common, **fields})


def parent(writer: Writer, name: str, qty: int, symbol: str = SYMBOLS[3], side: Side = Side.B) -> None:
    """A parent order."""
    writer.add(Kind.parent, parent_id=name, symbol=symbol, side=side, qty=qty)


def _conservation(writer: Writer) -> None:
    power_peg(writer, 60)


def _rate(writer: Writer) -> None:
    for k in range(4_000):
        writer.wait(0.3)
        send(writer, f"burst{k}", 100 + k % 37, 23.01, symbol=SYMBOLS[k % 12])


def _crossing(writer: Writer) -> None:
    for k in range(600):
        writer.wait(3.0)
        side, px = (Side.B, 23.01) if k % 2 else (Side.S, 22.99)
        send(writer, f"peg{k}", 4_000, px, side)
        writer.add(
            Kind.fill, cl_ord_id=f"peg{k}", exec_id=f"pegx{k}", symbol=SYMBOLS[3], side=side, qty=4_000,
            px=round(px * 1e9), bid=round(22.99e9), ask=round(23.01e9),
        )  # fmt: skip


def _repetition(writer: Writer) -> None:
    parent(writer, "REP", 1_000)
    for k in range(60):
        writer.wait(10.0)
        send(writer, f"rep{k}", 10, 23.01, parent_id="REP")


def _malformed(writer: Writer) -> None:
    for k in range(12):
        writer.wait(200.0)
        send(writer, f"far{k}", 100, 1.0, Side.S)


def _exposure(writer: Writer) -> None:
    for k in range(12):
        writer.wait(50.0)
        send(writer, f"err{k}", 20_000, 23.01, account="ERROR")


def _fanout(writer: Writer) -> None:
    parent(writer, "FAN", 100_000)
    for k in range(120):
        writer.wait(50.0)
        send(writer, f"fan{k}", 100 + k, 23.01, parent_id="FAN")


def _orphans(writer: Writer) -> None:
    for k in range(60):
        writer.wait(50.0)
        send(writer, f"orphan{k}", 100 + k, 23.01, parent_id=f"NOBODY{k}")


FAULTS: dict[str, tuple[Fault, int]] = {
    "conservation": (_conservation, 60),
    "rate": (_rate, 2_500),
    "crossing": (_crossing, 300),
    "repetition": (_repetition, 20),
    "malformed": (_malformed, 4),
    "exposure": (_exposure, 6),
    "fanout": (_fanout, 60),
    "orphans": (_orphans, 30),
}
"""By detector: how to write its fault, and after how many requests at most it has to be found."""
