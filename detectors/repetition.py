"""Repetition: the same order again, and orders that answer to the router's own."""

from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from detectors.arrays import I64, U64
from detectors.children import ChildFlow
from detectors.config import RepetitionConfig
from detectors.detector import Context, Passed
from detectors.excursion import Excursion, Finding
from detectors.flow import Columns, Where, places, read
from detectors.intern import DROPPED, Slots
from detectors.keyed import SHOWN, KeyedCusums, Shown, Walks, close, findings, hit, lead_value, mix, show
from detectors.kinds import CANCEL, FILL, ORDER
from detectors.memos import Memos
from schemas.events import FLAG_POSS_DUP, word_of
from schemas.jit import compiled
from schemas.records import Family
from schemas.units import MS_NS, S_NS

SAME_PARENT, SAME_ORDER, SAME_PRICE, REENTRY, TURN, REUSED = range(6)
NAMES: Final = ("same_parent", "same_order", "same_price", "reentry_after_cancel", "own_fills", "reused_cl_ord_id")
_MEMOS: Final = 1 << 13
_SYMBOL, _ACCOUNT, _CODES = word_of("symbol"), word_of("account"), word_of("kind")
_QTY, _PX, _PARENT = word_of("qty"), word_of("px"), word_of("parent_id")
_LOW: Final = np.uint64(0xFFFFFFFF)
_HIGH: Final = np.uint64(0xFFFFFFFF00000000)
_SIDE: Final = np.uint64(0xFF00)
_NO_SIDE: Final = np.uint64(0)
_DUP: Final = np.uint64(FLAG_POSS_DUP << 24)
_EMPTY: Final = np.uint64(0)
_SALT: Final = np.uint64(0x9E3779B97F4A7C15)
_BUY, _SELL = np.uint64(1), np.uint64(2)
_TAG: Final = tuple(np.uint64(k + 1) for k in range(8))


class _Memos(NamedTuple):
    """What was seen lately, by hash; the latest with the same place wins. (m,) orders: shape of each order, by its
    number; shapes and times of cancelled ones and of own fills (shape: of the order that would undo it); shape and
    symbol of orders at a price."""

    number: I64
    order: U64
    cancelled: U64
    cancelled_at: I64
    filled: U64
    filled_at: I64
    priced: U64
    priced_in: U64


