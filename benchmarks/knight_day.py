"""The Knight day at 1:1 through both stages, offline: how long a replay of it takes.

    python -m benchmarks.knight_day [--json] [--save] [--rounds N] [--log FILE.parquet] [--minutes M]

45 minutes, 15.9 million events, made by ``knightwatch simulate power-peg`` unless ``--log`` names a day that was made
before. Each round replays it with as many processes as there are cores and with one, as commands, from start to end, and
before that reads the same columns with pyarrow alone: what a machine that others use too was worth at that moment, and
the floor below which no replay of a Parquet file on one core can be. All replays must give the same digest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.lab.result import ROOT, Benchmark, BenchmarkError, say

TARGET_S: Final = 15.0
_READ: Final = """
import sys, pyarrow.parquet as pq
from schemas.arrow import COLUMNS, DICTIONARY_COLUMNS
file = pq.ParquetFile(sys.argv[1], read_dictionary=list(DICTIONARY_COLUMNS), page_checksum_verification=True)
print(sum(len(batch) for batch in file.iter_batches(131_072, columns=list(COLUMNS), use_threads=False)))
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=None, help="length of the day; its own 45 otherwise")
    parser.add_argument("--log", type=Path, default=None, help="a day that stands there already")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """``{"events", "bytes", "digest", "halts", "rounds": [{"read_s", "replay_s", "one_process_s"}], ...}``; seconds of
    whole commands, ``best`` and ``median`` over the rounds."""
    with tempfile.TemporaryDirectory(prefix="knightwatch-day-") as folder:
        log = given.log or _made(Path(folder) / "day.parquet", given)
        if not log.exists():
            raise BenchmarkError(f"{log}: no such file; leave --log out to have the day made")
        rounds: list[dict[str, float]] = []
        said: list[dict[str, Any]] = []
        for k in range(given.rounds):
            say(f"round {k + 1} of {given.rounds}")
            read_s, _ = _timed([sys.executable, "-c", _READ, str(log)])
            every_s, every = _replay(log, [])
            one_s, one = _replay(log, ["--processes", "1"])
            said += [every, one]
            rounds.append({"read_s": read_s, "replay_s": every_s, "one_process_s": one_s})
        digests = {each["digest"] for each in said}
        if len(digests) != 1:
            raise BenchmarkError(f"replays of one log differ: digests {', '.join(sorted(digests))}")
        return {
            "events": said[0]["events"], "bytes": log.stat().st_size, "digest": digests.pop(),
            "halts": len(said[0]["halts"]), "target_s": TARGET_S, "cores": len(os.sched_getaffinity(0)), "rounds": rounds,
            "best": {name: min(each[name] for each in rounds) for name in rounds[0]},
            "median": {name: round(median(each[name] for each in rounds), 2) for name in rounds[0]},
            "replay_by_read": round(median(each["replay_s"] / each["read_s"] for each in rounds), 2),
            "settings": {"log": str(given.log.name) if given.log else None},
        }  # fmt: skip


def _made(path: Path, given: argparse.Namespace) -> Path:
    say("making the day")
    length = [] if given.minutes is None else ["--minutes", str(given.minutes)]
    _timed(_command("simulate", "power-peg", "--seed", str(given.seed), "--out", str(path), *length))
    return path


def _replay(log: Path, options: list[str]) -> tuple[float, dict[str, Any]]:
    seconds, said = _timed(_command("replay", str(log), "--json", *options))
    found: dict[str, Any] = json.loads(said)
    return seconds, found


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "knightwatch", *words]


def _timed(command: list[str]) -> tuple[float, str]:
    """Seconds that a command takes, and what it prints."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command[:5])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return round(took, 2), done.stdout


def table(found: Mapping[str, Any]) -> list[str]:
    """For people, and for docs/performance.md."""
    rounds = found["rounds"]
    lines = ["| seconds | best | median | most |", "| --- | --- | --- | --- |"]
    for name, text in (
        ("replay_s", f"replay, {found['cores']} cores"), ("one_process_s", "replay, one process"),
        ("read_s", "pyarrow reading the file"),
    ):  # fmt: skip
        most = max(each[name] for each in rounds)
        lines.append(f"| {text} | {found['best'][name]:.1f} | {found['median'][name]:.1f} | {most:.1f} |")
    within = sum(each["replay_s"] <= found["target_s"] for each in rounds)
    return [
        *lines,
        "",
        f"{found['events']:,} events, {found['bytes'] / 1e6:,.0f} MB, {found['halts']} halt records, digest "
        f"`{found['digest'][:8]}` each time. A replay takes {found['replay_by_read']:g} times as long as reading the file "
        f"in the same round. Aim {found['target_s']:g} s: reached in {within} of {len(rounds)} rounds.",
    ]


BENCHMARK: Final = Benchmark("knight_day", "The Knight day, replayed.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
