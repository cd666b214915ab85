"""All benchmarks, their results and the plots: ``python -m benchmarks [NAME ...] [--list]``.

Without names: everything, in the order below. Each is a process of its own; one that fails is said at the end, and the
exit code is 1, but the others are run. Results go to benchmarks/results.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.lab.result import ROOT, commit, machine, save, say

HERE: Final = Path(__file__).parent
PLAN: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "engine": ((),),
    "linearity": ((),),
    "gate": ((),),
    "publish": ((),),
    "throughput": (
        ("--codec", "sbe", "--workers", "2"),
        ("--codec", "json", "--peers", "kafka_streams", "--events", "1000000"),
    ),
    "latency": ((),),
    "memory": ((),),
    "quality": (("--seeds", "20"),),
}
"""Name -> the options of each of its runs; what stands in the folder besides is run last, with its own defaults. Quality
with as many seeds as stand in its result: with fewer it would be written over by less."""


def plan() -> dict[str, tuple[tuple[str, ...], ...]]:
    """Everything that can be run."""
    found = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_") and path.stem != "plots")
    return {**PLAN, **{name: ((),) for name in found if name not in PLAN}}


def run(name: str, options: tuple[str, ...]) -> bool:
    """One benchmark; its document is kept. False when it failed."""
    own = "BENCHMARK" in (HERE / f"{name}.py").read_text(encoding="utf-8")
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    say(f"== {name} {' '.join(options)}")
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--save" if own else "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    took = time.monotonic() - began
    if done.returncode == 0 and not own:
        document = {**json.loads(done.stdout), "machine": machine(), "commit": commit(), "took_s": round(took, 1)}
        save(name, document)
    print(done.stdout, end="" if done.stdout.endswith("\n") else "\n", flush=True)
    say(f"   {took:.0f} s")
    return done.returncode == 0


def main() -> None:
    """Command line."""
    everything = plan()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Run benchmarks, keep results, draw plots."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(everything)}; none: all")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    given = parser.parse_args()
    if given.list:
        print("\n".join(everything))
        return
    unknown = [name for name in given.names if name not in everything]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; expected some of {', '.join(everything)}")
    names = given.names or list(everything)
    failed = [name for name in names for options in everything[name] if not run(name, options)]
    drawn = subprocess.run([sys.executable, "-m", "benchmarks.plots"], cwd=ROOT, check=False).returncode
    if failed or drawn:
        sys.exit(f"failed: {', '.join([*failed, *(['plots'] if drawn else [])])}")


if __name__ == "__main__":
    main()
