"""The venues' answers as compiled loops: records of a block's children, written one after the other.

``venue`` draws all that is random, in an order that every scenario's bytes depend on; these loops do the rest. In each
of them ``recs`` and ``words`` are the same memory, whose first rows are the orders (``send``); ``at`` is the first row
that is free.
"""

from typing import Any, Final

import numpy as np

from producers.codes import (
    ACK,
    BAD,
    BUY,
    CANCEL,
    CANCELED,
    EXPIRED,
    F64,
    FILL,
    I64,
    ORDER,
    PASSIVE,
    REJECTED,
    REPLACE,
    REPLACED,
    Bools,
    Rows,
)
from producers.market import TICK9, climb
from producers.tables import Style, copy_row
from schemas.jit import Int, compiled
from schemas.units import S_NS, US_NS

ROWS_MAX: Final = 6
"""Records that one child can bring about: order, answer, and four more."""
_IOC, _REST, _REJECT, _PARK = int(Style.IOC), int(Style.REST), int(Style.REJECT), int(Style.PARK)
_FILLED, _PART, _CANCELED, _AMENDED, _EXPIRED = range(5)
_WAY_NS: Final = 150 * US_NS
_TAIL_NS: Final = 100.0 * US_NS
_LIFE_S: Final = (0.005, 20.0)


@compiled
def way_ns(draw: float) -> Int:
    """Way to the venue and back in ns: 150 us and an exponential tail of 100 us."""
    return np.int64(_WAY_NS + draw * _TAIL_NS)


@compiled
def _put(recs: Rows, words: I64, k: int, of: int, kind: int, ts: Int, qty: Int, px: Int) -> Any:
    """Row ``k`` becomes what row ``of`` is, of another kind."""
    copy_row(words, k, words, of)
    rec = recs[k]
    rec["kind"], rec["ts"], rec["qty"], rec["px"] = kind, ts, qty, px
    return rec


@compiled
def send(
    children: Rows, by_ts: I64, recs: Rows, words: I64, first: int, venue: I64, way: F64, refuse: F64,
    share: F64, bad: Bools, there: I64, groups: I64, sizes: I64,
) -> int:  # fmt: skip
    """Orders, then rejects, then acks of children taken in the order ``by_ts``; returns the rows written.

    first: number of the first order. venue, way, refuse: (n,) drawn; share: of each server's orders that are refused;
    bad: servers whose rejects belong to the incident. Writes there, (n,) when each is answered, and groups (3, n): rows
    of those that are marketable, that rest, that are parked; sizes: (3,) how many."""
    n = len(children)
    at = n
    for i in range(n):
        child, rec = children[by_ts[i]], recs[i]
        server, style = child["server"], child["style"]
        rec["ts"] = rec["sent"] = child["ts"]
        rec["order"] = rec["cl"] = first + i
        rec["orig"] = rec["exec"] = -1
        rec["qty"] = rec["leaves"] = child["qty"]
        rec["px"], rec["parent"], rec["sym"], rec["kind"] = child["px"], child["parent"], child["sym"], ORDER
        rec["side"], rec["server"], rec["strat"], rec["acct"] = child["side"], server, child["strat"], child["acct"]
        rec["venue"], rec["flags"] = venue[i], child["flags"]
        there[i] = child["ts"] + way_ns(way[i])
        if refuse[i] < share[server]:
            style = _REJECT
            if bad[server]:
                rec["flags"] |= BAD
        if style == _REJECT:
            _put(recs, words, at, i, REJECTED, there[i], rec["qty"], 0)
            at += 1
            there[i] = -there[i]  # told apart from those that are acknowledged, up to the next loop
            continue
        group = 0 if style == _IOC else (1 if style == _REST else 2)
        groups[group, sizes[group]] = i
        sizes[group] += 1
    for i in range(n):
        if there[i] < 0:
            there[i] = -there[i]
        else:
            _put(recs, words, at, i, ACK, there[i], recs[i]["qty"], recs[i]["px"])
            at += 1
    return at


