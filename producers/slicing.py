"""The healthy router's compiled loops: which parents are done or due, their children, and records of parents."""

from typing import Any, Final

import numpy as np

from producers.codes import BAD, BUY, F64, I64, PARENT, PARENT_DONE, Bools, Rows
from producers.market import TICK9
from producers.tables import Style
from schemas.jit import Int, compiled

_IOC, _REST = int(Style.IOC), int(Style.REST)
_INSIDE_SHARE: Final = 0.3
"""Of resting children: those a tick inside the quote."""


@compiled
def put_parent(rec: Any, parents: Rows, row: Int, kind: int, ts: Int) -> None:
    """``rec`` becomes the ``parent`` or ``parent_done`` record of a row of ``parents``."""
    parent = parents[row]
    rec["ts"], rec["kind"], rec["parent"] = ts, kind, row
    rec["order"] = rec["cl"] = rec["orig"] = rec["exec"] = -1
    rec["px"] = rec["leaves"] = rec["sent"] = 0
    rec["qty"] = parent["qty"] if kind == PARENT else parent["filled"]
    rec["sym"], rec["server"], rec["side"] = parent["sym"], parent["server"], parent["side"]
    rec["strat"], rec["acct"], rec["venue"] = parent["strat"], parent["acct"], 0
    rec["flags"] = BAD if parent["bad"] else 0


@compiled
def look(
    parents: Rows, seen: int, n: int, live: I64, count: int, start_ns: int, end_ns: int, paused: Bools, halted: Bools,
    recs: Rows, due: I64,
) -> tuple[int, int, int]:  # fmt: skip
    """Go through the live parents: ``count`` rows in ``live``, and those from ``seen`` up to ``n``, which are new.

    What is finished (filled, or past its deadline with nothing working) is closed: a record in ``recs``, done. What is
    due before ``end_ns`` is written to due (2, m): row, and shares not yet sent. Returns how many stay in ``live``, are
    closed, are due."""
    for row in range(seen, n):
        if parents[row]["managed"]:
            live[count] = row
            count += 1
    kept = closed = sending = 0
    for i in range(count):
        row = live[i]
        parent = parents[row]
        filled, committed, qty = parent["filled"], parent["committed"], parent["qty"]
        late = parent["deadline"] < start_ns
        if filled >= qty or (late and committed == filled):
            parent["done"] = True
            put_parent(recs[closed], parents, row, PARENT_DONE, start_ns)
            closed += 1
            continue
        live[kept] = row
        kept += 1
        if late or committed >= qty or parent["next_ts"] >= end_ns:
            continue
        if not paused[parent["server"]] and not halted[parent["sym"]]:
            due[0, sending], due[1, sending] = row, qty - committed
            sending += 1
    return kept, closed, sending


@compiled
def send(
    parents: Rows, due: I64, start_ns: int, end_ns: int, bid: I64, ask: I64, delay: I64, scale: F64, rests: F64,
    inside: F64, wait: F64, out: Rows,
) -> None:  # fmt: skip
    """One child each of the parents that are ``due`` (of ``look``). delay (ns), scale, rests, inside, wait: (n,) drawn.
    Writes out (n,) CHILD and counts the parents on: committed shares, and when the next child is due."""
    for i in range(len(out)):
        parent, child = parents[due[0, i]], out[i]
        sym, side = parent["sym"], parent["side"]
        ts = min(max(parent["next_ts"], start_ns) + delay[i], end_ns - 1)
        qty = np.int64(min(max(1.0, np.rint(parent["clip"] * scale[i])), np.float64(due[1, i])))
        resting = rests[i] >= parent["aggressive"]
        child["ts"], child["qty"], child["life_ns"], child["parent"] = ts, qty, 0, due[0, i]
        child["sym"], child["server"], child["side"] = sym, parent["server"], side
        child["strat"], child["acct"] = parent["strat"], parent["acct"]
        child["style"] = _REST if resting else _IOC
        child["flags"] = BAD if parent["bad"] else 0
        child["px"] = _limit(side == BUY, resting, inside[i] < _INSIDE_SHARE, bid[sym], ask[sym])
        parent["committed"] += qty
        parent["next_ts"] = ts + np.int64(wait[i] * parent["interval_ns"])


@compiled
def _limit(buy: bool, rests: bool, inside: bool, bid: Int, ask: Int) -> Int:
    """``router.limit_price`` of one child."""
    better = 1 if inside and ask - bid > 1 else 0
    passive = bid + better if buy else ask - better
    active = ask + 2 if buy else bid - 2
    ticks = passive if rests else active
    return max(ticks, 1) * TICK9