class Repetition(Passed):
    """Six CUSUMs over new orders, each by a key, in limits; the score is the highest.

        W = max(0, W - allowed_per_s dt / limit) + 1 / limit  per hit;    opens at 1

    | statistic | key | hit |
    |---|---|---|
    | same_parent | parent, strategy, symbol, side, quantity | a child like that again (price may move) |
    | same_order | strategy, symbol, side, quantity, price | that order again, for any parent or none |
    | same_price | strategy, side, quantity, limit price | that order in another symbol than the last |
    | reentry_after_cancel | as same_order | within ``reentry_ms`` of the router's cancel of one like it |
    | own_fills | account, symbol | an order that undoes an own fill (same size) within ``turn_ms`` |
    | reused_cl_ord_id | server | a new order under the ClOrdID of an older one |

    For own_fills an order that an accepted parent asks for has a walk by that parent besides, and is only
    ``turn_asked_share`` of a hit by account and symbol: clients who trade against each other are no loop, and news in one
    stock brings thousands of them at once.

    Each is a repeated-execution throttle (RTS 6 Art. 15(3); FIA 3.2) with an allowance: ``limit`` orders at once, or
    ``limit / (rate - allowed_per_s)`` seconds at a steady rate. Orders are counted when *sent*, because those that
    never trade are as bad (Deutsche at Osaka, 0.3 % filled); repeats marked poss_dup are not.

    Unit of the score: limits. No baseline and no warm-up: what is allowed is the firm's choice, as the rule says.
    Statistical: warns at 1, and halts alone at ``bound_halt``. False-alarm cost: a parent sliced into more than
    ``allowed_per_s`` equal children a second, for longer; a strategy that takes turns with its own fills by design.
    Delay at rate r: ``bound_halt x limit / (r - allowed_per_s)``. Walks are bounded (``detectors/keyed.py``); orders of
    which the shape is remembered, too: 8,192.

    Source: Rule 15c3-5(c)(1)(ii), "orders that indicate duplicates"; Infinium 2010-02-03 (same_parent), Deutsche
    2010-06-01 (same), Goldman 2013-08-20 (same_price), Marquette 2019-10-22 (reentry), Traditum 2011-11-10 (own_fills).
    """

    name: ClassVar[str] = "repetition"
    family: ClassVar[Family] = "repetition"
    hard: ClassVar[bool] = False

    def __init__(self, config: RepetitionConfig) -> None:
        c = self.config = config
        self.cusums = KeyedCusums(
            [
                (c.same_parent_limit, c.same_parent_per_s),
                (c.same_order_limit, c.same_order_per_s),
                (c.same_price_limit, c.same_price_per_s),
                (c.reentry_limit, c.reentry_per_s),
                (c.turn_limit, c.turn_per_s),
                (c.reused_limit, c.reused_per_s),
            ],
            c.walks_max,
        )
        self.excursion = Excursion(SHOWN, round(c.quiet_s * S_NS))
        columns = {name: "i8" if name.endswith("_at") or name == "number" else "u8" for name in _Memos._fields}
        self.memos = Memos(columns, _MEMOS)
        self._spans = round(c.reentry_ms * MS_NS), round(c.turn_ms * MS_NS)
        self._asked = round(int(self.cusums.walks.weight[TURN]) * c.turn_asked_share)
        self.out = self.cusums.shown(0)
        self._n = 0

    @property
    def bound_halt(self) -> float:
        """In limits."""
        return self.config.bound_halt

    def tables(self, more: int) -> "RepetitionTables":
        """For the compiled loop."""
        return RepetitionTables(
            self.cusums.walks, self.excursion.row, _Memos(**self.memos.columns), *self._spans, self._asked
        )

    def step(self, context: Context) -> list[Finding]:
        """Score a flow."""
        flow, n = context.flow, len(context.flow)
        if not context.walked:
            self.out = self.cusums.shown(n)
            orders = context.children.tables(0).orders
            walk(n, places(flow), read(flow), context.child, orders, context.totals, self.tables(n), self.out)
        self._n = n
        return findings(self.excursion, flow, self.out, context.totals)

    def score(self, value: int) -> float:
        """Limits."""
        return round(value / SHOWN, 3)

    def baseline(self) -> float:
        """Nothing is learned."""
        return 0.0

    def values(self) -> I64:
        """(n,) the lead, in 1/1024 limits."""
        return self.out.values[: self._n]

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """Which repetition, how often, and the order."""
        i, flow = finding.index, context.flow
        if finding.edge == "close":
            return {"orders": finding.count("orders"), "fills": finding.count("fills")}
        stat = int(self.out.stats[i])
        seconds = max(int(flow.t[i]) - finding.began, 0) / S_NS
        return {
            "what": NAMES[stat],
            "count": int(self.out.counts[i]),
            "window_ms": round(seconds * 1000, 3),
            "symbol": flow.text("symbol", i),
            "strategy": flow.text("strategy", i),
            "account": flow.text("account", i),
            "qty": int(flow.qty[i]),
            "px": int(flow.px[i]) / 1e9,
            "parent_id": flow.text("parent_id", i) if stat == SAME_PARENT else "",
            "fills": finding.count("fills"),
        }

    def minute(self, learn: bool) -> None:
        """Nothing to learn."""


class RepetitionTables(NamedTuple):
    """State: walks, excursion and memos; spans of re-entry and turn (ns); weight of a turn that a parent asked for."""

    walks: Walks
    row: I64
    memos: _Memos
    reentry_ns: int
    turn_ns: int
    asked: int


