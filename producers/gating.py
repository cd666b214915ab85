"""How a simulation asks whether it may send, and how it is told to cancel."""

from dataclasses import dataclass, field
from typing import Protocol

from schemas.scopes import FIRM, parse


class Gateway(Protocol):
    """What routers ask before an order or a replace goes out; a cancel is never asked about."""

    always_open: bool
    """True spares the asking."""

    def may_send(self, server: str, symbol: str, strategy: str, account: str, reducing: bool) -> bool:
        """May this order go out now?"""
        ...

    def cancel_requests(self) -> list[tuple[str, str]]:
        """(server, scope) whose working orders are to be cancelled; each is returned once. Empty server: all."""
        ...

    def working(self, counts: dict[tuple[str, str], list[str]]) -> None:
        """Told after each slice while a request has orders left, and once when it has none: cl_ord_ids still working,
        by (server, scope)."""
        ...


class OpenGate:
    """Always open: the flow as it would have gone on."""

    always_open = True

    def may_send(self, server: str, symbol: str, strategy: str, account: str, reducing: bool) -> bool:
        return True

    def cancel_requests(self) -> list[tuple[str, str]]:
        return []

    def working(self, counts: dict[tuple[str, str], list[str]]) -> None:
        return None


def covers(scope: str, server: str, symbol: str, strategy: str, account: str) -> bool:
    """Does ``scope`` cover an order with these attributes?"""
    kind, name = parse(scope)
    return kind == FIRM or name == {"server": server, "symbol": symbol, "strategy": strategy, "account": account}[kind]


@dataclass
class ScriptedGate:
    """A gate closed by whoever drives the simulation (tests, offline scoring): ``gate.close("server:R3")``.

    ``reduce_only`` scopes let through what is reducing. A closed scope never opens by itself; ``reopen`` does.
    """

    always_open: bool = False
    closed: set[str] = field(default_factory=set)
    reduce_only: set[str] = field(default_factory=set)
    left: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Orders still working by (server, scope), as last told."""
    _requests: list[tuple[str, str]] = field(default_factory=list)

    def close(self, scope: str, action: str = "block_and_cancel") -> None:
        """From the next slice on nothing in ``scope`` is sent; ``block_and_cancel`` cancels working orders, too."""
        parse(scope)
        if action not in ("block_and_cancel", "block", "reduce_only"):
            raise ValueError(f"action {action!r} is not one of block_and_cancel, block, reduce_only")
        (self.reduce_only if action == "reduce_only" else self.closed).add(scope)
        if action == "block_and_cancel":
            self._requests.append(("", scope))

    def reopen(self, scope: str) -> None:
        """Let ``scope`` send again."""
        self.closed.discard(scope)
        self.reduce_only.discard(scope)

    def may_send(self, server: str, symbol: str, strategy: str, account: str, reducing: bool) -> bool:
        if any(covers(s, server, symbol, strategy, account) for s in self.closed):
            return False
        return reducing or not any(covers(s, server, symbol, strategy, account) for s in self.reduce_only)

    def cancel_requests(self) -> list[tuple[str, str]]:
        requests, self._requests = self._requests, []
        return requests

    def working(self, counts: dict[tuple[str, str], list[str]]) -> None:
        self.left.update(counts)
