"""What a gate decision costs the router: ``python -m benchmarks.gate [--json] [--save] [--n N]``.

``HaltGate.may_send`` as a router calls it (all three scopes named), over the view that a real log of records leads to:
no broker is needed, because none is asked. The loop's own cost is measured and taken off. Median of several rounds.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

from benchmarks.lab.result import Benchmark
from halts.gate import HaltGate
from halts.gate_state import GateState
from schemas.records import HaltRecord, Heartbeat, Money, State, encode
from schemas.topics import HEARTBEAT_KEY
from schemas.units import S_NS

ROUNDS: Final = 9
LIMIT_NS: Final = 2_000.0


def gate_with(*halts: tuple[str, State]) -> HaltGate:
    """A gate that shows the view after a fresh heartbeat (kept for an hour) and ``halts``."""
    state = GateState("R1", fail_closed_after_ns=3_600 * S_NS, clock_skew_ns_max=0)
    state.connected(0, 0)
    mono, utc = time.monotonic_ns(), time.time_ns()
    state.apply(0, HEARTBEAT_KEY.encode(), encode(Heartbeat(utc, 1)), mono, utc)
    for n, (scope, verb) in enumerate(halts):
        record = HaltRecord(
            halt_id=f"h{n}", epoch=1, scope=scope, state=verb, action="block_and_cancel", ts_event=utc, ts_decided=utc,
            cause=(), text="benchmark", money=Money(), by="benchmark",
        )  # fmt: skip
        state.apply(n + 1, scope.encode(), encode(record), mono, utc)
    gate = HaltGate("127.0.0.1:1", server="R1", cancel_all=lambda halt: 0, working=lambda halt: 0)
    gate._show(state.view())
    return gate


def ns_per_call(gate: HaltGate, n: int, allowed: bool) -> float:
    """Median over rounds of one ``may_send`` in ns, without the loop around it."""
    if gate.may_send(symbol="ABC", strategy="vwap", account="A1").allowed is not allowed:
        raise AssertionError(f"the gate under measurement must answer {allowed}: {gate.state().reason}")
    return median(_round(gate.may_send, n) - _empty(n) for _ in range(ROUNDS))


def _round(ask: Callable[..., object], n: int) -> float:
    started = time.perf_counter_ns()
    for _ in range(n):
        ask(symbol="ABC", strategy="vwap", account="A1")
    return (time.perf_counter_ns() - started) / n


def _empty(n: int) -> float:
    started = time.perf_counter_ns()
    for _ in range(n):
        pass
    return (time.perf_counter_ns() - started) / n


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The document that ``--json`` prints."""
    n = given.n
    crowd: list[tuple[str, State]] = [(f"symbol:S{i}", "HALTED") for i in range(500)]
    return {
        "n": n,
        "ns_per_decision_open": round(ns_per_call(gate_with(), n, True), 1),
        "ns_per_decision_halted": round(ns_per_call(gate_with(("server:R1", "HALTED")), n, False), 1),
        "ns_per_decision_open_among_500_halted_symbols": round(ns_per_call(gate_with(*crowd), n, True), 1),
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--n", type=int, default=200_000, help="decisions a round")


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    cost = {name: value for name, value in found.items() if name.startswith("ns_")}
    lines = [f"{name:46} {value:>12,}" for name, value in cost.items()]
    return [*lines, f"limit {LIMIT_NS:,.0f} ns: {'kept' if max(cost.values()) <= LIMIT_NS else 'BROKEN'}"]


BENCHMARK: Final = Benchmark("gate", "Cost of one gate decision.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