@compiled
def books(recs: Rows, rows: I64, depth: I64, room: I64) -> None:
    """Where marketable children (``rows``) go: room (4, n) gets each one's book, shares, and depth of the book's levels.
    depth: by symbol."""
    for i in range(len(rows)):
        rec = recs[rows[i]]
        sym = np.int64(rec["sym"])
        room[0, i] = sym * 2 + (1 if rec["side"] == BUY else 0)
        room[1, i], room[2, i] = rec["qty"], depth[sym]


@compiled
def match(
    recs: Rows, words: I64, at: int, rows: I64, there: I64, room: I64, by_book: I64, pieces: I64, bid: I64, ask: I64
) -> tuple[int, int]:
    """Executions of marketable children against the ladders (``market.climb``), then cancels of what is left. room: of
    ``books``, sorted by ``by_book``. Returns the row after the last execution, and after the last cancel. What each
    execution takes on its way is yet to be added, and its number (``number``)."""
    filled = room[3]
    count = climb(room[0], room[1], room[2], by_book, pieces, filled)
    done: Int = 0
    for i in range(count):
        own, level = rows[pieces[0, i]], pieces[2, i]
        if i == 0 or pieces[0, i] != pieces[0, i - 1]:
            done = 0
        sym = recs[own]["sym"]
        touch: Int = ask[sym] + level if recs[own]["side"] == BUY else bid[sym] - level
        ts = there[own] + (20 + 15 * level) * US_NS
        rec = _put(recs, words, at + i, own, FILL, ts, pieces[1, i], max(touch, 1) * TICK9)
        rec["leaves"] -= done
        done += pieces[1, i]
    end = at + count
    last = end
    for i in range(len(rows)):
        own = rows[i]
        left = recs[own]["leaves"] - filled[i]
        if left > 0:
            _put(recs, words, last, own, CANCELED, there[own] + 90 * US_NS, left, 0)["leaves"] = left
            last += 1
    return end, last


@compiled
def number(recs: Rows, at: int, way: I64, first: int) -> None:
    """Executions from row ``at`` on: what each takes on its way in ns, and numbers from ``first`` on."""
    for i in range(len(way)):
        rec = recs[at + i]
        rec["ts"] += way[i]
        rec["exec"] = first + i


@compiled
def outcomes(
    recs: Rows, edges: F64, rows: I64, children: Rows, by_ts: I64, chosen: F64, life_s: F64, share: F64, whole: F64,
    fate: I64, counts: I64,
) -> None:  # fmt: skip
    """What becomes of resting children. chosen, life_s, share, whole: (n,) drawn; a life that a child is given goes
    before that which is drawn. Writes fate (3, n): outcome, shares filled half-way (0: none) and life in ns, and counts
    (6,): of outcomes, and of those filled half-way."""
    outcome, part, life = fate[0], fate[1], fate[2]
    for i in range(len(rows)):
        qty, k = recs[rows[i]]["qty"], 0
        life[i] = children[by_ts[rows[i]]]["life_ns"]
        while k < 4 and chosen[i] >= edges[k]:
            k += 1
        if life[i] <= 0:
            life[i] = np.int64(min(max(life_s[i], _LIFE_S[0]), _LIFE_S[1]) * S_NS)
        some: Int = max(1, np.int64(qty * share[i]))
        if k > _PART or some >= qty or (k == _FILLED and whole[i] < 0.6):
            some = 0
        outcome[i], part[i] = k, some
        counts[k] += 1
        if some:
            counts[5] += 1


