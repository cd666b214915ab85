"""Inputs from which nothing follows, told apart before anything is drafted: nearly all rows and ticks of a calm day.

Exact, not a guess: ``decide`` asks the first two itself, and before ``due_at`` it answers ``TimePasses`` with nothing but
``Advanced``. tests/properties holds each against the long way.
"""

from functools import lru_cache
from typing import Final

from halts.config import DeskConfig
from halts.state import NEVER, GateAck, LedgerState, Proposal, ScopeState
from schemas.scopes import FIRM, scope
from schemas.units import MS_NS

NODE_NEWS_NS: Final = 500 * MS_NS
"""A node that is heard more often than this is noted once."""


def node_is_news(config: DeskConfig, state: LedgerState, server: str) -> bool:
    """Was the node not heard within ``NODE_NEWS_NS``, or counts it as gone?"""
    heard = state.nodes.get(server)
    if heard is None:
        return True
    quiet_ns = state.now - heard
    return quiet_ns >= NODE_NEWS_NS or quiet_ns > config.node_alive_ms * MS_NS


def passed(config: DeskConfig, s: ScopeState, server: str, began_ts: int) -> GateAck | None:
    """The gate that said ``blocked`` for ``s`` and let orders of a frame that began at ``began_ts`` pass; None if none
    did."""
    if not s.closed or s.action == "reduce_only":
        return None
    gate = s.gates.get(server)
    if gate is None or not gate.blocked_ts or began_ts <= gate.blocked_ts + config.after_halt_grace_ms * MS_NS:
        return None
    return gate


@lru_cache(maxsize=4_096)
def scopes_of_flow(server: str) -> tuple[str, str]:
    """The scopes against which a server's flow is held, in order."""
    return scope("server", server), FIRM


def flow_is_news(config: DeskConfig, state: LedgerState, server: str, began_ts: int) -> bool:
    """Did orders of a frame that began at ``began_ts`` pass a gate that was shut?"""
    for name in scopes_of_flow(server):
        if name in state.live and passed(config, state.scopes[name], server, began_ts) is not None:
            return True
    return False


def due_at(config: DeskConfig, state: LedgerState) -> int:
    """Desk time (ns) before which time alone moves nothing in ``state``; it may be too early, never too late."""
    ends = [_due_at(config, state.scopes[name]) for name in state.live]
    if state.proposal is not None:
        ends.append(state.proposal.asked_at + config.request_ttl_ms * MS_NS)
    return min(ends, default=NEVER)


def _due_at(config: DeskConfig, s: ScopeState) -> int:
    if not s.closed:
        return s.touched_at + (config.warn_quiet_ms if s.state == "WARNED" else config.resume_stage_ms) * MS_NS
    ends = [gate.due_at for gate in s.gates.values() if not gate.status and not gate.acted]
    if s.request is not None:
        ends.append(s.request.asked_at + config.request_ttl_ms * MS_NS)
    if s.state == "HALTING" and s.gates and all(gate.status == "confirmed" for gate in s.gates.values()):
        ends.append(0 if s.surveyed else s.halt_at + config.node_alive_ms * MS_NS)
    if s.drill:
        ends.append(0 if s.state == "HALTED" else s.halt_at + config.drill_ms_max * MS_NS)
    return min(ends, default=NEVER)


class Deadline:
    """``due_at``, worked out anew only when what it rests on is another object: states are never changed in place."""

    def __init__(self, config: DeskConfig) -> None:
        self._config = config
        self._scopes: dict[str, ScopeState] | None = None
        self._live: tuple[str, ...] = ()
        self._proposal: Proposal | None = None
        self._at = 0

    def at(self, state: LedgerState) -> int:
        """``due_at`` of ``state``."""
        if state.scopes is not self._scopes or state.live is not self._live or state.proposal is not self._proposal:
            self._scopes, self._live, self._proposal = state.scopes, state.live, state.proposal
            self._at = due_at(self._config, state)
        return self._at
