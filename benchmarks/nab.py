"""The novelty scorer on the Numenta Anomaly Benchmark (NAB): results that NAB's own scorer reads.

    python -m benchmarks.nab DATA_DIR --out DIR

DATA_DIR is NAB's ``data`` folder (or any: CSV files ``timestamp,value``, in one folder a category). Writes
``DIR/knightwatch/<category>/knightwatch_<file>.csv`` with the columns ``timestamp,value,anomaly_score,label``; label is
1 at rows inside a window of ``--windows FILE`` (NAB's ``combined_windows.json``), which nothing but that column reads,
else 0. Then, in NAB's repository: ``python run.py -d knightwatch --optimize --score --normalize --skipConfirmation``.

Each value becomes a feature row of five: value, change, distance to the level of late, the drift of that level, and the
mean size of changes of late. The
scorer is ``detectors.surprise.Surprise``, as in the engine; a row is scored, then learned, one pass, no look-ahead. An
alarm is one alarm: a row scores 0 unless it is more surprising than every row of ``REST`` before it.
"""

import argparse
import csv
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from detectors.surprise import Surprise

NAME = "knightwatch"
FEATURES = ("value", "change", "offset", "drift", "restlessness")
NEAR, FAR = 20.0, 300.0
"""Rows over which the level of late and the level before it are averaged (exponential weights)."""
WARM = 50
"""Rows learned before one is scored, and as many distances before one counts."""
REST = 200
"""Rows in which only a more surprising one is a new alarm."""


class Scorer:
    """Anomaly scores of one series, from 0 to below 1, value by value."""

    def __init__(self) -> None:
        self.model = Surprise(FEATURES, WARM, floor=1e-9, floor_share=0.01)
        self.last: float | None = None
        self.near = self.far = self.restless = 0.0
        self.recent: deque[float] = deque(maxlen=REST)

    def step(self, value: float) -> float:
        """Score a value, then learn it. A value that is no number counts as the one before."""
        if not np.isfinite(value):
            value = 0.0 if self.last is None else self.last
        if self.last is None:
            self.last = self.near = self.far = value
        x = np.array([value, value - self.last, value - self.near, self.near - self.far, self.restless])
        self.model.distance(x)
        z = max(self.model.z(), 0.0) if self.model.judged >= WARM else 0.0
        self.model.judge()
        self.model.learn(x)
        self.restless += (abs(value - self.last) - self.restless) / NEAR
        self.near += (value - self.near) / NEAR
        self.far += (value - self.far) / FAR
        self.last = value
        fresh = z > max(self.recent, default=0.0)
        self.recent.append(z)
        return z / (1.0 + z) if fresh else 0.0


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


def run(data: Path, out: Path, windows: dict[str, list[list[str]]]) -> tuple[int, int]:
    """Score every file; returns how many files and rows."""
    paths = sorted(data.rglob("*.csv"))
    if not paths:
        raise ValueError(f"{data}: no CSV file in it; expected NAB's data folder, one folder a category")
    total = 0
    for path in paths:
        where = path.relative_to(data)
        series, scorer = read(path), Scorer()
        target = out / NAME / where.parent / f"{NAME}_{where.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        labels = labelled((stamp for stamp, _ in series), windows.get(where.as_posix(), []))
        with target.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["timestamp", "value", "anomaly_score", "label"])
            for (stamp, value), label in zip(series, labels, strict=True):
                writer.writerow([stamp, value, round(scorer.step(value), 9), label])
        total += len(series)
    return len(paths), total


def main() -> None:
    """Write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--windows", type=Path, help="NAB's combined_windows.json, for the label column")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    windows = json.loads(given.windows.read_text()) if given.windows else {}
    try:
        files, rows = run(given.data, given.out, windows)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    done = {"files": files, "rows": rows, "out": str(given.out / NAME)}
    print(json.dumps(done) if given.json else f"{files} files, {rows:,} rows: {given.out / NAME}")


if __name__ == "__main__":
    main()
