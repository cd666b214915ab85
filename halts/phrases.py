"""What a detector saw, as a clause that goes on from a subject ("Router R3 ..."): active voice, numbers first.

Evidence is looked up leniently: a key that is missing is left out, and a detector nobody wrote a phrase for is told by
its score, bound and baseline.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.records import Cause

Evidence = Mapping[str, Any]


def number(x: Any) -> str:
    """``1203`` -> ``1,203``; a fraction keeps two digits; what is no number is given as it is.

    >>> number(1203), number(0.256), number(12.0), number("R3")
    ('1,203', '0.26', '12', 'R3')
    """
    if isinstance(x, bool) or not isinstance(x, int | float):
        return str(x)
    if x != x or abs(x) >= 1e15:
        return "a huge number" if x == x else "no number"
    return f"{round(x):,}" if x == round(x) or abs(x) >= 10 else f"{x:,.2f}"


def usd(x: float) -> str:
    """Dollars for a sentence.

    >>> usd(512.4), usd(170_370.2), usd(2_460_000), usd(3.5e9)
    ('USD 512', 'USD 170,370', 'USD 2.46m', 'USD 3.5bn')
    """
    if abs(x) >= 1e9:
        return f"USD {_short(x / 1e9)}bn"
    return f"USD {_short(x / 1e6)}m" if abs(x) >= 1e6 else f"USD {round(x):,}"


def _short(x: float) -> str:
    return f"{x:,.2f}".rstrip("0").rstrip(".")


def _count(evidence: Evidence, key: str, noun: str) -> str:
    """``3 orders``, ``1 order``; just the noun's plural if the number is missing."""
    x = evidence.get(key)
    if x is None:
        return f"{noun}s"
    return f"{number(x)} {noun}" if x == 1 else f"{number(x)} {noun}s"


def _more_parents(e: Evidence) -> str:
    parents = e.get("parents", 1)
    return f" and {number(parents - 1)} more" if isinstance(parents, int) and parents > 1 else ""


def _asked(e: Evidence) -> str:
    return f", which asked for {number(e['parent_qty'])}" if "parent_qty" in e else ""


def _conservation(c: Cause) -> str:
    e = c.evidence
    parent = f"parent {e['parent_id']}{_more_parents(e)}" if e.get("parent_id") else "its parent orders"
    excess = f", {number(e['excess_qty'])} shares too many" if e.get("excess_qty") else ""
    value = f" ({usd(e['excess_usd'])})" if e.get("excess_usd") else ""
    match e.get("what"):
        case "overfill":
            done = f"{number(e['fill_qty'])} shares" if "fill_qty" in e else "more shares than ordered"
            return f"filled {done} for {parent}{_asked(e)}{value}"
        case "overorder":
            sent = f"{number(e['child_qty'])} shares" if "child_qty" in e else "more shares than asked"
            return f"put {sent} into the market for {parent}{_asked(e)}{value}"
        case "after_done":
            return f"sent {_count(e, 'orders', 'order')} for {parent} after it was done{excess}{value}"
        case "orphan":
            return f"sent {_count(e, 'orders', 'order')} that no parent order asked for{value}"
        case "fan_out":
            return f"cut {parent} into {_count(e, 'orders', 'order')}{value}"
    orders = f" with {_count(e, 'orders', 'order')}" if "orders" in e else ""
    return f"sends out more than its parents asked for{orders}{excess}{value}"


def _rate(c: Cause) -> str:
    e = c.evidence
    if "count" not in e:
        return f"sends orders at {number(c.score)} where {number(c.baseline)} is normal"
    window = f" in {number(e['window_ms'])} ms" if "window_ms" in e else ""
    normal = f" where {number(e['expected'])} are normal" if "expected" in e else ""
    return f"sent {_count(e, 'count', 'order')}{window}{normal}"


def _crossing(c: Cause) -> str:
    e = c.evidence
    symbols = e.get("symbols") or e.get("symbol")
    where = f" in {_names(symbols)}" if symbols else ""
    pairs = f", {_count(e, 'pairs', 'pair')}" if "pairs" in e else ""
    sides = ""
    if "buys_at_ask" in e and "sells_at_bid" in e:
        sides = f" ({number(e['buys_at_ask'])} against {number(e['sells_at_bid'])}{pairs})"
    burn = f", burning {usd(e['burn_usd_per_s'])}/s" if e.get("burn_usd_per_s") else ""
    return f"buys at the ask and sells at the bid{where}{sides}{burn}"


