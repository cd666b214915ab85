"""Reading PromQL as far as the table of metrics needs it: which metrics an expression names, with which labels.
Whether the expression is well formed and yields data, a real Prometheus says (``dashboards.check``)."""

import re
from collections.abc import Iterator
from typing import Final

from schemas import metrics

_NAME: Final = re.compile(r"\b(knightwatch_\w+)(?:\{([^{}]*)\})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')
_GROUPING: Final = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_RANGE: Final = re.compile(r"\[(?:\d+[smh]|\$__rate_interval)\]")
_STRING: Final = re.compile(r'"[^"]*"')
_TABLE: Final = {m.name: m for m in metrics.ALL}
_PARTS: Final = ("_bucket", "_sum", "_count")


def metric(name: str) -> metrics.Metric | None:
    """The row of the table that a series name belongs to; a histogram is read through its three series."""
    found = _TABLE.get(name)
    if found:
        return None if found.kind == "histogram" else found
    for part in _PARTS:
        base = _TABLE.get(name.removesuffix(part))
        if name.endswith(part) and base and base.kind == "histogram":
            return base
    return None


def problems(expr: str) -> Iterator[str]:
    """What is wrong with ``expr``, by the table of metrics."""
    named = list(_NAME.finditer(expr))
    if not named:
        yield "names no metric of schemas/metrics.py"
    for match in named:
        yield from _selector(match)
    yield from _groupings(expr)
    for match in re.finditer(r"\b(?:rate|increase|deriv)\(([^()]*)\)", expr):
        if not _RANGE.search(match.group(1)):
            yield f"{match.group(0)} needs a range such as [$__rate_interval]"
    bare = _STRING.sub("", expr)
    if bare.count("(") != bare.count(")"):
        yield "its parentheses do not balance"


def _selector(match: re.Match[str]) -> Iterator[str]:
    row = metric(match.group(1))
    if row is None:
        yield f"{match.group(1)} is not in schemas/metrics.py (a histogram is read as _bucket, _sum or _count)"
        return
    for label in _MATCHER.findall(match.group(2) or ""):
        if label not in row.labels:
            yield f"{row.name} has no label {label}; it has {', '.join(row.labels) or 'none'}"


def _groupings(expr: str) -> Iterator[str]:
    for match in _GROUPING.finditer(expr):
        labels = [label for label in re.split(r"[,\s]+", match.group(2)) if label]
        unknown = [label for label in labels if label not in metrics.LABELS | {"le"}]
        if unknown:
            yield f"{match.group(0)}: no metric has the label {', '.join(unknown)}"
        elif match.group(1) == "by":
            yield from _by(labels, _argument(expr, match.end()))


def _by(labels: list[str], inner: str) -> Iterator[str]:
    """A label that the inner metric lacks would group everything into one silent line."""
    for match in _NAME.finditer(inner):
        row = metric(match.group(1))
        allowed = set(row.labels) | ({"le"} if row and match.group(1).endswith("_bucket") else set()) if row else set()
        for label in labels:
            if row and label not in allowed:
                yield f"by ({label}): {row.name} has no such label; it has {', '.join(row.labels) or 'none'}"


def _argument(expr: str, start: int) -> str:
    """The parenthesised expression that begins at or after ``start``."""
    begin = expr.find("(", start)
    depth = 0
    for n in range(begin, len(expr)):
        depth += {"(": 1, ")": -1}.get(expr[n], 0)
        if depth == 0:
            return expr[begin + 1 : n]
    return expr[begin + 1 :]
