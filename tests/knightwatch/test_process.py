"""A child never outlives its parent, whichever thread started it and however the parent ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from knightwatch.process import Child

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def gone(pid: int, within_s: float = 60.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_output_goes_to_the_file_and_the_exit_code_is_told(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", "import sys; print('out'); sys.exit(7)"], tmp_path / "log", {"A": "b"})
    assert child.wait(20)
    assert child.exit_code == 7
    assert (tmp_path / "log").read_text() == "out\n"


def test_stop_asks_and_kill_does_not(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    asked, stubborn = Child(SLEEPER, tmp_path / "a"), Child([sys.executable, "-c", deaf], tmp_path / "b")
    while not all((tmp_path / n).read_text() for n in "ab"):
        time.sleep(0.02)
    asked.stop(10)
    stubborn.stop(0.2)
    assert (asked.exit_code, stubborn.exit_code) == (-signal.SIGTERM, -signal.SIGKILL)
    asked.kill()  # what has ended already is no error


def test_it_is_its_own_process_group(tmp_path: Path) -> None:
    child = Child(SLEEPER, tmp_path / "log")
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    child.kill()


def test_it_survives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The kernel's signal on the parent's death is about the parent's thread."""
    started: list[Child] = []
    thread = threading.Thread(target=lambda: started.append(Child(SLEEPER, tmp_path / "log")))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert started[0].exit_code is None
    started[0].kill()


def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from knightwatch.process import Child
print(Child({SLEEPER!r}, Path({str(tmp_path / "log")!r})).pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.communicate()
    assert gone(pid)
