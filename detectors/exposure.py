"""Exposure: positions and working orders of one server against pre-set limits, by account, symbol and order."""

from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from detectors.arrays import I64, U64
from detectors.children import ROOT, ChildFlow, ChildTables
from detectors.config import ExposureConfig
from detectors.detector import Context, Passed
from detectors.excursion import Excursion, Finding, room_for
from detectors.excursion import walk as excursion_walk
from detectors.flow import Columns, Where, places, read
from detectors.intern import DROPPED, USED, IdTable, Slots, enter
from detectors.kinds import ASKS, DEAD, FILL
from detectors.limits import ONE, RATIO_MAX, USD6_MAX, Limits, find, limits_of, ratio_of
from detectors.working import LEAVES, NUMBER, PAIR, PAIR_OF, SIGN, Pairs, Working, change_of, work
from schemas.events import word_of
from schemas.jit import compiled
from schemas.records import Family
from schemas.units import PRICE9_PER_USD6, S_NS, usd

NONE, NO_LIMIT, ACCOUNT_GROSS, ACCOUNT_NET, SYMBOL_GROSS = range(5)
ORDER_USD, ORDER_QTY, PARENT_USD, SERVER_GROSS, SERVER_NET = range(5, 10)
NAMES: Final = (
    "", "no_limit", "account_gross", "account_net", "symbol_gross", "order_usd", "order_qty", "parent_usd",
    "server_gross", "server_net",
)  # fmt: skip
_ACCOUNT = {"gross": "i8", "long": "i8", "short": "i8", "limit": "i8", "ratio": "i8"}
_SYMBOL, _NAME = word_of("symbol"), word_of("account")
_LOW: Final = np.uint64(0xFFFFFFFF)
_PX6: Final = np.int64(PRICE9_PER_USD6)


class _Accounts(NamedTuple):
    """By account: sums over its pairs (micro-dollars), limits (-1: none), share of the limit used (1/1024)."""

    gross: I64
    long: I64
    short: I64
    limit: I64
    ratio: I64


_VALUE, _WHICH, _AMOUNT, _LIMIT, _OF = range(5)
"""Rows of what a pass gives, (5, n): value in 1/1024 limits, which limit, the amount and the limit (micro-dollars or
shares), account row."""


