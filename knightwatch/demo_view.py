"""The demo's terminal view: who differs, by how much, what it costs, and what was done. Rendering only."""

from collections import deque

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from knightwatch.follow import Seen
from producers.gateway import LiveGates, LiveStats
from schemas.records import FeatureRow
from schemas.units import S_NS

DETECTORS = ("conservation", "rate", "crossing", "novelty")
_BLOCKS = " ▁▂▃▄▅▆▇█"
_STYLE = {
    "ACTIVE": "green",
    "WARNED": "yellow",
    "HALTING": "bold white on red",
    "HALTED": "bold red",
    "RESUMING": "cyan",
}


class View:
    """Keeps a minute of order rates, so that the eye sees a change and not only a number."""

    def __init__(self, scenario: str, servers: tuple[str, ...]) -> None:
        self.scenario = scenario
        self.servers = servers
        self._history: dict[str, deque[float]] = {s: deque([0.0] * 30, maxlen=30) for s in servers}
        self._last: dict[str, int] = {}
        self._at = 0

    def sample(self, stats: LiveStats) -> None:
        """Take order rates since the last sample; called about four times a second."""
        seconds = (stats.now_ns - self._at) / S_NS
        if not seconds > 0.2:
            return
        for server in self.servers:
            count = stats.orders.get(server, 0)
            if self._at:
                self._history[server].append((count - self._last.get(server, 0)) / seconds)
            self._last[server] = count
        self._at = stats.now_ns

    def render(self, stats: LiveStats, seen: Seen, gates: LiveGates | None, phase: str) -> Group:
        """The whole screen."""
        return Group(self._head(stats, phase), self._servers(stats, seen, gates), self._halts(seen))

    def _head(self, stats: LiveStats, phase: str) -> Text:
        clock = hms(stats.now_ns) if stats.now_ns else "--:--:--"
        head = Text.assemble(("KNIGHTWATCH ", "bold"), (f" {self.scenario} ", "reverse"), f"  {clock} UTC  {phase}   ")
        head.append(f"events {stats.events:,}   blocked {stats.orders_blocked:,}   ")
        head.append(f"lost by the fault USD {stats.loss_usd:,.0f}", style="bold red" if stats.loss_usd > 0 else "")
        return head

    def _servers(self, stats: LiveStats, seen: Seen, gates: LiveGates | None) -> Table:
        table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
        for name in ("server", "orders/s", "last 8 s", *DETECTORS, "fills", "blocked", "gate", "state"):
            table.add_column(name, justify="left" if name in ("server", "last 8 s", "gate", "state") else "right")
        top = max((max(h) for h in self._history.values()), default=1.0) or 1.0
        for server in self.servers:
            history = self._history[server]
            halt = seen.scopes.get(f"server:{server}")
            state = halt.state if halt else "ACTIVE"
            gate = gates.gates[server].is_open if gates else True
            table.add_row(
                Text(server, style=_STYLE[state] if state != "ACTIVE" else ""),
                f"{history[-1]:,.0f}",
                "".join(_BLOCKS[round(8 * v / top)] for v in history),
                *(_score(seen.rows.get(server), d) for d in DETECTORS),
                f"{stats.fills.get(server, 0):,}",
                f"{stats.blocked.get(server, 0):,}",
                Text("open", "green") if gate else Text("CLOSED", "bold red"),
                Text(state, style=_STYLE[state]),
            )
        return table

    def _halts(self, seen: Seen) -> Panel:
        lines: list[Text] = []
        for record in seen.halts[-6:]:
            lines.append(
                Text.assemble((f"{hms(record.ts_decided)} {record.state:8}", _STYLE[record.state]), f" {record.text}")
            )
        for ack in seen.acks[-4:]:
            left = f", {ack.working} working" if ack.status == "cancelling" else ""
            lines.append(Text(f"{hms(ack.ts)} gate {ack.server}: {ack.status}{left} ({ack.scope})", "dim"))
        return Panel(Group(*lines) if lines else Text("no halts", "dim"), title="halts", title_align="left")


def _score(row: FeatureRow | None, detector: str) -> Text:
    """Score in limits: 1 is the bound."""
    if row is None:
        return Text("-", "dim")
    value = row.scores.get(detector, 0.0)
    style = "bold red" if value >= 1 else "yellow" if value >= 0.5 else "dim"
    return Text(f"{value:,.0f}x" if value >= 10 else f"{value:.2f}", style)


def hms(ns: int) -> str:
    """HH:MM:SS.mmm of the day, UTC."""
    ms = ns // 1_000_000
    return f"{ms // 3_600_000 % 24:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