def _repetition(c: Cause) -> str:
    e = c.evidence
    times = f" {_count(e, 'count', 'time')}" if "count" in e else " again and again"
    symbol = f" in {e['symbol']}" if e.get("symbol") else ""
    span = f" within {number(e['window_ms'])} ms" if e.get("window_ms") else ""
    match e.get("what"):
        case "same_parent" if e.get("parent_id"):
            return f"sent the same order{symbol}{times} for parent {e['parent_id']}{span}"
        case "same_price":
            return f"sent orders at the same price in one symbol after another{times}{span}"
        case "reentry_after_cancel":
            return f"entered the order that it had just cancelled again{symbol}{times}{span}"
        case "own_fills":
            return f"undid its own fills at once{symbol}{times}{span}"
        case "reused_cl_ord_id":
            return f"sent new orders under ids of older ones{times}{span}"
    return f"sent the same order{symbol}{times}{span}"


def _malformed(c: Cause) -> str:
    e = c.evidence
    whose = f" of {e['owner']}" if e.get("owner") else ""
    match e.get("what"):
        case "rejects" | "preopen_rejects" if "count" in e:
            when = " before the open" if e["what"] == "preopen_rejects" else ""
            return f"had {_count(e, 'count', 'request')}{whose} refused{when}, more than its usual share"
        case "refused_requests" if "count" in e:
            return f"had {_count(e, 'count', 'request')} refused, most of them cancels and replaces"
        case "unknown_orders" if "count" in e:
            return f"sent {number(e['count'])} cancels and replaces of orders that it never sent"
        case "far_price" | "amend_past_limits" if "px" in e:
            verb = "amended an order" if e["what"] == "amend_past_limits" else "sent an order"
            quote = f" where the market is {number(e.get('bid'))} to {number(e.get('ask'))}" if e.get("ask") else ""
            symbol = f" in {e['symbol']}" if e.get("symbol") else ""
            more = f", {_count(e, 'count', 'order')} like that" if "count" in e else ""
            return f"{verb}{symbol} to the price {number(e['px'])}{quote}{whose}{more}"
    kind = str(e.get("what", "malformed")).replace("_", " ")
    return f"sends orders that cannot be right ({kind}: {number(e.get('count', c.score))}, bound {number(c.limit)})"


def _exposure(c: Cause) -> str:
    e = c.evidence
    account = f" in account {e['account']}" if e.get("account") else ""
    symbol = f" in {e['symbol']}" if e.get("symbol") else ""
    match e.get("what"):
        case "no_limit":
            return f"trades{account} with no limit set"
        case "order_qty" if "qty" in e:
            return f"sent an order for {number(e['qty'])} shares{symbol}{account}, limit {number(e['limit_qty'])}"
        case "order_usd" if "gross_usd" in e:
            return f"sent an order worth {usd(e['gross_usd'])}{symbol}{account}, limit {usd(e['limit_usd'])}"
        case "parent_usd" if "gross_usd" in e:
            return f"works a parent order worth {usd(e['gross_usd'])}{symbol}{account}, limit {usd(e['limit_usd'])}"
        case "account_net" | "server_net" if "gross_usd" in e:
            return f"is {usd(e['gross_usd'])} long or short{account} against a limit of {usd(e['limit_usd'])}"
    if "limit_usd" in e:
        held = usd(e.get("gross_usd", c.score))
        where = symbol if e.get("what") == "symbol_gross" else ""
        return f"holds {held}{where}{account} against a limit of {usd(e['limit_usd'])}"
    if c.limit <= 0:
        return f"trades{account} with no limit set"
    return f"is at {number(c.score)}{account} against a limit of {number(c.limit)}"


def _novelty(c: Cause) -> str:
    top = c.evidence.get("top") or c.evidence.get("features")
    what = f", above all in {_names(top)}" if top else ""
    return f"behaves as it never did before{what} (score {number(c.score)}, bound {number(c.limit)})"


def _divergence(c: Cause) -> str:
    e = c.evidence
    if "unit" in e:
        return f"is at {number(e['value'])} {e['unit']} where its peers are at {number(e['peers'])}{_after(e)}"
    top = e.get("top") or e.get("feature")
    what = f" in {_names(top)}" if top else ""
    return f"behaves unlike its peers{what} ({number(c.score)} where {number(c.baseline)} is normal)"


def _after(e: Evidence) -> str:
    """``, 12 s after release r7``, where something had been changed shortly before."""
    change = e.get("after_change")
    if not isinstance(change, Mapping) or "s_ago" not in change:
        return ""
    what = f"release {change['release']}" if change.get("release") else f"its {_names(change.get('what', ()))} changed"
    return f", {number(change['s_ago'])} s after {what}"


def _drift(c: Cause) -> str:
    e = c.evidence
    for key in ("build", "config", "flag"):
        if key in e:
            return f"runs {key} {e[key]}, but the release declares {e.get('declared', 'another')}"
    if "observed" not in e:
        return "does not run what the release declares"
    says = (
        "its peers run"
        if e.get("by_peers")
        else f"release {e['release']} declares"
        if e.get("release")
        else "declared is"
    )
    more = len(e.get("differs", ())) - 1
    also = f" and {more} more {'differ' if more > 1 else 'differs'}" if more > 0 else ""
    refused = f", {_count(e, 'refused', 'order')} too many refused" if e.get("refused") else ""
    owner = f" (owner: {e['owner']})" if e.get("owner") else ""
    return f"runs {e.get('what', '')} {e['observed']} where {says} {e.get('declared')}{also}{refused}{owner}"


