"""A gate state fed as the shell feeds it, for the gate's tests."""

from functools import partial
from typing import Any

from halts.gate_io import partition_of
from halts.gate_state import Decision, GateState
from schemas.records import Cause, FirstEvent, HaltRecord, Heartbeat, Money, encode
from schemas.topics import HEARTBEAT_KEY
from schemas.units import MS_NS, S_NS

UTC = 1_700_000_000 * S_NS
FAIL = 2 * S_NS
SKEW = 500 * MS_NS
BEAT = HEARTBEAT_KEY.encode()


def halt(scope: str = "server:R1", state: str = "HALTING", epoch: int = 1, **other: Any) -> HaltRecord:
    cause = Cause("conservation", 2.0, 1.0, 1.0, {}, FirstEvent("orderflow", 0, 7, UTC))
    fields: dict[str, Any] = {
        "halt_id": "h1", "action": "block_and_cancel", "ts_event": UTC, "ts_decided": UTC, "cause": (cause,),
        "text": "R1 sends child orders without a parent", "money": Money(), "by": "desk", "generation": 1,
    }  # fmt: skip
    return HaltRecord(scope=scope, state=state, epoch=epoch, **(fields | other))  # type: ignore[arg-type]


class Log:
    """A gate state fed as the shell feeds it; time stands unless told."""

    def __init__(self, begin: int = 0, end: int = 0) -> None:
        self.state = GateState(
            "R1", fail_closed_after_ns=FAIL, clock_skew_ns_max=SKEW, partition=partial(partition_of, "R1")
        )
        self.offset = self.state.connected(begin, end)
        self.mono = 5 * S_NS
        self.utc = UTC

    def put(self, key: bytes | None, value: bytes | None) -> HaltRecord | None:
        found = self.state.apply(self.offset, key, value, self.mono, self.utc)
        self.offset += 1
        return found

    def halt(self, record: HaltRecord) -> HaltRecord | None:
        return self.put(record.scope.encode(), encode(record))

    def beat(self, age_ns: int = 0, generation: int = 1) -> None:
        self.put(BEAT, encode(Heartbeat(self.utc - age_ns, self.offset, generation)))

    def ask(self, symbol: str = "ABC", strategy: str = "s", account: str = "a", reducing: bool = False) -> Decision:
        view = self.state.view()
        return view.expired if self.mono >= view.deadline_ns else view.decide(symbol, strategy, account, reducing)


def opened() -> Log:
    log = Log()
    log.beat()
    assert log.ask()
    return log
