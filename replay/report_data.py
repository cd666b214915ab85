"""What a report shows of a run: rows gathered while it goes, brought to a few hundred points a line."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.features import FRAME_NS
from replay.runner import Observers
from schemas.records import Ack, Breach, Command, FeatureRow, HaltRecord, Verdict
from schemas.units import S_NS

POINTS_MAX: Final = 600
"""Points of a line: what a screen can show."""

Floats = NDArray[np.float64]


@dataclass
class Lines:
    """Lines over common times. times: (n,) datetime64[ms]; values: name -> (n,)."""

    times: NDArray[np.datetime64]
    values: dict[str, Floats]


@dataclass
class _Server:
    ts: list[int] = field(default_factory=list)
    orders: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)


@dataclass
class Gathered:
    """Feature rows and breaches of a run."""

    servers: dict[str, _Server] = field(default_factory=dict)
    scores: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    opened: Counter[str] = field(default_factory=Counter)
    """Detector -> breaches opened."""

    def observers(self, events: Observers) -> Observers:
        """Observers that gather, and report progress as those given do."""
        return Observers(events=events.events, input=self._take)

    def _take(self, record: Verdict | Ack | Command) -> None:
        if isinstance(record, Breach):
            self.opened[record.detector] += record.state == "open"
        elif isinstance(record, FeatureRow):
            server = self.servers.setdefault(record.server, _Server())
            server.ts.append(record.ts)
            server.orders.append(record.values.get("orders", 0.0) + record.values.get("replaces", 0.0))
            server.loss.append(record.money.loss_usd)
            for detector, score in record.scores.items():
                ts, scores = self.scores.setdefault(detector, ([], []))
                ts.append(record.ts)
                scores.append(score)

    def flow(self) -> Lines:
        """Orders and replaces a second, by server."""
        grid = self._grid()
        seconds = (grid[1] - grid[0]) / S_NS
        return self._lines(grid, {n: _binned(grid, s.ts, s.orders, "sum") / seconds for n, s in self._sorted()})

    def loss(self) -> Lines:
        """Loss so far (USD), by server."""
        grid = self._grid()
        return self._lines(grid, {name: _filled(_binned(grid, s.ts, s.loss, "last")) for name, s in self._sorted()})

    def score(self) -> Lines:
        """The highest score of any server in units of its limit, by detector."""
        grid = self._grid()
        return self._lines(grid, {n: _binned(grid, *self.scores[n], "max") for n in sorted(self.scores)})

    def _sorted(self) -> list[tuple[str, _Server]]:
        return sorted(self.servers.items())

    def _grid(self) -> NDArray[np.int64]:
        """Edges of the bins, ns."""
        stamps = [ts for server in self.servers.values() for ts in (min(server.ts), max(server.ts))]
        first, last = (min(stamps), max(stamps)) if stamps else (0, S_NS)
        step = -(-(last - first + 1) // (POINTS_MAX * FRAME_NS)) * FRAME_NS
        return np.arange(first, last + step + 1, step)

    def _lines(self, grid: NDArray[np.int64], values: dict[str, Floats]) -> Lines:
        return Lines((grid[:-1] // 1_000_000).astype("datetime64[ms]"), values)


def contribution(gathered: Gathered, halts: list[HaltRecord]) -> list[tuple[str, int, int]]:
    """(detector, breaches opened, halts in which it is a cause), by detector."""
    caused: Counter[str] = Counter()
    for record in halts:
        if record.state == "HALTING":
            caused.update({cause.detector for cause in record.cause})
    return [(name, gathered.opened[name], caused[name]) for name in sorted({*gathered.opened, *caused})]


def _binned(grid: NDArray[np.int64], ts: list[int], values: list[float], how: str) -> Floats:
    """One value a bin; NaN (for sums 0) where a bin is empty."""
    n = len(grid) - 1
    at = np.clip(np.searchsorted(grid, np.array(ts, np.int64), side="right") - 1, 0, n - 1)
    given = np.array(values, np.float64)
    if how == "sum":
        return np.bincount(at, given, n).astype(np.float64)
    out = np.full(n, np.nan)
    if how == "last":
        out[at] = given
    else:
        np.fmax.at(out, at, given)
    return out


def _filled(values: Floats) -> Floats:
    """NaN take the value before; 0 at the beginning."""
    at = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    filled: Floats = np.where(at < 0, 0.0, values[np.maximum(at, 0)])
    return filled
