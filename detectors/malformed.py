"""Malformed: orders and requests that cannot be right, and venues that say so."""

import math
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from detectors.arrays import I64, U64
from detectors.children import ROOT, ChildFlow, ChildTables
from detectors.config import MalformedConfig
from detectors.detector import Context, Passed
from detectors.excursion import Excursion, Finding
from detectors.flow import Columns, Where, places, read, settled_at
from detectors.intern import DROPPED
from detectors.keyed import ONE, SHOWN, KeyedCusums, Shown, Walks, close, findings, hit, lead_value, mix, show
from detectors.kinds import ACK, ASKS, CANCEL, REJECTED, REPLACE
from detectors.memos import Memos
from schemas.events import Kind, Phase, word_of
from schemas.jit import compiled
from schemas.records import Family
from schemas.units import PRICE9, S_NS

REJECTS, REJECTS_STRATEGY, REFUSED, UNKNOWN, FAR, AMEND = range(6)
NAMES: Final = ("rejects", "rejects", "refused_requests", "unknown_orders", "far_price", "amend_past_limits")
_CANCELED, _REPLACED = int(Kind.canceled), int(Kind.replaced)
_MEMOS: Final = 1 << 13
_SYMBOL, _ORIG, _PX = word_of("symbol"), word_of("orig_cl_ord_id"), word_of("px")
_LOW: Final = np.uint64(0xFFFFFFFF)
_HIGH: Final = np.uint64(0xFFFFFFFF00000000)
_EMPTY: Final = np.uint64(0)
_SERVER: Final = np.uint64(0x9E3779B97F4A7C15)
_TAG: Final = tuple(np.uint64(k + 1) for k in range(8))
_AGE_NS: Final = S_NS
_LEARN_MIN: Final = 100.0


class _Memos(NamedTuple):
    """By hash, the latest with the same place wins. (m,) symbols: hash, mid of a second or more ago, the one to follow
    it, and since when; orders: number + 1 and last limit price."""

    symbol: U64
    old_mid: I64
    mid: I64
    mid_at: I64
    number: I64
    px: I64


class _Bounds(NamedTuple):
    """Integers of the configuration: collar (thousandths), price and amend (1e-9; thousandths), USD in 1e-9; time
    until an unknown order is news (ns)."""

    collar: int
    px_max: int
    amend: int
    unit: int
    accepted: int
    rejected: int
    cancelled: int
    refused: int
    settle_ns: int


