"""From the simulator's records to order events: names, ids, quotes, phases and sequence numbers."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from producers.ids import IdFormat
from producers.market import BLOCK_NS, TICK9
from producers.tables import Flag
from producers.world import VENUES, World
from schemas.events import FLAG_POSS_DUP, Kind, Side, empty_events

_QUOTED: Final = np.isin(np.arange(256), [Kind.order, Kind.replace, Kind.fill])
_HAS_CL: Final = ~np.isin(np.arange(256), [Kind.parent, Kind.parent_done])
_HAS_VENUE: Final = _HAS_CL


class Emitter:
    """Makes EVENT rows; keeps the next sequence number of each server."""

    def __init__(self, world: World, ids: IdFormat, first_seq: int) -> None:
        self._world = world
        self._ids = ids
        self.next_seq = np.full(world.n_servers, first_seq, np.int64)
        self._servers = np.array(world.servers, "S16")
        self._venues = np.array([*VENUES, ""], "S12")
        self._strategies = np.zeros(0, "S12")
        self._accounts = np.zeros(0, "S12")

    def events(self, recs: NDArray[Any], phase_ts: int) -> NDArray[Any]:
        """(n,) EVENT from (n,) REC in order of time. phase_ts: ns, start of
        the slice, whose session phase holds."""
        world = self._world
        if len(self._strategies) != len(world.strategies) or len(self._accounts) != len(world.accounts):
            self._strategies = np.array(world.strategies, "S12")
            self._accounts = np.array(world.accounts, "S12")
        out = empty_events(len(recs))
        kind, sym = recs["kind"], recs["sym"]
        server = recs["server"].astype(np.int64)
        out["seq"] = self._number(server)
        out["ts"] = recs["ts"] + world.skew_ns[server]
        for name in ("qty", "px", "kind", "side"):
            out[name] = recs[name]
        quoted = np.flatnonzero(_QUOTED[kind])
        bid, ask = self._quotes(recs[quoted], phase_ts - (phase_ts - world.start_ns) % BLOCK_NS)
        out["bid"][quoted] = bid
        out["ask"][quoted] = ask
        out["server"] = self._servers[server]
        out["symbol"] = world.universe.symbols[sym]
        out["strategy"] = self._strategies[recs["strat"]]
        out["account"] = self._accounts[recs["acct"]]
        orderly = _HAS_CL[kind]
        out["venue"] = self._venues[np.where(orderly, recs["venue"], len(VENUES))]
        session = np.full(world.n_symbols, world.phase(phase_ts), np.uint8)
        out["phase"] = np.where(world.phase_forced > 0, world.phase_forced, session)[sym]
        out["flags"] = np.where(recs["flags"] & Flag.DUP, FLAG_POSS_DUP, 0)
        self._identify(out, recs, server, orderly)
        return out

    def _identify(
        self, out: NDArray[Any], recs: NDArray[Any], server: NDArray[np.int64], orderly: NDArray[np.bool_]
    ) -> None:
        out["parent_id"] = self._ids(b"P", server, recs["parent"].astype(np.int64))
        out["cl_ord_id"] = self._ids(b"O", server, np.where(orderly, recs["cl"], -1))
        amends = np.flatnonzero(recs["orig"] >= 0)
        out["orig_cl_ord_id"][amends] = self._ids(b"O", server[amends], recs["orig"][amends])
        fills = np.flatnonzero(recs["exec"] >= 0)
        out["exec_id"][fills] = self._ids(b"E", server[fills], recs["exec"][fills])

    def _number(self, server: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) next numbers of each row's server, in row order."""
        n = len(server)
        by_server = np.argsort(server, kind="stable")
        counts = np.bincount(server, minlength=self._world.n_servers)
        rank = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
        seq = np.empty(n, np.int64)
        seq[by_server] = np.repeat(self.next_seq, counts) + rank
        self.next_seq += counts
        return seq

    def _quotes(self, recs: NDArray[Any], block_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """NBBO of the moment. A marketable order sent in the block before was filled at that one's quote; a resting
        order filled on its own side of the market *is* the quote just before."""
        bid, ask = self._world.bid9(recs["sym"]), self._world.ask9(recs["sym"])
        fill = recs["kind"] == Kind.fill
        passive = fill & ((recs["flags"] & Flag.PASSIVE) != 0)
        early = np.flatnonzero(fill & ~passive & (recs["sent"] < block_ns))
        if len(early):
            sym = recs["sym"][early]
            bid[early] = self._world.market.bid_before[sym] * TICK9
            ask[early] = self._world.market.ask_before[sym] * TICK9
        if passive.any():
            px, buy = recs["px"], recs["side"] == Side.B
            bought, sold = passive & buy & (px > bid), passive & ~buy & (px < ask)
            bid = np.where(bought, px, bid)
            ask = np.where(bought, np.maximum(ask, px + TICK9), ask)
            ask = np.where(sold, px, ask)
            bid = np.where(sold, np.maximum(np.minimum(bid, px - TICK9), TICK9), bid)
        return bid, ask


def off_market(world: World, recs: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) fills of resting orders whose price the market is not at: more than a tick outside the own side's quote."""
    passive = (recs["kind"] == Kind.fill) & ((recs["flags"] & Flag.PASSIVE) != 0)
    if not passive.any():
        return np.zeros(len(recs), np.bool_)
    sym, px, buy = recs["sym"], recs["px"], recs["side"] == Side.B
    away: NDArray[np.bool_] = np.where(buy, px < world.bid9(sym) - TICK9, px > world.ask9(sym) + TICK9)
    gone: NDArray[np.bool_] = passive & (away | world.halted[sym])
    return gone