@compiled
def walk(
    n: int, at: Where, flow: Columns, child: ChildFlow, orders: Slots, totals: I64, tables: RepetitionTables,
    shown: Shown,
) -> None:  # fmt: skip
    """Score n events."""
    walks, memos, dropped = tables.walks, tables.memos, orders.meta[DROPPED]
    shown.used[0] = 0
    for i in range(n):
        kind, now, order = flow.kind[i], at.t[i], child.order[i]
        before = lead_value(walks, now)
        if kind == ORDER:
            if at.words[i, _CODES] & _DUP == _EMPTY:
                _order(at, i, order, child.new[i], child.known[i], dropped, tables)
        elif kind == CANCEL and order >= 0:
            number = order + dropped
            place = number % _MEMOS
            if memos.number[place] == number + 1:
                shape = memos.order[place]
                place = np.int64(shape % np.uint64(_MEMOS))
                memos.cancelled[place], memos.cancelled_at[place] = shape, now
        elif kind == FILL:
            shape = _undoes(at.words, i)
            place = np.int64(shape % np.uint64(_MEMOS))
            memos.filled[place], memos.filled_at[place] = shape, now
        show(walks, now, i, before, shown)
    close(n, at, totals, tables.row, shown)


@compiled
def _undoes(words: U64, i: int) -> np.uint64:
    """Account, symbol, quantity and the other side of an event."""
    side = _SELL if (words[i, _CODES] & _SIDE) >> np.uint64(8) == _BUY else _BUY
    return mix(_held(words, i), mix(words[i, _QTY], side))


@compiled
def _held(words: U64, i: int) -> np.uint64:
    h = mix(words[i, _SYMBOL], words[i, _SYMBOL + 1] & _LOW)
    return mix(mix(h, words[i, _ACCOUNT]), words[i, _ACCOUNT + 1] & _LOW)


@compiled
def _order(at: Where, i: int, order: int, new: bool, asked: bool, dropped: int, tables: RepetitionTables) -> None:
    words, now, memos, walks = at.words, at.t[i], tables.memos, tables.walks
    weight = walks.weight
    side = words[i, _CODES] & _SIDE
    who = mix(mix(words[i, _SYMBOL + 1] & _HIGH, words[i, _SYMBOL + 2]), side)
    who = mix(who, words[i, _QTY])
    what = mix(mix(who, words[i, _SYMBOL]), words[i, _SYMBOL + 1] & _LOW)
    shape = mix(what, words[i, _PX])
    if words[i, _PARENT] != _EMPTY:
        parent = mix(mix(words[i, _PARENT], words[i, _PARENT + 1]), words[i, _PARENT + 2])
        hit(walks, at, i, mix(parent, what), SAME_PARENT, weight[SAME_PARENT])
    hit(walks, at, i, mix(shape, _TAG[SAME_ORDER]), SAME_ORDER, weight[SAME_ORDER])
    if words[i, _PX] != _EMPTY:
        priced = mix(who, words[i, _PX])
        place = np.int64(priced % np.uint64(_MEMOS))
        symbol = mix(words[i, _SYMBOL], words[i, _SYMBOL + 1] & _LOW)
        if memos.priced[place] == priced and memos.priced_in[place] != symbol:
            hit(walks, at, i, mix(priced, _TAG[SAME_PRICE]), SAME_PRICE, weight[SAME_PRICE])
        memos.priced[place], memos.priced_in[place] = priced, symbol
    place = np.int64(shape % np.uint64(_MEMOS))
    if memos.cancelled[place] == shape and now - memos.cancelled_at[place] <= tables.reentry_ns:
        hit(walks, at, i, mix(shape, _TAG[REENTRY]), REENTRY, weight[REENTRY])
        memos.cancelled[place] = _EMPTY
    mine = mix(_held(words, i), mix(words[i, _QTY], side >> np.uint64(8) if side >> np.uint64(8) == _BUY else _SELL))
    place = np.int64(mine % np.uint64(_MEMOS))
    if memos.filled[place] == mine and now - memos.filled_at[place] <= tables.turn_ns:
        held = mix(_held(words, i), _TAG[TURN])
        if asked:
            by_parent = mix(mix(mix(held, words[i, _PARENT]), words[i, _PARENT + 1]), words[i, _PARENT + 2])
            hit(walks, at, i, by_parent, TURN, weight[TURN])
        hit(walks, at, i, held, TURN, tables.asked if asked else weight[TURN])
        memos.filled[place] = _EMPTY
    if new:
        place = np.int64((order + dropped) % _MEMOS)
        memos.number[place], memos.order[place] = order + dropped + 1, shape
    elif order >= 0:
        hit(walks, at, i, _SALT, REUSED, weight[REUSED])
