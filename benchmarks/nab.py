"""Novelty on the Numenta Anomaly Benchmark (NAB): results that NAB's own scorer reads.

    python -m benchmarks.nab DATA_DIR --out DIR [--scorer records|surprise]

DATA_DIR is NAB's ``data`` folder (or any: CSV files ``timestamp,value``, in one folder a category). Writes
``DIR/knightwatch/<category>/knightwatch_<file>.csv`` with the columns ``timestamp,value,anomaly_score,label``; label is
1 at rows inside a window of ``--windows FILE`` (NAB's ``combined_windows.json``), which nothing but that column reads,
else 0. Then, in NAB's repository: ``python run.py -d knightwatch --optimize --score --normalize --skipConfirmation``.

Two scorers; both score a row, then learn it, one pass, no look-ahead, no file's name, length or range known before:

- ``records`` (the default): how far the value, its drift or its restlessness lies beyond everything seen before.
- ``surprise``: the engine's, ``detectors.surprise.Surprise``, over five features a value. Results in
  ``DIR/knightwatchSurprise``.

An alarm is one alarm: a row scores 0 unless it is more novel than every row of the scorer's rest before it.
"""

import argparse
import csv
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from detectors.surprise import Surprise

FEATURES: Final = ("value", "change", "offset", "drift", "restlessness")
NEAR, FAR = 20.0, 300.0
"""Rows over which the level of late and the level before it are averaged (exponential weights)."""
WARM = 50
"""``surprise``: rows learned before one is scored, and as many distances before one counts."""
WARM_RECORDS = 150
"""``records``: rows whose range is learned before one is scored."""
REST, REST_RECORDS = 200, 100
"""Rows in which only a more surprising one is a new alarm; of ``records``."""


class Scorer(Protocol):
    """Anomaly scores of one series, from 0 to below 1, value by value."""

    def step(self, value: float) -> float:
        """Score a value, then learn it. A value that is no number counts as the one before."""
        ...


class Alarms:
    """One alarm for one anomaly: what does not exceed the last ``rest`` rows is 0; the rest is x / (1 + x)."""

    def __init__(self, rest: int) -> None:
        self._recent: deque[float] = deque(maxlen=rest)

    def step(self, novelty: float) -> float:
        """From 0 to below 1."""
        fresh = novelty > max(self._recent, default=0.0)
        self._recent.append(novelty)
        return novelty / (1.0 + novelty) if fresh else 0.0


class Range:
    """Least and greatest value so far, and how far a value lies outside, in widths of that range (1 if it has none)."""

    def __init__(self) -> None:
        self._least, self._most = np.inf, -np.inf

    def step(self, value: float) -> float:
        """0 inside."""
        least, most = self._least, self._most
        self._least, self._most = min(least, value), max(most, value)
        beyond = max(value - most, least - value)
        if beyond <= 0.0 or not np.isfinite(beyond):
            return 0.0
        return float(beyond / (most - least)) if most > least else 1.0


class Level:
    """Mean of the last ``rows`` rows with exponential weights; of all rows while they are fewer."""

    def __init__(self, rows: float) -> None:
        self._rows, self._n, self.mean = rows, 0, 0.0

    def step(self, value: float) -> float:
        """The mean with this value."""
        self._n += 1
        self.mean += (value - self.mean) / min(self._n, self._rows)
        return self.mean


class Records:
    """Novel is what has never been: how far value, drift (level of late less the level before it) or restlessness (mean
    size of changes of late) lie beyond the range of all rows before, in widths of that range; the largest of the three.

    Of n exchangeable rows the next is a record with probability 2 / (n + 1): alarms become rarer as more is known, by
    themselves, whatever the distribution, and a file of 20,000 rows has hardly more of them than one of 4,000.
    """

    def __init__(self) -> None:
        self._near, self._far, self._restless = Level(NEAR), Level(FAR), Level(NEAR)
        self._ranges = (Range(), Range(), Range())
        self._alarms = Alarms(REST_RECORDS)
        self._last: float | None = None
        self._rows = 0

    def step(self, value: float) -> float:
        """See ``Scorer``."""
        if not np.isfinite(value):
            value = self._last or 0.0
        drift = self._near.step(value) - self._far.step(value)
        restless = self._restless.step(0.0 if self._last is None else abs(value - self._last))
        self._last = value
        beyond = [seen.step(x) for seen, x in zip(self._ranges, (value, drift, restless), strict=True)]
        self._rows += 1
        return self._alarms.step(max(beyond) if self._rows > WARM_RECORDS else 0.0)


