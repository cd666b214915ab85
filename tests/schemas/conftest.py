"""Generated order events, good and broken, as plain dicts."""

from typing import Any

import pytest
from hypothesis import strategies as st

from schemas.codec_rules import EITHER_ID, INTEGERS, NEEDS_EITHER_ID, PRICES, PX_MAX, REQUIRED, STRINGS, WORDS
from schemas.events import Kind
from schemas.units import PX9_MAX, TS_NS_MAX, TS_NS_MIN

PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
IDS = st.text(PRINTABLE, max_size=24)


def texts(name: str, least: int = 0) -> st.SearchStrategy[str]:
    return st.text(PRINTABLE, min_size=least, max_size=STRINGS[name])


def prices(least: int = 0) -> st.SearchStrategy[float]:
    return st.integers(least, PX9_MAX).map(lambda px9: px9 / 1e9)


@st.composite
def good(draw: st.DrawFn) -> dict[str, Any]:
    """An event that keeps every rule, optional fields there or not."""
    kind = draw(st.sampled_from(list(Kind)))
    needed = {"server", *REQUIRED[kind]}
    if kind in NEEDS_EITHER_ID:
        needed.add(draw(st.sampled_from(EITHER_ID)))
    event: dict[str, Any] = {"v": 1, "kind": kind.name}
    event["seq"] = draw(st.integers(*INTEGERS["seq"]))
    event["ts"] = draw(st.integers(TS_NS_MIN, TS_NS_MAX))
    optional = [*STRINGS, *PRICES, *WORDS, "qty", "poss_dup"]
    for name in draw(st.sets(st.sampled_from(optional))) | needed:
        least = int(name in needed)
        if name in STRINGS:
            event[name] = draw(texts(name, least))
        elif name in PRICES:
            event[name] = draw(prices(least))
        elif name in WORDS:
            event[name] = draw(st.sampled_from(["", *WORDS[name]][least:]))
        elif name == "qty":
            event[name] = draw(st.integers(least, INTEGERS["qty"][1]))
        else:
            event[name] = draw(st.booleans())
    return event


ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([100.0, 1e12, PX_MAX, PX_MAX + 0.5, -0.0, 4e-10, 6e-10, float(TS_NS_MIN), -1e-12]),
    st.text(max_size=30),
    st.sampled_from(["", "none", "buy", "B", "cont", "a\n", "a\x00", "\x7f", "x" * 12, "x" * 13, "x" * 24, "x" * 25]),
    st.just([]),
    st.just({}),
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A good event with up to three fields left out, changed or added: often broken, not always."""
    event = draw(good())
    names = [*STRINGS, *INTEGERS, *PRICES, *WORDS, "v", "kind", "poss_dup", "unknown_field"]
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)):
        if draw(st.booleans()):
            event.pop(name, None)
        else:
            event[name] = draw(ODD_VALUES)
    return event


@pytest.fixture(scope="session")
def good_event() -> st.SearchStrategy[dict[str, Any]]:
    return good()


@pytest.fixture(scope="session")
def mutated_event() -> st.SearchStrategy[dict[str, Any]]:
    return mutated()


@pytest.fixture
def good_order() -> dict[str, Any]:
    """A plain order with every field that an order usually has."""
    return {
        "v": 1, "kind": "order", "server": "R3", "seq": 4711, "ts": 1_343_827_800_000_000_000, "parent_id": "P-17",
        "cl_ord_id": "R3-000123", "symbol": "AAPL", "strategy": "vwap", "account": "ACC1", "venue": "XNYS", "side": "B",
        "qty": 100, "px": 606.81, "bid": 606.8, "ask": 606.82, "phase": "cont",
    }  # fmt: skip