def _widened(c: Cause) -> str:
    e = c.evidence
    what = f"release {e['release']}" if e.get("release") else f"the change of {_names(e.get('what', ()))}"
    where = f" on {_names(e['changed'])}" if e.get("changed") else ""
    return f"got worse with a change: {what}{where} widened it, {number(c.score)} more servers are abnormal since"


def _breadth(c: Cause) -> str:
    e = c.evidence
    if isinstance(e.get("servers"), list) and "of" in e:
        return (
            f"has {number(e['count'])} of {number(e['of'])} routers abnormal at once ({_names(e.get('detectors', ()))})"
        )
    return f"moves abnormally in {_count(e, 'symbols', 'symbol')} at once"


def _participation(c: Cause) -> str:
    e = c.evidence
    if isinstance(e.get("push_usd"), int | float):
        share = f", {number(100 * e['share'])} % of how prices moved" if "share" in e else ""
        return f"pushes prices by {usd(e['push_usd'])} with its own orders{share}"
    share = f"{number(100 * e['share'])} %" if isinstance(e.get("share"), int | float) else "too large a share"
    return f"is {share} of the volume in {e.get('symbol', 'the market')}"


def _silence(c: Cause) -> str:
    e = c.evidence
    match e.get("what"):
        case "gap":
            return f"has lost events: {_count(e, 'missing', 'number')} missing in its sequence"
        case "lag" | "blind":
            return (
                f"cannot be watched: {_count(e, 'behind', 'event')} that it published have not been scored for "
                f"{number(round(e.get('blind_ms', 0) / 1e3, 1))} s"
            )
    silent = e.get("silent_ms")
    return f"has said nothing for {number(silent)} ms" if silent is not None else "has gone silent or lost events"


def _firm_exposure(c: Cause) -> str:
    e = c.evidence
    if e.get("limit_usd", 0) <= 0:
        return f"trades with no limit set on its {_names(e.get('no_limit', ('exposure',)))}"
    does = "has lost" if e.get("what") == "loss" else "holds"
    kind = "" if e.get("what") == "loss" else f" {e.get('what', 'gross')}"
    return f"{does} {usd(e['held_usd'])}{kind} over all routers, against a limit of {usd(e['limit_usd'])}"


def _no_ack(c: Cause) -> str:
    return f"has not confirmed the block of {c.evidence.get('scope', 'its scope')} within {number(c.score)} ms"


def _after_halt_flow(c: Cause) -> str:
    e = c.evidence
    return f"still sends {_count(e, 'orders', 'order')} {number(e.get('after_ms', c.score))} ms after it said blocked"


def _widening(c: Cause) -> str:
    return f"is part of a trouble that spreads: {_names(c.evidence.get('scopes', ()))} are halted"


def _limit(c: Cause) -> str:
    return f"brings more halted scopes than can be followed one by one ({number(c.limit)})"


def _unknown(c: Cause) -> str:
    normal = f", normal {number(c.baseline)}" if c.baseline else ""
    return f"sets off detector {c.detector} at {number(c.score)} (bound {number(c.limit)}{normal})"


def _names(x: Any) -> str:
    """At most three names of a list, dict or string."""
    names = [x] if isinstance(x, str) else [str(name) for name in x]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


PHRASES: Final[Mapping[str, Callable[[Cause], str]]] = {
    "conservation": _conservation,
    "fanout": _conservation,
    "orphans": _conservation,
    "rate": _rate,
    "crossing": _crossing,
    "repetition": _repetition,
    "malformed": _malformed,
    "exposure": _exposure,
    "limits": _exposure,
    "novelty": _novelty,
    "divergence": _divergence,
    "drift": _drift,
    "drift_widened": _widened,
    "exposure_firm": _firm_exposure,
    "exposure_near": _firm_exposure,
    "breadth": _breadth,
    "participation": _participation,
    "silence": _silence,
    "no_ack": _no_ack,
    "after_halt_flow": _after_halt_flow,
    "widening": _widening,
    "scopes_max": _limit,
}


def clause(cause: Cause) -> str:
    """What the detector saw. A detector called after a family (``rate_cusum``) takes the family's phrase; evidence of
    an unexpected type falls back to score and bound, because the sentence must come whatever the detector sent."""
    phrase = PHRASES.get(cause.detector) or PHRASES.get(cause.detector.partition("_")[0], _unknown)
    try:
        return phrase(cause)
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        return _unknown(cause)
