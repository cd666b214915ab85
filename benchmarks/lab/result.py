"""One way in and one way out for every benchmark: ``--json`` prints its document, ``--save`` keeps it."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

RESULTS: Final = Path(__file__).resolve().parents[1] / "results"
ROOT: Final = Path(__file__).resolve().parents[2]
_PACKAGES: Final = ("numpy", "numba", "faust-streaming", "aiokafka", "kafka-python", "msgspec")


class BenchmarkError(Exception):
    """A benchmark cannot be run, or what was measured is not the work that was asked for."""


@dataclass(frozen=True)
class Benchmark:
    """name: of the module, and of the file in ``results``. arguments: adds its options. measure: options -> document.
    table: document -> lines for people. file: name of the result for these options (None: ``name``)."""

    name: str
    about: str
    arguments: Callable[[argparse.ArgumentParser], object]
    measure: Callable[[argparse.Namespace], dict[str, Any]]
    table: Callable[[Mapping[str, Any]], Sequence[str]]
    file: Callable[[argparse.Namespace], str] | None = None

    def main(self) -> None:
        """Command line. Exit code 1, and why, when nothing could be measured."""
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.about)
        parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        parser.add_argument("--save", action="store_true", help="keep the document in benchmarks/results")
        self.arguments(parser)
        given = parser.parse_args()
        began = time.monotonic()
        try:
            found = self.measure(given)
        except BenchmarkError as error:
            sys.exit(f"{self.name}: {error}")
        settings = {k: v for k, v in vars(given).items() if k not in ("json", "save")}
        document = {
            **found, "settings": {**settings, **found.get("settings", {})}, "machine": machine(), "commit": commit(),
            "took_s": round(time.monotonic() - began, 1),
        }  # fmt: skip
        if given.save:
            save(self.file(given) if self.file else self.name, document)
        print(json.dumps(document) if given.json else "\n".join(self.table(document)))


def save(name: str, document: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write ``results/NAME.json``, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / f"{name}.json", folder / f"{name}.json.part"
    part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def kept(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """What ``save`` wrote under a name; None if nothing stands there."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def say(text: str) -> None:
    """Progress, on stderr: stdout belongs to the document."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    try:
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError):
        memory_mb = 0
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_mb": memory_mb,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_1_min": round(os.getloadavg()[0], 2),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """Of the working tree, with ``+changes`` when it is not what is committed; empty outside a repository."""
    head, changed = _git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    foreign = [line for line in changed.splitlines() if "benchmarks/results/" not in line and "docs/" not in line]
    return head.strip() + ("+changes" if foreign else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return done.stdout


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest of repeated measurements."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of ``values`` do not exceed (nearest rank). ValueError if empty."""
    if not values:
        raise ValueError("no values to take a quantile of")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
