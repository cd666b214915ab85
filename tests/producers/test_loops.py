"""The simulator's compiled loops do what a plain statement of the same does, on made-up input."""

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from producers import scenarios
from producers.asking import Asking
from producers.emit import Emitter, happens, quotes
from producers.gating import OpenGate
from producers.ids import IdFormat
from producers.market import TICK9
from producers.money import Book
from producers.tables import CHILD, Calendar, Flag, Style, as_words, records
from producers.venue import Venues
from producers.warm import warm
from producers.world import OPEN_2012_08_01_NS, VENUES, World
from schemas.events import EVENT, FLAG_POSS_DUP, Kind, Phase, Side
from schemas.units import MS_NS, S_NS
from tests.producers.plain_venue import PlainVenues

START = OPEN_2012_08_01_NS


def plain(recs: NDArray[Any]) -> list[tuple[int, ...]]:
    """The rows but for their padding."""
    return [row[:-1] for row in recs.tolist()]


def made_world(seed: int = 1) -> World:
    world = World([f"R{i}" for i in range(1, 9)], seed, START, START, START + 23_400 * S_NS)
    flow = np.random.default_rng(seed).integers(-400, 400, world.n_symbols).astype(np.float64)
    world.market.step(flow, np.abs(flow))
    return world


def made_children(world: World, rng: np.random.Generator, n: int) -> NDArray[Any]:
    """Of all styles, several at the same time, at prices around the quote, small ones and such as empty a ladder."""
    out = np.zeros(n, CHILD)
    out["ts"] = START + rng.integers(0, 50, n) * MS_NS
    out["qty"] = rng.integers(1, 40, n) * rng.choice([1, 1, 100], n)
    out["sym"] = rng.integers(0, world.n_symbols, n)
    out["px"] = world.bid9(out["sym"]) + rng.integers(-2, 5, n) * TICK9
    out["style"] = rng.choice([int(s) for s in Style], n, p=[0.3, 0.45, 0.05, 0.2])
    out["life_ns"] = np.where(rng.random(n) < 0.3, rng.integers(1, 10**9, n), 0)
    out["parent"], out["server"] = rng.integers(-1, 90, n), rng.integers(0, 8, n)
    out["side"] = rng.choice([Side.B, Side.S, Side.SS], n)
    out["strat"], out["acct"] = rng.integers(0, 6, n), rng.integers(0, 13, n)
    out["flags"] = rng.choice([0, Flag.BAD, Flag.FREE, Flag.BAD | Flag.FREE], n)
    return out


@pytest.mark.parametrize(("seed", "n"), [(1, 1), (2, 2), (3, 40), (4, 900), (5, 3_000)])
def test_venues_answer_as_the_plain_ones_do(seed: int, n: int) -> None:
    ours, other = made_world(seed), made_world(seed)
    for world in (ours, other):
        world.reject_share[:4], world.reject_bad[2:6] = 0.2, True
    children = made_children(ours, np.random.default_rng(seed), n)
    Venues(ours).respond(children)
    expected = PlainVenues(other).respond(children)
    assert plain(ours.calendar.pending()) == plain(expected)
    assert (ours.orders, ours.execs) == (other.orders, other.execs)
    assert ours.rng_venue.bit_generator.state == other.rng_venue.bit_generator.state
    assert n < 900 or set(expected["kind"]) == set(Kind) - {Kind.parent, Kind.parent_done}


def test_the_calendar_gives_what_is_due_and_of_equal_times_what_came_last() -> None:
    """Against lists: fresh before near, what waited far between them when its second comes, all in the order put."""
    rng = np.random.default_rng(1)
    calendar, fresh, near, far = Calendar(0, 10), [], [], []  # type: ignore[var-annotated]
    near_end = number = given = 0
    for until in range(1, 60):
        for _ in range(int(rng.integers(0, 4))):
            recs = records(int(rng.integers(0, 5)))
            recs["ts"] = until + rng.integers(-1, 25, len(recs)) // int(rng.integers(1, 4))
            recs["cl"] = np.arange(number, number + len(recs))
            number += len(recs)
            calendar.add(recs)
            fresh += plain(recs)
        assert sorted(plain(calendar.pending())) == sorted(fresh + near + far)
        if until > near_end:
            near_end = until + 10
            fresh, far = fresh + far, []
        waits = fresh + near
        fresh, near = [], [r for r in waits if until <= r[0] < near_end]
        far += [r for r in waits if r[0] >= max(until, near_end)]
        due = sorted((r for r in waits if r[0] < until), key=lambda r: r[0])
        assert plain(calendar.take(until)) == due
        given += len(due)
    assert given > 150


