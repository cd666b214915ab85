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
    return f"sent the same order{symbol}{times}"


def _malformed(c: Cause) -> str:
    e = c.evidence
    kind = str(e.get("what", "malformed")).replace("_", " ")
    return f"sends orders that cannot be right ({kind}: {number(e.get('count', c.score))}, bound {number(c.limit)})"


def _exposure(c: Cause) -> str:
    e = c.evidence
    account = f" in account {e['account']}" if e.get("account") else ""
    if "limit_usd" in e:
        held = usd(e.get("gross_usd", c.score))
        return f"holds {held}{account} against a limit of {usd(e['limit_usd'])}"
    if c.limit <= 0:
        return f"trades{account} with no limit set"
    return f"is at {number(c.score)}{account} against a limit of {number(c.limit)}"


def _novelty(c: Cause) -> str:
    top = c.evidence.get("top") or c.evidence.get("features")
    what = f", above all in {_names(top)}" if top else ""
    return f"behaves as it never did before{what} (score {number(c.score)}, bound {number(c.limit)})"


def _divergence(c: Cause) -> str:
    top = c.evidence.get("top") or c.evidence.get("feature")
    what = f" in {_names(top)}" if top else ""
    return f"behaves unlike its peers{what} ({number(c.score)} where {number(c.baseline)} is normal)"


def _drift(c: Cause) -> str:
    e = c.evidence
    for key in ("build", "config", "flag"):
        if key in e:
            return f"runs {key} {e[key]}, but the release declares {e.get('declared', 'another')}"
    if "observed" in e:
        return f"runs {e['observed']}, but the release declares {e.get('declared', 'something else')}"
    return "does not run what the release declares"


def _breadth(c: Cause) -> str:
    return f"moves abnormally in {_count(c.evidence, 'symbols', 'symbol')} at once"


def _participation(c: Cause) -> str:
    e = c.evidence
    share = f"{number(100 * e['share'])} %" if isinstance(e.get("share"), int | float) else "too large a share"
    return f"is {share} of the volume in {e.get('symbol', 'the market')}"


def _silence(c: Cause) -> str:
    silent = c.evidence.get("silent_ms")
    return f"has said nothing for {number(silent)} ms" if silent is not None else "has gone silent or lost events"


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
    "rate": _rate,
    "crossing": _crossing,
    "repetition": _repetition,
    "malformed": _malformed,
    "exposure": _exposure,
    "limits": _exposure,
    "novelty": _novelty,
    "divergence": _divergence,
    "drift": _drift,
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