class Exposure(Passed):
    """What could be owed if everything that works were filled, against what may be.

    For account a and symbol s with position p, working buys b and sells w (shares; a cancel frees them when the venue
    confirms it, not when it is sent) and mark m (the NBBO mid that the router saw last):

        gross_a = sum over s of max(|p + b|, |p - w|) m
        net_a   = max(|sum of (p + b) m|, |sum of (p - w) m|)

    The score is the largest amount over its limit: gross and net by account, gross by account and symbol, gross and net
    of the server, USD and shares of each order and replace as it is sent (a buy at its limit price, whatever the market;
    a sale at the mid), and USD of the parent that it is a child of: one that is four orders of magnitude too large looks
    as always child by child (Citi 2022-05-02). 1 is the limit, and 1 opens the breach. An account for which neither its
    name nor ``*`` is in the table may not trade: its first order is a breach (score 2). Suspense and error accounts are
    accounts like any other: Knight's had a limit of USD 2 million that nothing was linked to.

    Unit of the score: limits. Hard: halts alone. No baseline and no warm-up: positions count from the beginning of the
    log or of the trading day, unless they carry (what was held before is not known; publish it as fills, or set the limits
    accordingly). False-alarm cost: none
    beyond the limits' own; amounts are exact but for marks, which are as old as the last order, fill or end of an
    order in their account and symbol. Limits of symbols are the place to scale to the instrument (Merrill: 5,000,000
    shares in a stock that trades 79,000 a day is no limit). Bounded: ``pairs_max``, ``accounts_max``; a pair forgotten
    for want of room goes on counting with its last amount.

    Source: Rule 15c3-5(c)(1)(i) and (ii), assessed on orders entered; RTS 6 Art. 15(1), (2), (4); FIA 1.1, 1.2 ("no
    limit configured, no order"); SEC 34-70694 par. 22-24.
    """

    name: ClassVar[str] = "exposure"
    family: ClassVar[Family] = "exposure"
    hard: ClassVar[bool] = True

    def __init__(self, config: ExposureConfig, orders_max: int) -> None:
        c = self.config = config
        self.pairs = IdTable(c.pairs_max, 4, PAIR)
        self.accounts = IdTable(c.accounts_max, 2, _ACCOUNT)
        self.orders = Working(1 << (orders_max - 1).bit_length())
        self.excursion = Excursion(ONE, round(c.quiet_s * S_NS))
        self.lead: I64 = np.full(1, -1, np.int64)
        """Account (number) that has used most of its limit; -1 before the first order."""
        self.server: I64 = np.zeros(3, np.int64)
        """Sums over all accounts: gross, long, short."""
        self.standing: I64 = np.zeros(5, np.int64)
        """What stands between orders, fills and ends: as the rows that a pass gives."""
        self._limits = limits_of(c)
        self._key: U64 = np.zeros((1, 4), np.uint64)
        self.out = exposure_room(0)
        self._n = 0

    @property
    def bound_halt(self) -> float:
        """Hard: needs none."""
        return 0.0

    def room(self) -> int:
        """Events for which the tables are large enough."""
        return min(self.pairs.room, self.accounts.room)

    def tables(self, more: int) -> "ExposureTables":
        """For the compiled loop, with room for ``more`` pairs and accounts."""
        pairs, accounts = self.pairs.reserve(more), self.accounts.reserve(more)
        return ExposureTables(
            self.excursion.row, self._key, self.orders.rows, self.orders.used, pairs, Pairs(**self.pairs.cols), accounts,
            _Accounts(**self.accounts.cols), self.lead, self.server, self.standing, self._limits,
        )  # fmt: skip

    def begin_day(self) -> None:
        """Nothing is held any more; working orders count on, and so does no pair that was forgotten."""
        tables = self.tables(0)
        _begin_day(tables, np.zeros((5, 1), np.int64))

    def step(self, context: Context) -> list[Finding]:
        """Score a flow."""
        flow, n = context.flow, len(context.flow)
        if not context.walked:
            self.out = exposure_room(n)
            children = context.children.tables(0)
            walk(n, places(flow), read(flow), context.child, children, context.totals, self.tables(n), self.out)
        self._n, out = n, self.out
        if not out.used[0]:
            return []
        return self.excursion.findings(flow, out.beyond, context.totals, out.found, int(out.used[0]))

    def score(self, value: int) -> float:
        """Limits."""
        return round(value / ONE, 3)

    def baseline(self) -> float:
        """Nothing is learned."""
        return 0.0

    def values(self) -> I64:
        """(n,) share of the limit that is used most, in 1/1024."""
        return self.out.shown[_VALUE, : self._n]

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """Which limit, what is held against it, in which account."""
        i, flow, out = finding.index, context.flow, self.out.shown
        which = int(out[_WHICH, i])
        if finding.edge == "close" or which == NONE:
            return {"orders": finding.count("orders"), "fills": finding.count("fills")}
        found: dict[str, Any] = {"what": NAMES[which], "symbol": flow.text("symbol", i)}
        if which < SERVER_GROSS:
            found["account"] = self.accounts.name(int(out[_OF, i])) if out[_OF, i] >= 0 else ""
        if which == ORDER_QTY:
            found |= {"qty": int(out[_AMOUNT, i]), "limit_qty": int(out[_LIMIT, i])}
        elif which != NO_LIMIT:
            found |= {"gross_usd": usd(int(out[_AMOUNT, i])), "limit_usd": usd(int(out[_LIMIT, i]))}
        return found

    def minute(self, learn: bool) -> None:
        """Nothing to learn."""


class ExposureTables(NamedTuple):
    """State: excursion; room for a key (1, 4); orders, and how many of their places are used; pairs and accounts as ids
    and columns; who leads; sums of the server; what stands; and the limits."""

    row: I64
    key: U64
    orders: I64
    orders_used: I64
    pair_ids: Slots
    pairs: Pairs
    account_ids: Slots
    accounts: _Accounts
    lead: I64
    server: I64
    standing: I64
    limits: Limits


class ExposureOut(NamedTuple):
    """(5, n) what is shown; (n,) its value where it is beyond a limit; transitions, and how many."""

    shown: I64
    beyond: I64
    found: I64
    used: I64


def exposure_room(n: int) -> ExposureOut:
    """Room for n events."""
    return ExposureOut(np.empty((5, n), np.int64), np.empty(n, np.int64), room_for(n), np.zeros(1, np.int64))


@compiled
def walk(
    n: int, at: Where, flow: Columns, child: ChildFlow, children: ChildTables, totals: I64, tables: ExposureTables,
    out: ExposureOut,
) -> None:  # fmt: skip
    """Score n events."""
    shown, standing = out.shown, tables.standing
    for i in range(n):
        for k in range(5):
            shown[k, i] = 0
        if not _event(i, at, flow, child, children, tables, shown):
            _show(i, standing[0], standing[1], standing[2], standing[3], standing[4], shown)
        value = shown[_VALUE, i]
        out.beyond[i] = value if value >= ONE else 0
    out.used[0] = excursion_walk(n, at, out.beyond, totals, tables.row, out.found)