def made_records(world: World, rng: np.random.Generator, n: int) -> NDArray[Any]:
    out = records(n)
    out["ts"] = START + np.sort(rng.integers(0, 100 * MS_NS, n))
    out["order"] = rng.integers(-2, 60, n)
    world.orders = 60
    for name in ("cl", "orig", "exec"):
        out[name] = rng.choice([-1, 7, 12_345, 99_999_999, 123_456_789_012], n)
    out["parent"] = rng.integers(-1, 90, n)
    out["qty"], out["leaves"] = rng.integers(1, 900, n), rng.integers(1, 900, n)
    out["sym"], out["server"], out["venue"] = rng.integers(0, 30, n), rng.integers(0, 8, n), rng.integers(0, 6, n)
    out["px"] = world.bid9(out["sym"]) + rng.integers(-3, 6, n) * TICK9
    out["kind"] = rng.choice([int(k) for k in Kind], n)
    out["kind"][: n // 2] = Kind.fill
    out["side"] = rng.choice([Side.none, Side.B, Side.S, Side.SS], n)
    out["strat"], out["acct"], out["flags"] = rng.integers(0, 6, n), rng.integers(0, 13, n), rng.integers(0, 16, n)
    out["sent"] = START + rng.integers(-1, 2, n)
    return out


def plain_quote(world: World, rec: Any) -> tuple[int, int]:
    market, sym, px = world.market, rec["sym"], int(rec["px"])
    bid, ask = int(market.bid[sym]) * TICK9, int(market.ask[sym]) * TICK9
    if rec["kind"] != Kind.fill:
        return (bid, ask) if rec["kind"] in (Kind.order, Kind.replace) else (0, 0)
    if not rec["flags"] & Flag.PASSIVE:
        early = rec["sent"] < START
        return (int(market.bid_before[sym]) * TICK9, int(market.ask_before[sym]) * TICK9) if early else (bid, ask)
    if rec["side"] == Side.B and px > bid:
        return px, max(ask, px + TICK9)
    if rec["side"] != Side.B and px < ask:
        return max(min(bid, px - TICK9), TICK9), px
    return bid, ask


def test_events_say_what_the_records_say() -> None:
    world, rng, ids = made_world(), np.random.default_rng(3), IdFormat(b"ABCD")
    world.skew_ns[3] = -5
    world.phase_forced[4] = Phase.halt
    world.strategies.append("NEWALGO")
    emitter = Emitter(world, ids, 10)
    recs = made_records(world, rng, 600)
    world.accounts.append("LATE")
    recs["acct"][5] = len(world.accounts) - 1
    events, bad = emitter.events(recs, START + 3 * S_NS + 5 * MS_NS)
    assert events.dtype.names[:4] == ("blockLength", "templateId", "schemaId", "version")
    assert bad.tolist() == ((recs["flags"] & Flag.BAD) != 0).tolist()
    seq = dict.fromkeys(range(8), 10)
    for e, r in zip(events, recs, strict=True):
        server, upstream = int(r["server"]), r["kind"] in (Kind.parent, Kind.parent_done)
        assert e["seq"] == seq[server]
        seq[server] += 1
        assert e["ts"] == r["ts"] + (-5 if server == 3 else 0)
        assert [int(e[f]) for f in ("qty", "px", "kind", "side")] == [int(r[f]) for f in ("qty", "px", "kind", "side")]
        names = ("server", world.servers[server]), ("strategy", world.strategies[r["strat"]])
        names += ("account", world.accounts[r["acct"]]), ("venue", "" if upstream else VENUES[r["venue"]])
        assert [e[f].decode() for f, _ in names] == [name for _, name in names]
        assert e["symbol"] == world.universe.symbols[r["sym"]]
        assert e["phase"] == (Phase.halt if r["sym"] == 4 else Phase.cont)
        assert e["flags"] == (FLAG_POSS_DUP if r["flags"] & Flag.DUP else 0)
        found = [e[f] for f in ("parent_id", "cl_ord_id", "orig_cl_ord_id", "exec_id")]
        numbers = np.array([r["parent"], -1 if upstream else r["cl"], r["orig"], r["exec"]], np.int64)
        assert found == [
            ids(x, np.array([server]), numbers[i : i + 1])[0] for i, x in enumerate((b"P", b"O", b"O", b"E"))
        ]
    first, _ = Emitter(world, ids, 10).events(recs, START + 5 * MS_NS)
    quoted = list(zip(first["bid"].tolist(), first["ask"].tolist(), strict=True))
    assert quoted == [plain_quote(world, r) for r in recs]


def test_the_dead_stay_silent_and_orders_whose_market_is_away_expire() -> None:
    world, rng = made_world(), np.random.default_rng(4)
    world.halted[:3] = True
    recs = made_records(world, rng, 400)
    recs["flags"][recs["order"] < 0] &= ~np.uint8(Flag.PASSIVE)  # a resting order has a number
    dead = np.zeros(60, np.bool_)
    dead[[3, 4, 50]] = True
    gone, expected = {3, 4, 50}, []
    for rec in recs.copy():
        if (order := int(rec["order"])) in gone:
            continue
        if rec["kind"] == Kind.fill and rec["flags"] & Flag.PASSIVE:
            bid, ask, px = world.bid9(rec["sym"]), world.ask9(rec["sym"]), rec["px"]
            away = px < bid - TICK9 if rec["side"] == Side.B else px > ask + TICK9
            if away or world.halted[rec["sym"]]:
                rec["kind"], rec["qty"], rec["px"], rec["exec"] = Kind.expired, rec["leaves"], 0, -1
                gone.add(order)
        expected.append(rec.tolist()[:-1])
    kept, died = happens(recs, as_words(recs), dead, quotes(world.market), world.halted)
    assert plain(recs[:kept]) == expected
    assert died == len(gone) - 3 > 5
    assert set(np.flatnonzero(dead)) == gone


def test_what_happens_is_booked() -> None:
    world, rng = made_world(), np.random.default_rng(5)
    world.parents.append(90, qty=10**6, committed=10**5)
    recs, book = made_records(world, rng, 500), Book(world)
    filled, committed = [0] * 90, [10**5] * 90
    signed, gross, cash, shares = [0] * world.n_symbols, [0] * world.n_symbols, 0.0, [0] * world.n_symbols
    for r in recs:
        qty, sym, parent = int(r["qty"]), r["sym"], r["parent"]
        towards = qty if r["side"] == Side.B else -qty
        if r["kind"] == Kind.fill:
            signed[sym] += towards
            gross[sym] += qty
            if r["flags"] & Flag.BAD:
                cash -= towards * float(r["px"]) / 1e9
                shares[sym] += towards
        if parent >= 0:
            filled[parent] += qty * (r["kind"] == Kind.fill)
            committed[parent] -= qty * (r["kind"] in (Kind.canceled, Kind.rejected, Kind.expired))
    book.settle(recs)
    assert (book.signed.tolist(), book.gross.tolist()) == (signed, gross)
    assert (world.parents.filled[:90].tolist(), world.parents.committed[:90].tolist()) == (filled, committed)
    assert book.bad_position.tolist() == shares
    assert book.loss_usd(np.ones(world.n_symbols)) == pytest.approx(-cash - sum(shares))
    assert book.bad_executions == ((recs["kind"] == Kind.fill) & ((recs["flags"] & Flag.BAD) != 0)).sum()


def test_the_gate_is_asked_once_of_each_kind_of_order_that_lives() -> None:
    world, rng = made_world(), np.random.default_rng(6)
    recs, dead = made_records(world, rng, 1_200), np.zeros(60, np.bool_)
    recs = np.concatenate([recs, recs])
    dead[:20] = True
    position = rng.integers(-900, 900, (8, 256, world.n_symbols))
    asked: list[tuple[str, str, str, str, bool]] = []

    class Gate(OpenGate):
        def may_send(self, server: str, symbol: str, strategy: str, account: str, reducing: bool) -> bool:
            asked.append((server, symbol, strategy, account, reducing))
            return server == "R1" or reducing

    found = Asking(world).refused(Gate(), recs, dead, position)
    wanted, refused = [], []
    for i, r in enumerate(recs):
        if r["kind"] not in (Kind.order, Kind.replace) or r["flags"] & Flag.FREE or 0 <= r["order"] < 20:
            continue
        held = int(position[r["server"], r["acct"], r["sym"]])
        reducing = bool(r["qty"] <= (-held if r["side"] == Side.B else held))
        wanted.append((*(int(r[f]) for f in ("server", "sym", "strat", "acct")), reducing))
        if r["server"] and not reducing:
            refused.append(i)
    assert found.tolist() == refused
    assert len(refused) > 20
    assert asked == [
        (world.servers[s], world.universe.symbols[y].decode(), world.strategies[t], world.accounts[a], reducing)
        for s, y, t, a, reducing in sorted(set(wanted))
    ]


def test_a_day_compiles_nothing_after_warming() -> None:
    def signatures() -> dict[Any, int]:
        found = {}
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "producers":
                for value in list(vars(module).values()):
                    if hasattr(value, "py_func") and hasattr(value, "signatures"):
                        found[f"{value.__module__}.{value.__name__}"] = len(value.signatures)
        return found

    assert warm() > 1_000
    before = signatures()
    assert sum(map(bool, before.values())) > 5
    for name in ("power-peg", "orphan-cancels", "reopening"):
        list(scenarios.build(name, 1, minutes=0.1, incident_s=2))
    assert signatures() == before, "add what they need to producers/warm.py"


def test_events_are_kept_byte_for_byte() -> None:
    """The padding included: a copy by field would leave there whatever memory held, and publish it once more."""
    world = made_world()
    world.keep_of, world.keep_max = 1, 100
    events = np.full(40 * EVENT.itemsize, 0x5A, np.uint8).view(EVENT)
    events["server"] = np.tile([b"R1", b"R2"], 20)
    world.keep(events)
    assert world.kept[0].tobytes() == b"".join(events[i : i + 1].tobytes() for i in range(1, 40, 2))
    world.keep(events[:0])
    assert len(world.kept) == 1
