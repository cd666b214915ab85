"""Records for tests of the page."""

from typing import Any

from schemas.records import Cause, FirstEvent, HaltRecord, Money, encode

T = 1_795_523_840_000_000_000


def halt(scope: str = "server:R3", state: str = "HALTING", epoch: int = 1, **other: Any) -> HaltRecord:
    first = FirstEvent("orderflow", 2, 48_213, T - 400_000_000, "R3-0000048213")
    fields: dict[str, Any] = {
        "halt_id": f"id-{scope}", "action": "block_and_cancel", "ts_event": T - 400_000_000, "ts_decided": T + epoch,
        "cause": (Cause("conservation", 7.0, 2.0, 0.0, {"orders": 7}, first),),
        "text": "Router R3 sent 7 orders for parent P1, since 12:00:00.000 UTC. Lost USD 3,412. We block router R3.",
        "money": Money(3_412.0, 168_400.0, 512_900.0), "by": "desk", "generation": 1,
    }  # fmt: skip
    return HaltRecord(scope=scope, epoch=epoch, state=state, **(fields | other))  # type: ignore[arg-type]


def value(record: Any) -> bytes:
    return encode(record)