class Malformed(Passed):
    """Five CUSUMs over what is wrong with orders and requests, in limits; the score is the highest.

    Shares, on the clock of answers (Bernoulli CUSUM; Reynolds and Stoumbos 1999, J. Qual. Technol. 31):

        W = max(0, W + (ln(p1 / p0) if refused else ln((1 - p1) / (1 - p0))) / nats_limit)

    | statistic | key | refused | accepted | p0, p1 |
    |---|---|---|---|---|
    | rejects | server; strategy | ``rejected`` order | ``ack`` | max(least, headroom x learned), ``reject_ratio`` p0 |
    | refused_requests | server | ``rejected`` cancel or replace | ``canceled``, ``replaced`` | 20 %, 80 % |

    Counts (as ``detectors/repetition.py``): ``unknown_orders``, cancels and replaces of orders never sent, by server;
    ``far_price``, new orders beyond the far side of the NBBO by more than ``collar``, by strategy; ``amend_past_limits``,
    replaces that do so (or, where the NBBO is not known, that change the limit by more than ``amend_max``); not those of
    orders that were as far already, unless they move them by more than ``collar``: there the market has moved. One more
    for each ``usd_unit`` of the order, about one limit at most: one order never halts, two large ones do. A price is far
    only against the NBBO of the event *and* that of a second or more before: one bad tick of market data is no reason to
    halt. Prices beyond ``px_usd_max`` (a NaN or an integer's end, as wire formats show them) are far. A market order (price
    0) is none of these; the same one again and again is ``repetition``'s. A price that is far on the passive side is
    harmless and not counted.

    Unit of the score: limits. Statistical: warns at 1, halts alone at ``bound_halt``. Baseline: the learned reject
    share, exponentially weighted over ``learn_minutes``, from minutes without a breach; ``reject_share_prior`` until
    3 minutes with 100 answers each are learned. Unknown orders are counted from the start if the log begins with the
    server's first event (seq 0 or 1); else after ``settle_s``, when orders older than the log are gone. False-alarm
    cost: with the true share at p0, an excursion begins with each reject and reaches the limit with probability at most
    exp(-(nats_limit - ln(p1 / p0))) (Wald), about 2e-4 at the defaults, and far less below p0.

    Pre-open rejects (Knight, 97 e-mails, SEC 34-70694 par. 19) are ``rejects``: evidence says ``preopen_rejects`` and
    names the owner, which is the strategy. Also Rule 15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(a); Credit Suisse 2007-11-14
    (unknown orders); Mizuho 2005-12-08, Goldman 2013-08-20 (far prices); Citadel 2017-08-09 (amends).
    """

    name: ClassVar[str] = "malformed"
    family: ClassVar[Family] = "malformed"
    hard: ClassVar[bool] = False

    def __init__(self, config: MalformedConfig) -> None:
        c = self.config = config
        self.cusums = KeyedCusums(
            [
                *[(1.0, c.forget_limits_per_s)] * 3,
                (c.unknown_limit, c.unknown_per_s),
                (c.far_limit, c.far_per_s),
                (c.far_limit, c.far_per_s),
            ],
            c.walks_max,
        )
        self.excursion = Excursion(SHOWN, round(c.quiet_s * S_NS))
        columns = {name: "u8" if name == "symbol" else "i8" for name in _Memos._fields}
        self.memos = Memos(columns, _MEMOS)
        self.share = 0.0
        self.minutes = 0
        self.answers: I64 = np.zeros(2, np.int64)
        """Accepted and refused orders of this minute."""
        self.began: I64 = np.array([-1])
        """From what stream time on an unknown order is news (-1: no event yet)."""
        self.out = self.cusums.shown(0)
        self._n = 0
        self._set_weights()

    def _set_weights(self) -> None:
        c = self.config
        warm = self.minutes >= 3
        p0 = max(c.reject_share_min, c.reject_headroom * self.share) if warm else c.reject_share_prior
        self.normal = p0 = min(p0, 0.5)
        p1 = min(p0 * c.reject_ratio, (1 + p0) / 2)
        self.weights = [_bernoulli(p0, p1, c.nats_limit), _bernoulli(0.2, 0.8, c.nats_limit)]

    @property
    def bound_halt(self) -> float:
        """In limits."""
        return self.config.bound_halt

    def tables(self, more: int) -> "MalformedTables":
        """For the compiled loop; until the next minute."""
        c = self.config
        (accepted, rejected), (cancelled, refused) = self.weights
        bounds = _Bounds(
            round(c.collar * 1_000), round(c.px_usd_max * PRICE9), round(c.amend_max * 1_000), round(c.usd_unit),
            accepted, rejected, cancelled, refused, round(c.settle_s * S_NS),
        )  # fmt: skip
        return MalformedTables(
            self.cusums.walks, self.excursion.row, _Memos(**self.memos.columns), bounds, self.answers, self.began
        )

    def step(self, context: Context) -> list[Finding]:
        """Score a flow, then count its answers."""
        flow, n = context.flow, len(context.flow)
        if not context.walked:
            self.out = self.cusums.shown(n)
            children = context.children.tables(0)
            walk(n, places(flow), read(flow), context.child, children, context.totals, self.tables(n), self.out)
        self._n = n
        return findings(self.excursion, flow, self.out, context.totals)

    def score(self, value: int) -> float:
        """Limits."""
        return round(value / SHOWN, 3)

    def baseline(self) -> float:
        """Share of orders that may be refused."""
        return round(self.normal, 6)

    def values(self) -> I64:
        """(n,) the lead, in 1/1024 limits."""
        return self.out.values[: self._n]

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """What is wrong, how often, with which order, and whose it is."""
        i, flow = finding.index, context.flow
        if finding.edge == "close":
            return {"rejects": finding.count("rejects"), "orders": finding.count("orders")}
        stat = int(self.out.stats[i])
        what = NAMES[stat]
        if stat <= REJECTS_STRATEGY and int(flow.events["phase"][i]) == int(Phase.pre):
            what = "preopen_rejects"
        share = stat <= REFUSED
        seconds = max(int(flow.t[i]) - finding.began, 0) / S_NS
        return {
            "what": what,
            "count": finding.count("rejects") if share else int(self.out.counts[i]),
            "orders": finding.count("orders"),
            "window_ms": round(seconds * 1000, 3),
            "owner": flow.text("strategy", i) or flow.text("account", i),
            "symbol": flow.text("symbol", i),
            "strategy": flow.text("strategy", i),
            "account": flow.text("account", i),
            "qty": int(flow.qty[i]),
            "px": int(flow.px[i]) / PRICE9,
            "bid": int(flow.bid[i]) / PRICE9,
            "ask": int(flow.ask[i]) / PRICE9,
        }

    def minute(self, learn: bool) -> None:
        """Learn the reject share of the minute and set the weights for the next."""
        accepted, refused = self.answers.tolist()
        self.answers[:] = 0
        total = accepted + refused
        if learn and total >= _LEARN_MIN:
            self.minutes += 1
            gain = max(1.0 / self.minutes, 1.0 / self.config.learn_minutes)
            self.share += gain * (refused / total - self.share)
        self._set_weights()


