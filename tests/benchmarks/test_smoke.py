"""Each benchmark runs, small, and prints the document that it promises. Nothing here looks at how fast it was."""

import json
import subprocess
import sys

import pytest

SMOKE = {
    "engine": (("--events", "20000", "--rounds", "1"), {"events", "events_per_s", "by_detector_ns"}),
    "gate": ((), {"n", "ns_per_decision_open", "ns_per_decision_halted"}),
}


@pytest.mark.parametrize("name", sorted(SMOKE))
def test_it_runs_and_prints_its_document(name: str) -> None:
    arguments, keys = SMOKE[name]
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert keys <= json.loads(done.stdout).keys()