@compiled
def _begin_day(tables: ExposureTables, out: I64) -> None:
    """All positions are zero: sums anew, from the orders that work. out: (5, 1) zeros."""
    pair_ids, pairs, account_ids, accounts = tables.pair_ids, tables.pairs, tables.account_ids, tables.accounts
    tables.lead[0] = -1
    tables.server[:] = 0
    for account in range(account_ids.meta[USED]):
        accounts.gross[account] = accounts.long[account] = accounts.short[account] = accounts.ratio[account] = 0
    for pair in range(pair_ids.meta[USED]):
        pairs.position[pair] = pairs.gross[pair] = pairs.long[pair] = pairs.short[pair] = 0
    for pair in range(pair_ids.meta[USED]):
        _value(pair, pairs, account_ids, accounts, tables.server)
        _rank(pair, pairs, account_ids, accounts, tables.lead, tables.limits)
    _standing(0, tables.lead, tables.server, account_ids, accounts, tables.limits, out)
    for k in range(5):
        tables.standing[k] = out[k, 0]


@compiled
def _event(
    i: int, at: Where, flow: Columns, child: ChildFlow, children: ChildTables, tables: ExposureTables, out: I64
) -> bool:
    """Take in an order, a fill or the end of an order; False where it is none or its pair is not known."""
    kind, qty, order = flow.kind[i], flow.qty[i], child.order[i]
    asks = ASKS[kind] and child.new[i]
    if not (asks or kind == FILL or DEAD[kind]):
        return False
    orders, pair_ids, pairs = tables.orders, tables.pair_ids, tables.pairs
    account_ids, accounts, limits = tables.account_ids, tables.accounts, tables.limits
    size = len(orders)
    pair = -1
    number = children.order[order, ROOT] if order >= 0 else -1
    place = number & (size - 1)
    known = number >= 0 and orders[place, NUMBER] == number + 1
    if asks or (kind == FILL and not known):
        pair = _pair(at.words, i, tables.key, pair_ids, pairs, account_ids, accounts, limits)
    elif known:
        pair = orders[place, PAIR_OF] - pair_ids.meta[DROPPED]
    if pair < 0:
        return False
    px, bid, ask, sign = flow.px[i], flow.bid[i], flow.ask[i], flow.sign[i]
    mid = (bid + ask) // (2 * _PX6) if bid > 0 and ask >= bid else 0
    if mid > 0:
        pairs.mark[pair] = mid
    elif kind == FILL or pairs.mark[pair] == 0:
        pairs.mark[pair] = px // _PX6
    if kind == FILL:
        pairs.position[pair] += sign * qty
    if asks or known:
        mine = (order + children.orders.meta[DROPPED]) & (size - 1)
        tables.orders_used[0] = max(tables.orders_used[0], mine + 1, place + 1)
        change = change_of(kind, qty, number, mine, known, asks, sign, pair, orders, pair_ids, pairs)
        change = max(change, -orders[place, LEAVES])
        orders[place, LEAVES] += change
        work(pairs, pair, orders[place, SIGN], change)
    _value(pair, pairs, account_ids, accounts, tables.server)
    _rank(pair, pairs, account_ids, accounts, tables.lead, limits)
    _standing(i, tables.lead, tables.server, account_ids, accounts, limits, out)
    for k in range(5):
        tables.standing[k] = out[k, i]
    _symbol(i, pair, pairs, account_ids, limits, out)
    if asks:
        _order(i, qty, px, sign, child.parent_qty[i], pair, pairs, account_ids, accounts, limits, out)
    return True


@compiled
def _pair(
    words: U64, i: int, key: U64, pair_ids: Slots, pairs: Pairs, account_ids: Slots, accounts: _Accounts,
    limits: Limits,
) -> int:  # fmt: skip
    key[0, 0], key[0, 1] = words[i, _NAME], words[i, _NAME + 1] & _LOW
    key[0, 2], key[0, 3] = words[i, _SYMBOL], words[i, _SYMBOL + 1] & _LOW
    pair, new = enter(pair_ids, key, 0, 0)
    if new:
        account, fresh = enter(account_ids, key, 0, 0)
        if fresh:
            accounts.limit[account] = find(limits.accounts, key, 0, 0 if limits.account[0, 0] >= 0 else -1)
        pairs.account[pair] = account + account_ids.meta[DROPPED]
        pairs.limit[pair] = find(limits.symbols, key, 2, 0 if limits.symbol[0, 0] >= 0 else -1)
    return int(pair)


@compiled
def _value(pair: int, pairs: Pairs, account_ids: Slots, accounts: _Accounts, server: I64) -> None:
    """What the pair now adds to its account and to the server."""
    mark = pairs.mark[pair]
    most, least = pairs.position[pair] + pairs.buys[pair], pairs.position[pair] - pairs.sells[pair]
    gross, long, short = max(abs(most), abs(least)) * mark, most * mark, least * mark
    by_gross, by_long = gross - pairs.gross[pair], long - pairs.long[pair]
    by_short = short - pairs.short[pair]
    pairs.gross[pair], pairs.long[pair], pairs.short[pair] = gross, long, short
    server[0] += by_gross
    server[1] += by_long
    server[2] += by_short
    account = pairs.account[pair] - account_ids.meta[DROPPED]
    if account >= 0:
        accounts.gross[account] += by_gross
        accounts.long[account] += by_long
        accounts.short[account] += by_short


