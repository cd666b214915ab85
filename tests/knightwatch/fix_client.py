"""A plain FIX client: QuickFIX as initiator in a process of its own. Knows nothing of ours.

    python fix_client.py PORT STORE SENDER PLAN [TARGET]

PLAN is JSON, a list of steps, each a list: ``["calm", orders, per_s]`` (orders of five symbols, acknowledged and filled),
``["runaway", orders, per_s]`` (one symbol bought at the offer and sold at the bid, over and over),
``["send", TYPE, {TAG: VALUE}]``, ``["skip", n]`` (its next numbers are never sent, and gap-filled when asked for),
``["wait", seconds]``. Says on stdout, a line of JSON each: ``logon``, ``first_bad`` and ``sent`` with ``at`` in seconds.
"""

import itertools
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import quickfix as fix

NEW, REPORT = "D", "8"


def say(what: str, **more: Any) -> None:
    print(json.dumps({"what": what, "at": time.time(), **more}), flush=True)


class Plain(fix.Application):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.up = False

    def onCreate(self, session: Any) -> None: ...  # noqa: N802
    def onLogon(self, session: Any) -> None:  # noqa: N802
        self.up = True
        say("logon")

    def onLogout(self, session: Any) -> None:  # noqa: N802
        self.up = False

    def toAdmin(self, message: Any, session: Any) -> None: ...  # noqa: N802
    def fromAdmin(self, message: Any, session: Any) -> None: ...  # noqa: N802
    def toApp(self, message: Any, session: Any) -> None: ...  # noqa: N802
    def fromApp(self, message: Any, session: Any) -> None: ...  # noqa: N802


class Client:
    def __init__(self, session: Any) -> None:
        self.session, self.ids, self.sent = session, itertools.count(1), 0
        self.start = f"{time.time_ns() // 1_000_000_000 % 1_000_000}"

    def send(self, kind: str, fields: dict[int, str]) -> None:
        message = fix.Message()
        message.getHeader().setField(35, kind)
        now = datetime.now(UTC).strftime("%Y%m%d-%H:%M:%S.%f")
        for tag, value in {60: now, **fields}.items():
            if value:
                message.setField(tag, value)
        assert fix.Session.sendToTarget(message, self.session)
        self.sent += 1

    def order(self, symbol: str, side: str, qty: int, px: float) -> None:
        """Sent, acknowledged, filled."""
        id_ = f"{self.start}-{next(self.ids)}"
        common = {11: id_, 55: symbol, 54: side}
        self.send(NEW, {**common, 1: "A1", 38: str(qty), 40: "2", 44: f"{px:.2f}", 100: "XNYS"})
        self.send(
            REPORT, {**common, 37: f"V{id_}", 17: f"N{id_}", 150: "0", 39: "0", 38: str(qty), 151: str(qty), 14: "0"}
        )
        done = {150: "F", 39: "2", 32: str(qty), 31: f"{px:.2f}", 151: "0", 14: str(qty), 38: str(qty)}
        self.send(REPORT, {**common, 37: f"V{id_}", 17: f"F{id_}", **done})


def main(port: int, store: str, sender: str, plan: list[list[Any]], target: str = "KNIGHTWATCH") -> None:
    settings = fix.SessionSettings()
    common = fix.Dictionary()
    for name, value in {
        "ConnectionType": "initiator", "SocketConnectHost": "127.0.0.1", "SocketConnectPort": str(port),
        "FileStorePath": store, "UseDataDictionary": "N", "NonStopSession": "Y", "HeartBtInt": "30",
        "ReconnectInterval": "1", "TimestampPrecision": "6",
    }.items():  # fmt: skip
        common.setString(name, value)
    settings.set(common)
    session = fix.SessionID("FIX.4.4", sender, target)
    settings.set(session, fix.Dictionary())
    plain, stores = Plain(), fix.FileStoreFactory(settings)
    initiator = fix.SocketInitiator(plain, stores, settings)
    initiator.start()
    try:
        end = time.monotonic() + 60
        while not plain.up:
            assert time.monotonic() < end, "no logon within 60 s"
            time.sleep(0.02)
        run(Client(session), plan)
    finally:
        initiator.stop()


def run(client: Client, plan: list[list[Any]]) -> None:
    for step in plan:
        if step[0] == "send":
            client.send(step[1], {int(tag): value for tag, value in step[2].items()})
        elif step[0] == "skip":
            live = fix.Session.lookupSession(client.session)
            live.setNextSenderMsgSeqNum(live.getExpectedSenderNum() + step[1])
        elif step[0] == "wait":
            time.sleep(step[1])
        else:
            flow(client, *step)
    say("sent", messages=client.sent)
    time.sleep(0.5)


def flow(client: Client, kind: str, orders: int, per_s: float) -> None:
    begin = time.monotonic()
    for i in range(orders):
        time.sleep(max(0.0, begin + i / per_s - time.monotonic()))
        if kind == "calm":
            client.order(f"SYM{i % 5}", "12"[i // 5 % 2], 100 * (1 + i % 3), 20.0 + i % 5 + 0.01 * (i % 7))
            continue
        if i == 0:
            say("first_bad")
        client.order("BAD", "12"[i % 2], 100, 10.02 if i % 2 == 0 else 10.00)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), *sys.argv[5:])