@compiled
def rest(
    recs: Rows, words: I64, at: int, rows: I64, there: I64, fate: I64, counts: I64, way: F64,
    orders: int, execs: int, bid: I64, ask: I64,
) -> int:  # fmt: skip
    """Records of resting children in the order: part fills, fills, cancels, their answers, replaces, their answers, fills
    of what was replaced, expiries. fate: of ``outcomes``; way: draws of the cancels', then the replaces' answers; orders,
    execs: first numbers. Returns the row after the last."""
    outcome, part, life = fate[0], fate[1], fate[2]
    some, fill = at, at + counts[5]
    pull = fill + counts[_FILLED]
    pulls, amends = counts[_PART] + counts[_CANCELED], counts[_AMENDED]
    amend = pull + 2 * pulls
    expire: int = amend + 3 * amends
    pulled = amended = 0
    execs_fill = execs + counts[5]
    execs_amend = execs_fill + counts[_FILLED]
    for i in range(len(rows)):
        own, k = rows[i], outcome[i]
        px: Int = recs[own]["px"]
        start, end, leaves = there[own], there[own] + life[i], recs[own]["qty"]
        if part[i]:
            rec = _put(recs, words, some, own, FILL, start + life[i] // 2, part[i], px)
            rec["flags"] |= PASSIVE
            rec["exec"] = execs + some - at
            leaves -= part[i]
            some += 1
        if k == _FILLED:
            rec = _put(recs, words, fill, own, FILL, end, leaves, px)
            rec["exec"] = execs_fill
            execs_fill += 1
            fill += 1
            _resting(rec, leaves)
        elif k <= _CANCELED:
            ask_row = pull + pulled
            _resting(_put(recs, words, ask_row, own, CANCEL, end, 0, 0), leaves)
            _pull(recs, words, ask_row, ask_row + pulls, orders + pulled, leaves, way_ns(way[pulled]))
            pulled += 1
        elif k == _AMENDED:
            new = _nearer(recs[own], px, bid, ask)
            row = amend + amended
            rec = _put(recs, words, row, own, REPLACE, start + life[i] // 3, leaves, new)
            rec["cl"], rec["orig"] = orders + pulls + amended, recs[own]["cl"]
            _resting(rec, leaves)
            back = rec["ts"] + way_ns(way[pulls + amended])
            _put(recs, words, row + amends, row, REPLACED, back, leaves, new)
            rec = _put(recs, words, row + 2 * amends, row, FILL, max(end, back + 1_000 * US_NS), leaves, new)
            rec["orig"], rec["exec"] = -1, execs_amend + amended
            amended += 1
        else:
            _resting(_put(recs, words, expire, own, EXPIRED, end, leaves, 0), leaves)
            expire += 1
    return expire


@compiled
def park(
    recs: Rows, words: I64, at: int, rows: I64, there: I64, children: Rows, by_ts: I64, way: F64, orders: int
) -> int:
    """Cancels of parked children at the end of their lives, then the answers. Returns the row after the last."""
    n = len(rows)
    for i in range(n):
        own = rows[i]
        _put(recs, words, at + i, own, CANCEL, there[own] + children[by_ts[own]]["life_ns"], 0, 0)
        _pull(recs, words, at + i, at + n + i, orders + i, recs[own]["leaves"], way_ns(way[i]))
    return at + 2 * n


@compiled
def _resting(rec: Any, leaves: Int) -> None:
    rec["leaves"] = leaves
    rec["flags"] |= PASSIVE


@compiled
def _pull(recs: Rows, words: I64, ask: int, answer: int, number: int, leaves: Int, way: Int) -> None:
    """A cancel (row ``ask``) gets its own number, and its answer."""
    rec = recs[ask]
    rec["orig"] = rec["cl"]
    rec["cl"] = number
    _put(recs, words, answer, ask, CANCELED, rec["ts"] + way, leaves, 0)


@compiled
def _nearer(rec: Any, px: Int, bid: I64, ask: I64) -> Int:
    """A tick nearer to the market; away where that would cross."""
    sym = rec["sym"]
    if rec["side"] == BUY:
        nearer = px + TICK9
        crosses = nearer >= ask[sym] * TICK9
    else:
        nearer = px - TICK9
        crosses = nearer <= bid[sym] * TICK9
    return max(2 * px - nearer if crosses else nearer, TICK9)
