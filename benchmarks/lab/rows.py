"""Rows of a long benchmark on disk, each as it comes, so that a run that is stopped loses one row and not hours."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.lab.result import BenchmarkError, commit


class Rows:
    """A file of JSON lines: what the rows depend on, then the rows.

    found: (kind, scenario, seed) -> row, of those that stand there. BenchmarkError if they are of other options, or of
    another commit.
    """

    def __init__(self, path: Path, options: Mapping[str, Any]) -> None:
        self._path = path
        self.found: dict[tuple[str, str, int], dict[str, Any]] = {}
        head = {"options": dict(options), "commit": commit()}
        if not path.exists():
            path.write_text(json.dumps(head) + "\n", encoding="utf-8")
            return
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(first) != head:
            raise BenchmarkError(f"{path} is of {first}; expected {json.dumps(head)}; give another file")
        for line in lines:
            row = json.loads(line)
            self.found[row.pop("kind"), row["scenario"], row["seed"]] = row

    def add(self, kind: str, row: Mapping[str, Any]) -> None:
        """Keep one more."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **row}) + "\n")