class Surprised:
    """The engine's scorer over value, change, distance to the level of late, drift of that level, restlessness."""

    def __init__(self) -> None:
        self._model = Surprise(FEATURES, WARM, floor=1e-9, floor_share=0.01)
        self._last: float | None = None
        self._near = self._far = self._restless = 0.0
        self._alarms = Alarms(REST)

    def step(self, value: float) -> float:
        """See ``Scorer``."""
        if not np.isfinite(value):
            value = self._last or 0.0
        if self._last is None:
            self._last = self._near = self._far = value
        offset, drift = value - self._near, self._near - self._far
        x = np.array([value, value - self._last, offset, drift, self._restless])
        self._model.distance(x)
        z = max(self._model.z(), 0.0) if self._model.judged >= WARM else 0.0
        self._model.judge()
        self._model.learn(x)
        self._restless += (abs(value - self._last) - self._restless) / NEAR
        self._near += (value - self._near) / NEAR
        self._far += (value - self._far) / FAR
        self._last = value
        return self._alarms.step(z)


SCORERS: Final[dict[str, tuple[str, type[Records] | type[Surprised]]]] = {
    "records": ("knightwatch", Records), "surprise": ("knightwatchSurprise", Surprised),
}  # fmt: skip
"""Name -> the name under which NAB knows it, and its class."""


def read(path: Path) -> list[tuple[str, float]]:
    """Timestamps and values of a NAB file; ValueError says what was wrong and where."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if not {"timestamp", "value"} <= set(rows.fieldnames or ()):
            raise ValueError(
                f"{path}: columns {rows.fieldnames}; expected timestamp and value, as in NAB's data folder"
            )
        out = []
        for row in rows:
            try:
                out.append((row["timestamp"], float(row["value"])))
            except (TypeError, ValueError):
                found = f"{path}, line {rows.line_num}: value {row['value']!r}"
                raise ValueError(f"{found}; expected a number; mend the file or leave it out") from None
    return out


def labelled(stamps: Iterable[str], windows: list[list[str]]) -> Iterator[int]:
    """1 inside a window. Stamps sort as text; windows carry microseconds, which data files do not."""
    spans = [(a.split(".")[0], b.split(".")[0]) for a, b in windows]
    for stamp in stamps:
        yield int(any(a <= stamp <= b for a, b in spans))


def run(data: Path, out: Path, windows: dict[str, list[list[str]]], scorer: str = "records") -> tuple[int, int]:
    """Score every file; returns how many files and rows."""
    detector, maker = SCORERS[scorer]
    paths = sorted(data.rglob("*.csv"))
    if not paths:
        raise ValueError(f"{data}: no CSV file in it; expected NAB's data folder, one folder a category")
    total = 0
    for path in paths:
        where = path.relative_to(data)
        series, judge = read(path), maker()
        target = out / detector / where.parent / f"{detector}_{where.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        labels = labelled((stamp for stamp, _ in series), windows.get(where.as_posix(), []))
        with target.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["timestamp", "value", "anomaly_score", "label"])
            for (stamp, value), label in zip(series, labels, strict=True):
                writer.writerow([stamp, value, round(judge.step(value), 9), label])
        total += len(series)
    return len(paths), total


def main() -> None:
    """Write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--windows", type=Path, help="NAB's combined_windows.json, for the label column")
    parser.add_argument("--scorer", choices=SCORERS, default="records")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    windows = json.loads(given.windows.read_text()) if given.windows else {}
    try:
        files, rows = run(given.data, given.out, windows, given.scorer)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    done = {"files": files, "rows": rows, "out": str(given.out / SCORERS[given.scorer][0])}
    print(json.dumps(done) if given.json else f"{files} files, {rows:,} rows: {done['out']}")


if __name__ == "__main__":
    main()