def _bernoulli(p0: float, p1: float, nats_limit: float) -> tuple[int, int]:
    """What an accepted and a refused one weigh, in walk units."""
    return (
        round(math.log((1 - p1) / (1 - p0)) / nats_limit * ONE),
        round(math.log(p1 / p0) / nats_limit * ONE),
    )


class MalformedTables(NamedTuple):
    """State: walks, excursion, memos, answers of this minute, when unknown orders become news; and the bounds."""

    walks: Walks
    row: I64
    memos: _Memos
    bounds: _Bounds
    answers: I64
    began: I64


@compiled
def walk(
    n: int, at: Where, flow: Columns, child: ChildFlow, children: ChildTables, totals: I64, tables: MalformedTables,
    shown: Shown,
) -> None:  # fmt: skip
    """Score n events."""
    words, walks, bounds = at.words, tables.walks, tables.bounds
    if tables.began[0] < 0:
        tables.began[0] = settled_at(at, bounds.settle_ns)
    began = tables.began[0]
    shown.used[0] = 0
    for i in range(n):
        kind, now = flow.kind[i], at.t[i]
        before = lead_value(walks, now)
        by_request = words[i, _ORIG] != _EMPTY
        bid, ask = flow.bid[i], flow.ask[i]
        old_mid = _remember(words, i, (bid + ask) // 2, now, tables.memos) if bid > 0 and ask >= bid else 0
        if ASKS[kind]:
            if child.new[i]:
                _asked(i, at, flow, child.order[i], old_mid, by_request and now >= began, children, tables)
        elif kind == CANCEL:
            if by_request and child.order[i] < 0 and now >= began:
                hit(walks, at, i, _SERVER + _TAG[UNKNOWN], UNKNOWN, walks.weight[UNKNOWN])
        elif kind == ACK or (kind == REJECTED and not by_request):
            bad = kind == REJECTED
            weight = bounds.rejected if bad else bounds.accepted
            tables.answers[1 if bad else 0] += 1
            hit(walks, at, i, _SERVER, REJECTS, weight)
            hit(walks, at, i, _strategy(words, i, REJECTS_STRATEGY), REJECTS_STRATEGY, weight)
        elif by_request and kind in (REJECTED, _CANCELED, _REPLACED):
            weight = bounds.refused if kind == REJECTED else bounds.cancelled
            hit(walks, at, i, _SERVER + _TAG[REFUSED], REFUSED, weight)
        show(walks, now, i, before, shown)
    close(n, at, totals, tables.row, shown)


@compiled
def _asked(
    i: int, at: Where, flow: Columns, order: int, old_mid: int, named: bool, children: ChildTables,
    tables: MalformedTables,
) -> None:  # fmt: skip
    """A new order or replace. named: it names an order that ought to be known by now."""
    walks, bounds, memos = tables.walks, tables.bounds, tables.memos
    bid, ask, px, sign = flow.bid[i], flow.ask[i], flow.px[i], flow.sign[i]
    quoted = bid > 0 and ask >= bid
    root = children.order[order, ROOT]
    far = _far(px, sign, bid, ask, old_mid, bounds) if quoted else px >= bounds.px_max
    replaces = flow.kind[i] == REPLACE
    if replaces:
        if named and root == order + children.orders.meta[DROPPED]:
            hit(walks, at, i, _SERVER + _TAG[UNKNOWN], UNKNOWN, walks.weight[UNKNOWN])
        if not quoted:
            far = far or _jumps(px, sign, root, memos, bounds)
    place = np.int64(root % _MEMOS)
    if replaces and quoted and far and memos.number[place] == root + 1:
        old = memos.px[place]
        far = not _far(old, sign, bid, ask, old_mid, bounds) or _moves(px, sign, old, bounds.collar)
    memos.number[place], memos.px[place] = root + 1, px
    if far:
        _strike_far(walks, at, i, AMEND if replaces else FAR, flow.qty[i], (bid + ask) // 2 if quoted else px, bounds)


@compiled
def _strategy(words: U64, i: int, stat: int) -> np.uint64:
    return mix(mix(words[i, _SYMBOL + 1] & _HIGH, words[i, _SYMBOL + 2]), _TAG[stat])


@compiled
def _strike_far(walks: Walks, at: Where, i: int, stat: int, qty: int, mid: int, bounds: _Bounds) -> None:
    usd = min(qty, 1 << 30) * (mid // 1_000_000_000)
    weight = walks.weight[stat]
    many = min(1 + usd // bounds.unit, ONE // weight + 1)
    hit(walks, at, i, _strategy(at.words, i, stat), stat, min(weight * many, ONE + ONE // 8))


@compiled
def _remember(words: U64, i: int, mid: int, now: int, memos: _Memos) -> int:
    """Keep the mid of the symbol; returns that of a second or more ago (at first, this one)."""
    symbol = mix(words[i, _SYMBOL], words[i, _SYMBOL + 1] & _LOW)
    place = np.int64(symbol % np.uint64(_MEMOS))
    if memos.symbol[place] != symbol:
        memos.symbol[place], memos.old_mid[place], memos.mid[place], memos.mid_at[place] = symbol, mid, mid, now
    elif now - memos.mid_at[place] >= _AGE_NS:
        memos.old_mid[place], memos.mid[place], memos.mid_at[place] = memos.mid[place], mid, now
    return int(memos.old_mid[place])


@compiled
def _far(px: int, sign: int, bid: int, ask: int, old_mid: int, bounds: _Bounds) -> bool:
    """Beyond the other side by more than the collar, now and a second ago."""
    if px >= bounds.px_max:
        return True
    if px == 0 or sign == 0:
        return False
    if sign > 0:
        reach = max(ask, old_mid)
        return px > reach + reach // 1_000 * bounds.collar
    reach = min(bid, old_mid)
    return px < reach - reach // 1_000 * bounds.collar


@compiled
def _jumps(px: int, sign: int, root: int, memos: _Memos, bounds: _Bounds) -> bool:
    """A replace that moves the limit of its order by more than is allowed, towards the market."""
    place = np.int64(root % _MEMOS)
    old = memos.px[place]
    if memos.number[place] != root + 1 or old == 0 or px == 0:
        return False
    return _moves(px, sign, old, bounds.amend)


@compiled
def _moves(px: int, sign: int, old: int, share: int) -> bool:
    """Towards the market, by more than a share (thousandths) of the old limit."""
    move = old // 1_000 * share
    return px > old + move if sign > 0 else px < old - move