@compiled
def _show(i: int, ratio: int, which: int, amount: int, limit: int, account: int, out: I64) -> None:
    if ratio > out[_VALUE, i]:
        out[_VALUE, i], out[_WHICH, i], out[_AMOUNT, i], out[_LIMIT, i], out[_OF, i] = (
            ratio, which, amount, limit, account,
        )  # fmt: skip


@compiled
def _order(
    i: int, qty: int, px: int, sign: int, parent_qty: int, pair: int, pairs: Pairs, account_ids: Slots, accounts: _Accounts,
    limits: Limits, out: I64,
) -> None:  # fmt: skip
    """The limits of single orders."""
    account = pairs.account[pair] - account_ids.meta[DROPPED]
    row = accounts.limit[account] if account >= 0 else -1
    if row < 0:
        _show(i, 2 * ONE, NO_LIMIT, 0, 0, account, out)
        return
    price = px // _PX6 if sign > 0 and px > 0 else pairs.mark[pair]
    amount = int(qty * price) if price < 1 or qty < USD6_MAX // price else USD6_MAX
    of_account = limits.account[row]
    _show(i, ratio_of(amount, of_account[2]), ORDER_USD, amount, of_account[2], account, out)
    wanted = min(parent_qty, USD6_MAX // max(pairs.mark[pair], 1)) * pairs.mark[pair]
    _show(i, ratio_of(wanted, of_account[4]), PARENT_USD, wanted, of_account[4], account, out)
    shares = int(of_account[3])
    if pairs.limit[pair] >= 0:
        shares = min(shares, int(limits.symbol[pairs.limit[pair], 1]))
    if qty > shares:
        _show(i, max(qty * ONE // max(shares, 1), ONE) if qty < 1 << 50 else RATIO_MAX, ORDER_QTY, qty, shares,
              account, out)  # fmt: skip


@compiled
def _rank(pair: int, pairs: Pairs, account_ids: Slots, accounts: _Accounts, lead: I64, limits: Limits) -> None:
    """The share of its limits that the pair's account uses; the account that uses most leads."""
    dropped = account_ids.meta[DROPPED]
    account = pairs.account[pair] - dropped
    if account < 0 or accounts.limit[account] < 0:
        return
    of_account = limits.account[accounts.limit[account]]
    net = max(abs(accounts.long[account]), abs(accounts.short[account]))
    before = accounts.ratio[account]
    accounts.ratio[account] = max(ratio_of(accounts.gross[account], of_account[0]), ratio_of(net, of_account[1]))
    top = lead[0] - dropped
    if top < 0 or accounts.ratio[account] >= accounts.ratio[top]:
        lead[0] = account + dropped
    elif top == account and accounts.ratio[account] < before:
        for other in range(account_ids.meta[USED]):
            if accounts.ratio[other] > accounts.ratio[account]:
                account = other
        lead[0] = account + dropped


@compiled
def _symbol(i: int, pair: int, pairs: Pairs, account_ids: Slots, limits: Limits, out: I64) -> None:
    """The limit of the pair's symbol."""
    row = pairs.limit[pair]
    if row >= 0:
        limit = limits.symbol[row, 0]
        account = pairs.account[pair] - account_ids.meta[DROPPED]
        _show(i, ratio_of(pairs.gross[pair], limit), SYMBOL_GROSS, pairs.gross[pair], limit, account, out)


@compiled
def _standing(
    i: int, lead: I64, server: I64, account_ids: Slots, accounts: _Accounts, limits: Limits, out: I64
) -> None:
    """What stands whatever the event is about: the leading account and the server."""
    top = lead[0] - account_ids.meta[DROPPED]
    if lead[0] >= 0 and top >= 0:
        of_account = limits.account[accounts.limit[top]]
        net = max(abs(accounts.long[top]), abs(accounts.short[top]))
        gross = accounts.gross[top]
        _show(i, ratio_of(gross, of_account[0]), ACCOUNT_GROSS, gross, of_account[0], top, out)
        _show(i, ratio_of(net, of_account[1]), ACCOUNT_NET, net, of_account[1], top, out)
    net = max(abs(server[1]), abs(server[2]))
    _show(i, ratio_of(server[0], limits.server[0]), SERVER_GROSS, server[0], limits.server[0], -1, out)
    _show(i, ratio_of(net, limits.server[1]), SERVER_NET, net, limits.server[1], -1, out)
