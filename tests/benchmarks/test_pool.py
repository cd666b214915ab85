"""Processes of a long benchmark end with it, however it ends."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.lab.pool import results

WAIT_S = 30.0
PARENT = """
from functools import partial
from pathlib import Path
from benchmarks.lab.pool import results
from tests.benchmarks.test_pool import sleepy

if __name__ == "__main__":
    list(results([partial(sleepy, Path({folder!r}))] * 2, 2))
"""


def sleepy(folder: Path) -> dict[str, Any]:
    (folder / str(os.getpid())).touch()
    time.sleep(300)
    return {}


def number(k: int) -> dict[str, Any]:
    return {"k": k}


def test_results_come_in_order() -> None:
    jobs = [partial(number, k) for k in range(5)]
    assert [r["k"] for r in results(jobs, 2)] == [r["k"] for r in results(jobs, 1)] == list(range(5))
    assert sorted(r["k"] for r in results(jobs, 2, in_order=False)) == list(range(5))


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_benchmark_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    script, folder = tmp_path / "parent.py", tmp_path / "seen"
    folder.mkdir()
    script.write_text(PARENT.format(folder=str(folder)))
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": root}) as parent:
        end = time.monotonic() + WAIT_S
        while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + WAIT_S  # they would go on to the end of their job
    children = [int(path.name) for path in folder.iterdir()]
    assert len(children) == 2
    while any(map(alive, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, children))
